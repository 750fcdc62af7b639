"""Ground truth for training: where each image's cells lie in the other (spec section 8)."""

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from astr_jax.ops.grids import COARSE_STRIDE, cell_centres, nearest_cells
from astr_jax.ops.scaling import ratio_from_homography

DEPTH_TOLERANCE = 0.2  # relative: what differs more is occluded (spec section 8)


@flax.struct.dataclass
class GroundTruth:
    """For each coarse cell of image 0: its true partner. Shapes: [*b n]."""

    cell1: Int[Array, "*b n"]  # mutual nearest cell of image 1; -1 where there is none
    points1: Float[Array, "*b n 2"]  # where the cell's centre lies in image 1, pixels
    visible: Bool[Array, "*b n"]  # that place is seen in both images
    ratio: Float[Array, "*b n"]  # local scale of image 1 against image 0 (r of spec section 6)


def warp_points(
    homography: Float[Array, "3 3"], points: Float[Array, "n 2"]
) -> tuple[Float[Array, "n 2"], Float[Array, " n"]]:
    """Maps pixels by a homography; also returns sqrt|det| of its Jacobian there, the local scale.

    Points at or behind the horizon get a far-away position and ratio 1.
    """
    x, y = points[:, 0], points[:, 1]
    u, v, w = (row[0] * x + row[1] * y + row[2] for row in homography)
    front = w * jnp.sign(jnp.linalg.det(homography)) > 1e-6
    safe = jnp.where(front, w, 1.0)
    warped = jnp.stack([u, v], axis=-1) / safe[:, None]
    ratio = ratio_from_homography(homography, points)
    return jnp.where(front[:, None], warped, -1e6), jnp.where(front, ratio, 1.0)


def seen_at(visible: Bool[Array, "h w"], points: Float[Array, "n 2"]) -> Bool[Array, " n"]:
    """Whether the pixel nearest to each point is in the image and visible."""
    pixel = nearest_cells(points, visible.shape, stride=1)
    return (pixel >= 0) & visible.reshape(-1)[jnp.maximum(pixel, 0)]


def homography_ground_truth(
    homography: Float[Array, "3 3"],
    visible0: Bool[Array, "h w"],
    visible1: Bool[Array, "h1 w1"],
) -> GroundTruth:
    """Ground truth of one pair related by image-0-to-image-1 pixels; visible: not occluded."""
    grid0, grid1, centres0, centres1 = _cells(visible0.shape, visible1.shape)
    points1, ratio = warp_points(homography, centres0)
    points0, _ = warp_points(jnp.linalg.inv(homography), centres1)
    visible = seen_at(visible0, centres0) & seen_at(visible1, points1)
    back_visible = seen_at(visible1, centres1) & seen_at(visible0, points0)
    cell1 = _mutual_cells((points1, visible, grid1), (points0, back_visible, grid0))
    return GroundTruth(cell1, points1, visible, ratio)


def depth_ground_truth(
    depth0: Float[Array, "h w"],
    depth1: Float[Array, "h1 w1"],
    K0: Float[Array, "3 3"],
    K1: Float[Array, "3 3"],
    T_0to1: Float[Array, "4 4"],
    tolerance: float | Float[Array, ""] = DEPTH_TOLERANCE,
) -> GroundTruth:
    """Ground truth of one pair by z-depth (0 = unknown) and pose: cam1_from_cam0.

    A point is visible where the depth of the image it falls into agrees to the tolerance, a share
    of the depth. The ratio is that of the depths, (z0 / f0) / (z1 / f1) (spec section 6).
    """
    grid0, grid1, centres0, centres1 = _cells(depth0.shape, depth1.shape)
    points1, visible, ratio = seen_by_depth(depth0, depth1, K0, K1, T_0to1, centres0, tolerance)
    back = jnp.linalg.inv(T_0to1)
    points0, back_visible, _ = seen_by_depth(depth1, depth0, K1, K0, back, centres1, tolerance)
    cell1 = _mutual_cells((points1, visible, grid1), (points0, back_visible, grid0))
    return GroundTruth(cell1, points1, visible, ratio)


