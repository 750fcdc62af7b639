"""A batch of training pairs, and what is known of where their points belong.

A truth is of one pair, or, with a leading axis [b] on every array, of a batch. Data make it of
NumPy arrays; it is a pytree, so that a compiled step takes it. Its methods are for ONE pair and
JAX: `per_pair(lambda truth: truth.ground_truth())(batch.truth)`.
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, UInt8

from astr_jax.ops.geometry import (
    depth_at,
    epipolar_distance,
    seen_by_depth,
    warp_by_depth,
)
from astr_jax.supervision.exact_truth import DenseTruth, ExactTruth
from astr_jax.supervision.ground_truth import (
    GroundTruth,
    depth_ground_truth,
    homography_ground_truth,
    seen_on_plane,
)
from astr_jax.supervision.layers_truth import LayersTruth
from astr_jax.supervision.tracks_truth import TracksTruth
from pallas_kernels.arrays import Array

Some = Array | np.ndarray
LEAST_BASELINE = 0.01  # of the mean depth: below it an epipolar line says nothing


@flax.struct.dataclass
class PlaneTruth(ExactTruth):
    """The two images show one plane: exact everywhere, with nothing left unknown.

    A pixel is visible where it shows the plane: not beyond its edge, not behind an occluder.
    """

    homography: Float[Some, "*b 3 3"]  # pixels of image 0 to pixels of image 1
    visible0: Bool[Some, "*b h w"]
    visible1: Bool[Some, "*b h1 w1"]

    def intrinsics(self) -> tuple[Float[Array, "*b 3 3"], Float[Array, "*b 3 3"]]:
        """K0 and K1, NaN: a homography says nothing of the cameras."""
        unknown = jnp.full(self.homography.shape, jnp.nan)
        return unknown, unknown

    def ground_truth(self) -> GroundTruth:
        """Of one pair: the true partner of each coarse cell of image 0."""
        return homography_ground_truth(self.homography, self.visible0, self.visible1)

    def locate(self, points0: Float[Some, "k 2"]) -> tuple[Float[Array, "k 2"], Bool[Array, " k"]]:
        """Where points of image 0 lie in image 1, and whether both images show them; of one pair.

        Far away behind the horizon.
        """
        homography = jnp.asarray(self.homography)
        points0 = jnp.asarray(points0, homography.dtype)
        visible = jnp.asarray(self.visible0), jnp.asarray(self.visible1)
        points1, seen, _ = seen_on_plane(homography, *visible, points0)
        return points1, seen


@flax.struct.dataclass
class DepthTruth(DenseTruth):
    """Depth of both images and the way between their cameras; unknown where there is no depth."""

    depth0: Float[Some, "*b h w"]  # z-depth; 0 = unknown
    depth1: Float[Some, "*b h1 w1"]
    K0: Float[Some, "*b 3 3"]  # pixels of these images
    K1: Float[Some, "*b 3 3"]
    cam1_from_cam0: Float[Some, "*b 4 4"]  # in the unit of the depths
    tolerance: Float[Some, "*b"]  # share of the depth by which depths that are seen may disagree

    def intrinsics(self) -> tuple[Float[Some, "*b 3 3"], Float[Some, "*b 3 3"]]:
        """K0 and K1."""
        return self.K0, self.K1

    def ground_truth(self) -> GroundTruth:
        """Of one pair: the true partner of each coarse cell of image 0 (docs/paper.md §8)."""
        cameras = self.K0, self.K1, self.cam1_from_cam0
        return depth_ground_truth(self.depth0, self.depth1, *cameras, self.tolerance)

    def locate(self, points0: Float[Some, "k 2"]) -> tuple[Float[Array, "k 2"], Bool[Array, " k"]]:
        """Where points of image 0 lie in image 1, and whether both images show them; of one pair.

        By the depth of the nearest pixel; far away without one.
        """
        given = self.depth0, self.depth1, self.K0, self.K1, self.cam1_from_cam0
        points0 = jnp.asarray(points0, jnp.float32)
        points1, seen, _ = seen_by_depth(*map(jnp.asarray, given), points0, self.tolerance)
        return points1, seen

    def refutes(
        self, points0: Float[Some, "k 2"], points1: Float[Some, "k 2"], margin: float
    ) -> Bool[Array, " k"]:
        """Which matches are surely wrong; of one pair.

        Those further than a margin, pixels, from the epipolar line, and those of a point whose
        depth says that it lies further than that from there. The rest is unknown: right, or in a
        hole of the truth.
        """
        depth0, K0, K1, motion = map(
            jnp.asarray, (self.depth0, self.K0, self.K1, self.cam1_from_cam0)
        )
        points0, points1 = jnp.asarray(points0, jnp.float32), jnp.asarray(points1, jnp.float32)
        z0, _ = depth_at(depth0, points0)
        true1, _ = warp_by_depth(points0, z0, K0, K1, motion)
        elsewhere = (z0 > 0) & (jnp.abs(true1 - points1).max(axis=-1) >= margin)
        # A way between the cameras that is no longer than the errors of the poses has no epipole.
        distance = depth0.sum() / jnp.maximum((depth0 > 0).sum(dtype=jnp.float32), 1)
        moves = jnp.linalg.norm(motion[:3, 3]) > LEAST_BASELINE * distance
        off = epipolar_distance(points0, points1, K0, K1, motion)
        return elsewhere | (moves & (off >= margin))


Truth = PlaneTruth | DepthTruth | TracksTruth | LayersTruth


@flax.struct.dataclass
class PairBatch:
    """Pairs of images with their truth: of one shape each, padded at the right and the bottom."""

    image0: UInt8[Some, "*b h w"]  # grey
    image1: UInt8[Some, "*b h1 w1"]
    mask0: Bool[Some, "*b h w"] | None  # True on the picture; None: it fills the image
    mask1: Bool[Some, "*b h1 w1"] | None
    truth: Truth

    @property
    def masks(self) -> tuple[Bool[Some, "*b h w"], Bool[Some, "*b h1 w1"]]:
        """Both masks, all True where they are None."""
        given = (self.image0, self.mask0), (self.image1, self.mask1)
        return tuple(jnp.ones(i.shape, bool) if mask is None else mask for i, mask in given)

    def __len__(self) -> int:
        """The number of pairs."""
        return self.image0.shape[0]

    def __getitem__(self, index) -> "PairBatch":
        """One pair of a batch, or some."""
        return jax.tree.map(lambda x: x[index], self)
