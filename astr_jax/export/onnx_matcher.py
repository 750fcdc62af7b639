"""Matching by ONNX Runtime, with the graphs of a folder."""

import os

import numpy as np

from astr_jax.export.exported import WHOLE
from astr_jax.export.onnx_files import OnnxGraphs, by_stages
from astr_jax.export.pairs import PreparedPair
from astr_jax.types import Matches


class OnnxMatcher:
    """Matches pairs of pictures of any sizes at scale 1, without intrinsics.

    Pictures are shrunk to fit into the size of the graphs, and padded. threads: of ONNX Runtime; 0
    for as many as there are cores.
    """

    def __init__(self, folder: str | os.PathLike, *, threads: int = 0):
        self.graphs = OnnxGraphs(folder, threads)

    def match(
        self,
        left,
        right,
        *,
        mask0=None,
        mask1=None,
        threshold: float | None = None,
        max_matches: int | None = None,
        polish: object = True,
    ) -> Matches:
        """The valid matches as NumPy arrays, in pixels of the pictures as given. Raises ValueError.

        The arguments are those of `astr_jax.match`.
        """
        pair = PreparedPair.of(left, right, self.graphs.size, mask0, mask1)
        threshold = self.graphs.threshold if threshold is None else threshold
        given = dict(pair.arrays()) | {"threshold": np.float32(threshold)}
        if polish is True:
            found = self.graphs.run(WHOLE, **given)
        else:
            found = by_stages(self.graphs, given, polish=polish)
        return pair.as_given(found, max_matches)