def warp_by_depth(
    points: Float[Array, "n 2"],
    depth: Float[Array, " n"],
    K0: Float[Array, "3 3"],
    K1: Float[Array, "3 3"],
    T_0to1: Float[Array, "4 4"],
) -> tuple[Float[Array, "n 2"], Float[Array, " n"]]:
    """Pixels of image 0 with their z-depths -> pixels and z-depths in image 1. What lies behind
    the camera, or has no depth, goes far away, with depth 0."""
    homogeneous = jnp.concatenate([points, jnp.ones((len(points), 1))], axis=1)
    inverse = jnp.linalg.inv(K0)
    at0 = jnp.matmul(homogeneous, inverse.T, precision="highest") * depth[:, None]
    at1 = jnp.matmul(at0, T_0to1[:3, :3].T, precision="highest") + T_0to1[None, :3, 3]
    front = (depth > 0) & (at1[:, 2] > 1e-6)
    z = jnp.where(front, at1[:, 2], 1.0)
    image = jnp.matmul(at1 / z[:, None], K1.T, precision="highest")
    return jnp.where(front[:, None], image[:, :2], -1e6), jnp.where(front, z, 0.0)


def seen_by_depth(
    depth0: Float[Array, "h w"],
    depth1: Float[Array, "h1 w1"],
    K0: Float[Array, "3 3"],
    K1: Float[Array, "3 3"],
    T_0to1: Float[Array, "4 4"],
    points0: Float[Array, "n 2"],
    tolerance: float | Float[Array, ""],
) -> tuple[Float[Array, "n 2"], Bool[Array, " n"], Float[Array, " n"]]:
    """Points of image 0 by their z-depths (0 = unknown) in image 1 (spec section 8).

    Args:
      T_0to1: cam1_from_cam0, in the unit of the depths.
      points0: (x, y) pixels; the depth is that of the nearest one.
      tolerance: share of the depth by which the depths of a point that both see may disagree.

    Returns the pixels of image 1, whether each point is seen there, and its scale ratio.
    """
    z0, _ = _depth_at(depth0, points0)
    points1, z1 = warp_by_depth(points0, z0, K0, K1, T_0to1)
    found, inside = _depth_at(depth1, points1)
    agree = jnp.abs(found - z1) < tolerance * found
    focal0, focal1 = (jnp.sqrt(K[0, 0] * K[1, 1]) for K in (K0, K1))
    ratio = jnp.where(z1 > 0, z0 * focal1 / (jnp.where(z1 > 0, z1, 1.0) * focal0), 1.0)
    return points1, inside & (found > 0) & agree, ratio


def _depth_at(depth: Float[Array, "h w"], points: Float[Array, "n 2"]):
    """The depth of the nearest pixel, 0 outside the image; and whether the point is inside."""
    pixel = nearest_cells(points, depth.shape, stride=1)
    inside = pixel >= 0
    return jnp.where(inside, depth.reshape(-1)[jnp.maximum(pixel, 0)], 0.0), inside


def _cells(shape0: tuple[int, int], shape1: tuple[int, int]):
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


def random_share(key: Array, candidates: Bool[Array, " n"], share: float) -> Bool[Array, " n"]:
    """Keeps a random share of the candidates, rounded up: exactly, not on average."""
    order = jnp.where(candidates, jax.random.uniform(key, candidates.shape), 2.0)
    rank = jnp.argsort(jnp.argsort(order))
    keep = jnp.ceil(share * candidates.sum()).astype(jnp.int32)
    return candidates & (rank < keep)


def sample_fine(
    key: Array,
    true_cell1: Int[Array, " n"],
    predicted_cell1: Int[Array, " n"],
    *,
    capacity: int,
    limit: Int[Array, ""],
    least_true: int = 200,
) -> tuple[Int[Array, " k"], Int[Array, " k"]]:
    """Chooses the coarse pairs that train the fine stage: (cell0, cell1), -1 on padding.

    At most `limit` of the `capacity` rows are filled: first ground truth, at least `least_true` of
    it where there is so much, then predictions, then what ground truth is left. Both are drawn at
    random (spec section 8).
    """
    n = true_cell1.shape[0]
    true_key, predicted_key = jax.random.split(key)
    true, predicted = true_cell1 >= 0, predicted_cell1 >= 0
    true_order = jnp.where(true, jax.random.uniform(true_key, (n,)), 9.0)
    true_rank = jnp.argsort(jnp.argsort(true_order))
    # Priorities: 0 sure ground truth, 1 predictions, 2 other ground truth, 9 nothing.
    true_priority = jnp.where(true_rank < least_true, true_order, true_order + 2)
    predicted_priority = jnp.where(predicted, 1 + jax.random.uniform(predicted_key, (n,)), 9.0)
    priority = jnp.concatenate([jnp.where(true, true_priority, 9.0), predicted_priority])
    best, index = jax.lax.top_k(-priority, capacity)
    filled = (best > -9.0) & (jnp.arange(capacity) < limit)
    cell0 = jnp.where(filled, index % n, -1)
    cell1 = jnp.where(filled, jnp.concatenate([true_cell1, predicted_cell1])[index], -1)
    return cell0, cell1
