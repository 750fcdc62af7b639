"""The truth of a pair that some measured points tell: the tracks of structure from motion."""

from typing import ClassVar

import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from astr_jax.ops.geometry import epipolar_distance
from astr_jax.ops.grids import COARSE_STRIDE, cell_centres, nearest_cells
from astr_jax.supervision.ground_truth import GroundTruth
from pallas_kernels.arrays import Array

Some = Array | np.ndarray
SAME = 0.05  # pixels: up to here a point is the measured one
BESIDE = COARSE_STRIDE / 2  # pixels along either axis, from a cell's centre to its corner


@flax.struct.dataclass
class TracksTruth:
    """Points measured in both images, and both cameras; what has no track is unknown.

    About a measured point the images are related by its Jacobian. That serves the coarse labels,
    whose cells' centres lie up to half a cell from it; the fine stage learns from the very points.
    Wrong for sure is what lies off the epipolar line, and off the track of its own cell.
    """

    points0: Float[Some, "*b t 2"]  # pixels
    points1: Float[Some, "*b t 2"]
    ratio: Float[Some, "*b t"]  # local scale of image 1 against image 0, by the depths
    jacobian: Float[Some, "*b t 2 2"]  # of points 1 by points 0, of a surface that faces both
    valid: Bool[Some, "*b t"]
    K0: Float[Some, "*b 3 3"]
    K1: Float[Some, "*b 3 3"]
    cam1_from_cam0: Float[Some, "*b 4 4"]  # its translation is known up to its length
    size0: tuple[int, int] = flax.struct.field(pytree_node=False)  # (h, w) of the images
    size1: tuple[int, int] = flax.struct.field(pytree_node=False)

    DENSE: ClassVar[bool] = False

    def intrinsics(self) -> tuple[Float[Some, "*b 3 3"], Float[Some, "*b 3 3"]]:
        """K0 and K1."""
        return self.K0, self.K1

    def ground_truth(self) -> GroundTruth:
        """Of one pair: the true partner of those cells of image 0 that have a track."""
        jacobian = jnp.asarray(self.jacobian)
        there = _Side(jnp.asarray(self.points0), jnp.asarray(self.points1), jacobian)
        back = _Side(there.points1, there.points0, jnp.linalg.inv(jacobian))
        grid0, grid1 = (
            (size[0] // COARSE_STRIDE, size[1] // COARSE_STRIDE)
            for size in (self.size0, self.size1)
        )
        track, points1, visible = there.of_cells(self.valid, grid0)
        _, points0, back_visible = back.of_cells(self.valid, grid1)
        cell1 = jnp.where(visible, nearest_cells(points1, grid1, COARSE_STRIDE), -1)
        centres1 = cell_centres(jnp.maximum(cell1, 0), grid1[1], COARSE_STRIDE)
        again = nearest_cells(back.moved(track, centres1), grid0, COARSE_STRIDE)
        cell1 = jnp.where(again == jnp.arange(len(cell1)), cell1, -1)
        ratio = jnp.where(visible, jnp.asarray(self.ratio)[track], 1.0)
        return GroundTruth(cell1, points1, visible, ratio, points0, back_visible, visible)

    def near(self, points0: Float[Some, "k 2"]) -> Float[Array, "k 2"]:
        """The measured points of image 0 nearest to these, where one is less than half a cell off;
        these themselves elsewhere."""
        points0, measured = jnp.asarray(points0), jnp.asarray(self.points0)
        track, off = _nearest(points0, measured, self.valid)
        return jnp.where((off < BESIDE)[:, None], measured[track], points0)

    def locate(self, points0: Float[Some, "k 2"]) -> tuple[Float[Array, "k 2"], Bool[Array, " k"]]:
        """Where points of image 0 lie in image 1, and whether they are measured ones; of one
        pair."""
        points0 = jnp.asarray(points0)
        track, off = _nearest(points0, jnp.asarray(self.points0), self.valid)
        return jnp.asarray(self.points1)[track], off < SAME

    def refutes(
        self, points0: Float[Some, "k 2"], points1: Float[Some, "k 2"], margin: float
    ) -> Bool[Array, " k"]:
        """Which matches are surely wrong; of one pair.

        Those further than a margin, pixels, from the epipolar line, or from where the track of
        their own cell says. The rest is unknown.
        """
        points0, points1 = jnp.asarray(points0), jnp.asarray(points1)
        there = _Side(*map(jnp.asarray, (self.points0, self.points1, self.jacobian)))
        track, off = _nearest(points0, there.points0, self.valid)
        true1 = there.moved(track, points0)
        elsewhere = (off < BESIDE) & (jnp.abs(true1 - points1).max(axis=-1) >= margin)
        cameras = map(jnp.asarray, (self.K0, self.K1, self.cam1_from_cam0))
        return elsewhere | (epipolar_distance(points0, points1, *cameras) >= margin)


@flax.struct.dataclass
class _Side:
    """The tracks as one image sees them, and the way to the other one."""

    points0: Float[Array, "t 2"]
    points1: Float[Array, "t 2"]
    jacobian: Float[Array, "t 2 2"]

    def moved(self, track: Int[Array, " k"], points: Float[Array, "k 2"]) -> Float[Array, "k 2"]:
        """Points about their tracks, in the other image."""
        beside = points - self.points0[track]
        step = jnp.einsum("kij,kj->ki", self.jacobian[track], beside, precision="highest")
        return self.points1[track] + step

    def of_cells(self, valid: Bool[Some, " t"], grid: tuple[int, int]):
        """Each cell's nearest track, where its centre lies by it, and whether it has one."""
        centres = cell_centres(jnp.arange(grid[0] * grid[1]), grid[1], COARSE_STRIDE)
        track, off = _nearest(centres, self.points0, valid)
        has = off < BESIDE
        return track, jnp.where(has[:, None], self.moved(track, centres), -1e6), has


def _nearest(
    points: Float[Array, "k 2"], measured: Float[Array, "t 2"], valid: Bool[Some, " t"]
) -> tuple[Int[Array, " k"], Float[Array, " k"]]:
    """The nearest valid track, and how far it is along the further axis."""
    off = jnp.abs(points[:, None] - measured[None]).max(axis=-1)
    off = jnp.where(jnp.asarray(valid)[None], off, jnp.inf)
    return off.argmin(axis=-1), off.min(axis=-1)
