"""Matching by ONNX Runtime, with the graphs of a folder."""

import os
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8

from astr_jax.export.exported import WHOLE
from astr_jax.export.onnx_files import OnnxGraphs, by_stages
from astr_jax.export.pairs import PreparedPair
from astr_jax.export.programs import named, programs_of
from astr_jax.params import Params
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


def onnx_task(
    params: Params, image0: UInt8[np.ndarray, "h w"], image1: UInt8[np.ndarray, "h1 w1"]
) -> Callable[[], Matches]:
    """What matches two pictures at their full size by ONNX Runtime, to be timed: its graph is made
    here, and not compared with JAX. Both are padded to one size, of multiples of 32."""
    import onnxruntime

    from astr_jax.export.lowering.model import to_onnx

    sides = zip(image0.shape, image1.shape, strict=True)
    size = tuple(max(64, -(-max(pair) // 32) * 32) for pair in sides)
    params = named(params, "gather")
    program = programs_of(params, size)[WHOLE]
    graph = to_onnx(program.function, params.variables, program.inputs, name=WHOLE)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [x.name for x in session.get_outputs()]
    threshold = np.array(params.calibration.threshold, np.float32)

    def match():
        pair = PreparedPair.of(image0, image1, size)
        found = session.run(names, dict(pair.arrays()) | {"threshold": threshold})
        return pair.as_given(dict(zip(names, found, strict=True)))

    return match
