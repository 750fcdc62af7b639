"""The coarse matches of a pair, as they go from the coarse stage to the fine one."""

import dataclasses

import jax
import numpy as np

from astr_jax.matching import programs
from astr_jax.matching.encoded import EncodedView
from astr_jax.types import CoarseMatches


@dataclasses.dataclass(frozen=True)
class Candidates:
    """The coarse matches of a pair, before they are refined."""

    view0: EncodedView
    view1: EncodedView
    maps: programs.Maps  # aggregated features [b n c], [b m c] of the square canvas
    cells: CoarseMatches  # [b n], sorted by confidence
    count: int  # the largest number of matches of a pair
    scale: float  # that they were found at

    def above(self, threshold: float) -> "Candidates":
        """Those above a confidence."""
        valid = np.asarray(self.cells.valid) & (np.asarray(self.cells.confidence) > threshold)
        cells = jax.tree.map(lambda x: np.where(valid, x, np.asarray(0, x.dtype)), self.cells)
        nowhere = {
            name: np.where(valid, getattr(self.cells, name), -1) for name in ("cell0", "cell1")
        }
        count = int(valid.sum(axis=1).max(initial=0))
        return dataclasses.replace(self, cells=cells.replace(**nowhere), count=count)
