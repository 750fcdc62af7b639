"""Ground truth for training: where each image's cells lie in the other (spec section 8)."""

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from astr_jax.ops.grids import COARSE_STRIDE, cell_centres, nearest_cells
from astr_jax.ops.scaling import ratio_from_homography


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
    grid0, grid1 = (
        (v.shape[0] // COARSE_STRIDE, v.shape[1] // COARSE_STRIDE) for v in (visible0, visible1)
    )
    n, m = grid0[0] * grid0[1], grid1[0] * grid1[1]
    centres0 = cell_centres(jnp.arange(n), grid0[1], COARSE_STRIDE)
    centres1 = cell_centres(jnp.arange(m), grid1[1], COARSE_STRIDE)
    points1, ratio = warp_points(homography, centres0)
    points0, _ = warp_points(jnp.linalg.inv(homography), centres1)
    visible = seen_at(visible0, centres0) & seen_at(visible1, points1)
    back_visible = seen_at(visible1, centres1) & seen_at(visible0, points0)
    forward = jnp.where(visible, nearest_cells(points1, grid1, COARSE_STRIDE), -1)
    backward = jnp.where(back_visible, nearest_cells(points0, grid0, COARSE_STRIDE), -1)
    mutual = (forward >= 0) & (backward[jnp.maximum(forward, 0)] == jnp.arange(n))
    return GroundTruth(jnp.where(mutual, forward, -1), points1, visible, ratio)


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
