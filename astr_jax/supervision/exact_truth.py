"""What truths share that know of every point where it belongs."""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from pallas_kernels.arrays import Array

Some = Array | np.ndarray


class DenseTruth:
    """A truth that is asked at any point, not at measured ones alone."""

    DENSE: ClassVar[bool] = True

    def near(self, points0: Float[Some, "k 2"]) -> Float[Some, "k 2"]:
        """The points of image 0 that the truth knows nearest to these: these themselves."""
        return points0


class ExactTruth(DenseTruth):
    """A truth without holes: what has no partner by `locate` has none at all."""

    def refutes(
        self, points0: Float[Some, "k 2"], points1: Float[Some, "k 2"], margin: float
    ) -> Bool[Array, " k"]:
        """Which matches are wrong by more than a margin, pixels, or of what one image hides; of
        one pair."""
        true1, seen = self.locate(points0)
        return ~seen | (jnp.abs(true1 - points1).max(axis=-1) >= margin)
