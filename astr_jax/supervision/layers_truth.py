"""The truth of a pair whose images show several planes, each with a motion of its own."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from astr_jax.ops.geometry import warp_by_homography
from astr_jax.ops.grids import nearest_cells
from astr_jax.supervision.exact_truth import ExactTruth
from astr_jax.supervision.ground_truth import GroundTruth, ground_truth_both_ways
from pallas_kernels.arrays import Array

Some = Array | np.ndarray
NOTHING = 255  # the layer of a pixel that shows none of them


@flax.struct.dataclass
class LayersTruth(ExactTruth):
    """Which plane each pixel shows, and how each plane moves: exact everywhere, nothing unknown.

    A point is seen in both images where the pixel of image 1 that it falls into shows its own
    plane: what is hidden by another one has no partner, nor has what shows none.
    """

    homographies: Float[Some, "*b k 3 3"]  # pixels of image 0 to pixels of image 1
    layer0: UInt8[Some, "*b h w"]
    layer1: UInt8[Some, "*b h1 w1"]

    def intrinsics(self) -> tuple[Float[Array, "*b 3 3"], Float[Array, "*b 3 3"]]:
        """K0 and K1, NaN: things that move on their own say nothing of the cameras."""
        unknown = jnp.full((*self.homographies.shape[:-3], 3, 3), jnp.nan)
        return unknown, unknown

    def ground_truth(self) -> GroundTruth:
        """Of one pair: the true partner of each coarse cell of image 0."""
        homographies, layers = jnp.asarray(self.homographies), (self.layer0, self.layer1)
        back = jnp.linalg.inv(homographies)
        return ground_truth_both_ways(
            *(layer.shape for layer in layers),
            lambda points: _seen(homographies, *layers, points),
            lambda points: _seen(back, *layers[::-1], points),
        )

    def locate(self, points0: Float[Some, "k 2"]) -> tuple[Float[Array, "k 2"], Bool[Array, " k"]]:
        """Where points of image 0 lie in image 1, and whether both images show them; of one pair.

        By the layer of the nearest pixel; far away without one.
        """
        points0 = jnp.asarray(points0, jnp.float32)
        points1, seen, _ = _seen(self.homographies, self.layer0, self.layer1, points0)
        return points1, seen


def _seen(homographies, layer0, layer1, points0: Float[Array, "n 2"]):
    """Points of image 0 by the planes of their pixels: where they lie in image 1, whether they are
    seen there, and the local scale."""
    homographies = jnp.asarray(homographies)
    layer = _layer_at(layer0, points0)
    own = homographies[jnp.minimum(layer, len(homographies) - 1)]
    points1, ratio = jax.vmap(lambda one, point: warp_by_homography(one, point[None]))(own, points0)
    points1 = jnp.where((layer < NOTHING)[:, None], points1[:, 0], -1e6)
    return points1, (layer < NOTHING) & (_layer_at(layer1, points1) == layer), ratio[:, 0]


def _layer_at(layer: UInt8[Some, "h w"], points: Float[Array, "n 2"]) -> Int[Array, " n"]:
    """The layer of the pixel nearest to each point; NOTHING outside the image."""
    pixel = nearest_cells(points, layer.shape, stride=1)
    found = jnp.asarray(layer).reshape(-1)[jnp.maximum(pixel, 0)].astype(jnp.int32)
    return jnp.where(pixel >= 0, found, NOTHING)
