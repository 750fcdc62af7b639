"""Where points of image 0 lie in image 1: by a homography, or by depth and pose. For ONE pair.

Points are (x, y) pixels, pixel centres at whole numbers; depth is z-depth, 0 where unknown.
NumPy's counterpart, for files and scores, is `astr_jax.geometry`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from astr_jax.ops.grids import nearest_cells
from astr_jax.ops.scaling import ratio_from_homography
from pallas_kernels.arrays import Array


def warp_by_homography(
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


def warp_by_depth(
    points: Float[Array, "n 2"],
    depth: Float[Array, " n"],
    K0: Float[Array, "3 3"],
    K1: Float[Array, "3 3"],
    cam1_from_cam0: Float[Array, "4 4"],
) -> tuple[Float[Array, "n 2"], Float[Array, " n"]]:
    """Pixels of image 0 with their z-depths -> pixels and z-depths in image 1. What lies behind
    the camera, or has no depth, goes far away, with depth 0."""
    inverse = jnp.linalg.inv(K0)
    at0 = jnp.matmul(lifted(points), inverse.T, precision="highest") * depth[:, None]
    rotation, translation = cam1_from_cam0[:3, :3], cam1_from_cam0[:3, 3]
    at1 = jnp.matmul(at0, rotation.T, precision="highest") + translation[None]
    front = (depth > 0) & (at1[:, 2] > 1e-6)
    z = jnp.where(front, at1[:, 2], 1.0)
    image = jnp.matmul(at1 / z[:, None], K1.T, precision="highest")
    return jnp.where(front[:, None], image[:, :2], -1e6), jnp.where(front, z, 0.0)


def seen_by_depth(
    depth0: Float[Array, "h w"],
    depth1: Float[Array, "h1 w1"],
    K0: Float[Array, "3 3"],
    K1: Float[Array, "3 3"],
    cam1_from_cam0: Float[Array, "4 4"],
    points0: Float[Array, "n 2"],
    tolerance: float | np.floating | Float[Array, ""],
) -> tuple[Float[Array, "n 2"], Bool[Array, " n"], Float[Array, " n"]]:
    """Points of image 0 by their z-depths (0 = unknown) in image 1 (docs/paper.md §8).

    Args:
      cam1_from_cam0: in the unit of the depths.
      points0: (x, y) pixels; the depth is that of the nearest one.
      tolerance: share of the depth by which the depths of a point that both see may disagree.

    Returns the pixels of image 1, whether each point is seen there, and its scale ratio.
    """
    z0, _ = depth_at(depth0, points0)
    points1, z1 = warp_by_depth(points0, z0, K0, K1, cam1_from_cam0)
    found, inside = depth_at(depth1, points1)
    agree = jnp.abs(found - z1) < tolerance * found
    focal0, focal1 = (jnp.sqrt(K[0, 0] * K[1, 1]) for K in (K0, K1))
    ratio = jnp.where(z1 > 0, z0 * focal1 / (jnp.where(z1 > 0, z1, 1.0) * focal0), 1.0)
    return points1, inside & (found > 0) & agree, ratio


def depth_at(depth: Float[Array, "h w"], points: Float[Array, "n 2"]):
    """The depth of the nearest pixel, 0 outside the image; and whether the point is inside."""
    pixel = nearest_cells(points, depth.shape, stride=1)
    inside = pixel >= 0
    return jnp.where(inside, depth.reshape(-1)[jnp.maximum(pixel, 0)], 0.0), inside


def epipolar_distance(
    points0: Float[Array, "n 2"],
    points1: Float[Array, "n 2"],
    K0: Float[Array, "3 3"],
    K1: Float[Array, "3 3"],
    cam1_from_cam0: Float[Array, "4 4"],
) -> Float[Array, " n"]:
    """Pixels of image 1 from each point to the line that its partner's ray is seen as there; 0
    where there is no line: without a translation, and at the epipole."""
    with jax.default_matmul_precision("highest"):
        inverse0, inverse1 = jnp.linalg.inv(K0), jnp.linalg.inv(K1)
        rays = lifted(points0) @ inverse0.T @ cam1_from_cam0[:3, :3].T
        translation = cam1_from_cam0[:3, 3]
        length = jnp.linalg.norm(translation)
        direction = translation / jnp.where(length > 0, length, 1.0)
        lines = jnp.cross(direction[None], rays) @ inverse1  # of pixels: K1^-T (t x R ray)
    slope = jnp.linalg.norm(lines[:, :2], axis=-1)
    off = jnp.abs((lines * lifted(points1)).sum(axis=-1))
    return jnp.where(slope > 1e-9, off / jnp.where(slope > 1e-9, slope, 1.0), 0.0)


def lifted(points: Float[Array, "n 2"]) -> Float[Array, "n 3"]:
    """(x, y) -> (x, y, 1)."""
    return jnp.concatenate([points, jnp.ones((len(points), 1))], axis=1)
