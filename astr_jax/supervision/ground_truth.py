"""Ground truth for training: where each image's cells lie in the other (docs/paper.md §8)."""

from collections.abc import Callable

import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from astr_jax.ops.geometry import seen_at, seen_by_depth, warp_by_homography
from astr_jax.ops.grids import COARSE_STRIDE, cell_centres, nearest_cells
from pallas_kernels.arrays import Array

Seen = Callable[[Array], tuple[Array, Array, Array]]  # points -> their partners, seen, ratio
DEPTH_TOLERANCE = 0.2  # relative: what differs more is occluded (docs/paper.md §8)


@flax.struct.dataclass
class GroundTruth:
    """Where the coarse cells of each image lie in the other one."""

    cell1: Int[Array, "*b n"]  # mutual nearest cell of image 1; -1 where there is none
    points1: Float[Array, "*b n 2"]  # where the cell's centre lies in image 1, pixels
    visible: Bool[Array, "*b n"]  # that place is seen in both images
    ratio: Float[Array, "*b n"]  # local scale of image 1 against image 0 (r of docs/paper.md §6)
    points0: Float[Array, "*b m 2"]  # where the centre of a cell of image 1 lies in image 0
    back_visible: Bool[Array, "*b m"]  # that place is seen in both images
    known: Bool[Array, "*b n"]  # of image 0's cells: whether a match there can be told right


def homography_ground_truth(
    homography: Float[Array, "3 3"],
    visible0: Bool[Array, "h w"],
    visible1: Bool[Array, "h1 w1"],
) -> GroundTruth:
    """Ground truth of one pair related by image-0-to-image-1 pixels; visible: not occluded."""
    back = jnp.linalg.inv(homography)
    return ground_truth_both_ways(
        visible0.shape,
        visible1.shape,
        lambda points: seen_on_plane(homography, visible0, visible1, points),
        lambda points: seen_on_plane(back, visible1, visible0, points),
    )


def seen_on_plane(
    homography: Float[Array, "3 3"],
    visible0: Bool[Array, "h w"],
    visible1: Bool[Array, "h1 w1"],
    points0: Float[Array, "n 2"],
) -> tuple[Float[Array, "n 2"], Bool[Array, " n"], Float[Array, " n"]]:
    """Points of a plane in image 0, pixels: where they lie in image 1, whether both images show
    them, and their scale ratio."""
    points1, ratio = warp_by_homography(homography, points0)
    return points1, seen_at(visible0, points0) & seen_at(visible1, points1), ratio


def depth_ground_truth(
    depth0: Float[Array, "h w"],
    depth1: Float[Array, "h1 w1"],
    K0: Float[Array, "3 3"],
    K1: Float[Array, "3 3"],
    cam1_from_cam0: Float[Array, "4 4"],
    tolerance: float | np.floating | Float[Array, ""] = DEPTH_TOLERANCE,
) -> GroundTruth:
    """Ground truth of one pair by z-depth (0 = unknown) and pose.

    A point is visible where the depth of the image it falls into agrees to the tolerance, a share
    of the depth. The ratio is that of the depths, (z0 / f0) / (z1 / f1) (docs/paper.md §6).
    """
    back = jnp.linalg.inv(cam1_from_cam0)
    return ground_truth_both_ways(
        depth0.shape,
        depth1.shape,
        lambda points: seen_by_depth(depth0, depth1, K0, K1, cam1_from_cam0, points, tolerance),
        lambda points: seen_by_depth(depth1, depth0, K1, K0, back, points, tolerance),
    )


def ground_truth_both_ways(
    shape0: tuple[int, int], shape1: tuple[int, int], there: Seen, back: Seen
) -> GroundTruth:
    """Ground truth of one pair of images of these sizes (h, w); a match can be told right at every
    cell.

    there: of points of image 0 [n 2], pixels, where they lie in image 1 [n 2], whether both images
    show them [n], and their scale ratio [n]; back: the same from image 1 to image 0.
    """
    grid0, grid1, centres0, centres1 = _cells_and_centres(shape0, shape1)
    points1, visible, ratio = there(centres0)
    points0, back_visible, _ = back(centres1)
    cell1 = _mutual_cells((points1, visible, grid1), (points0, back_visible, grid0))
    known = jnp.ones_like(visible)
    return GroundTruth(cell1, points1, visible, ratio, points0, back_visible, known)


def _cells_and_centres(shape0: tuple[int, int], shape1: tuple[int, int]):
    """The grids of both images, and the pixels of their cells' centres."""
    grids = [(h // COARSE_STRIDE, w // COARSE_STRIDE) for h, w in (shape0, shape1)]
    return *grids, *(cell_centres(jnp.arange(h * w), w, COARSE_STRIDE) for h, w in grids)


def _mutual_cells(there, back) -> Int[Array, " n"]:
    """Mutual nearest cells. there: of image 0's cells, their points in image 1, whether they are
    visible there, and image 1's grid; back: of image 1's cells the same."""
    forward, backward = (
        jnp.where(visible, nearest_cells(points, grid, COARSE_STRIDE), -1)
        for points, visible, grid in (there, back)
    )
    number = jnp.arange(len(forward))
    mutual = (forward >= 0) & (backward[jnp.maximum(forward, 0)] == number)
    return jnp.where(mutual, forward, -1)
