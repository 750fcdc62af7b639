"""How much larger a thing looks in image 1 than in image 0: the adaptive scaling module.

Every coarse match gets a scale ratio r = s1 / s0, the side of its crop of image 1 over the side of
its crop of image 0, so that both crops show the same piece of the scene (docs/paper.md §6). With
camera 1 closer to the point, the point looks larger in image 1, and r > 1. For ONE pair, inside
jit, with static shapes; every ratio is finite and positive whatever comes in.

Three estimators. `pose`: the ratio of the two depths, by the relative pose of the cameras; needs
intrinsics. `affine`: the local magnification of the field of matches itself. `none`: 1.
Points are (x, y) pixels, pixel centres at whole numbers.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, PRNGKeyArray, Real

from astr_jax.ops.chunks import in_chunks
from astr_jax.ops.local_affine import EXTREME, MatchGrid, local_magnification, lower_median
from astr_jax.ops.pose import Pose, estimate_pose, pixel_rays
from pallas_kernels.arrays import Array

ESTIMATORS = ("pose", "affine", "none")

FEWEST_INLIERS = 30  # for a pose
LEAST_PARALLAX = 1.0  # degrees between the two rays of an inlier, in the median; for a pose
_BLOCK = 256  # rows of the table of distances that exist at a time


@functools.partial(jax.jit, static_argnames=("estimator", "grid"))
def scale_ratio(
    points0: Float[Array, "k 2"],
    points1: Float[Array, "k 2"],
    valid: Bool[Array, " k"],
    *,
    estimator: str,
    grid: tuple[int, int],
    K0: Float[Array, "3 3"] | None = None,
    K1: Float[Array, "3 3"] | None = None,
    cell: Real[Array, ""] | float = 8.0,
    key: PRNGKeyArray | None = None,
) -> Float[Array, " k"]:
    """Returns r = s1 / s0 of each match, 1 on rows that are not valid.

    `estimator` is one of ESTIMATORS; `grid` is (height, width) of the coarse cells of image 0, and
    `cell` the side of one in pixels: matches are true to about half of it. `pose` falls back to
    `affine` where the pose is degenerate (parallax under 1 degree, points behind a camera, fewer
    than 30 inliers), `affine` to 1 where a match has fewer than 6 neighbours.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator must be one of {ESTIMATORS}; got {estimator!r}.")
    if estimator == "pose" and (K0 is None or K1 is None or key is None):
        raise ValueError("'pose' needs K0, K1 and key. Without intrinsics use 'affine'.")
    if estimator == "none":
        return jnp.ones(points0.shape[0], jnp.float32)
    points0 = jnp.where(valid[:, None], points0, 0.0)
    points1 = jnp.where(valid[:, None], points1, 0.0)
    matches = MatchGrid.of(points0, valid, grid=grid, cell=cell)
    ratio = local_magnification(points0, points1, valid, matches)
    if estimator == "pose":
        with jax.default_matmul_precision("highest"):
            pose = estimate_pose(points0, points1, valid, K0, K1, key, threshold=cell / 2)
            geometry = (points0, points1, K0, K1)
            by_pose, known = _smoothed_pose_ratio(pose, *geometry, valid, matches)
            known &= _is_trustworthy(pose, *geometry)
        ratio = jnp.where(known, by_pose, ratio)
    ratio = jnp.clip(ratio, 1 / EXTREME, EXTREME)
    return jnp.where(valid & jnp.isfinite(ratio), ratio, 1.0)


def ratio_from_pose(
    points0: Float[Array, "k 2"],
    points1: Float[Array, "k 2"],
    K0: Float[Array, "3 3"],
    K1: Float[Array, "3 3"],
    cam1_from_cam0: Float[Array, "4 4"],
) -> Float[Array, " k"]:
    """Returns r = s1 / s0 = (d0 / f0) / (d1 / f1) of each match, d the z-depth, f = sqrt(fx fy).

    The depths' ratio comes from d0 R x0 + t = d1 x1 crossed with t, so that it is exact at any
    parallax and any length of t; without translation it is that of the pure rotation. It is
    unknown at the epipole. Where the depths come out with different signs the ratio is 1.
    """
    rotation, translation = cam1_from_cam0[:3, :3], cam1_from_cam0[:3, 3]
    with jax.default_matmul_precision("highest"):
        turned = pixel_rays(points0, K0) @ rotation.T
        ray1 = pixel_rays(points1, K1)
    direction = translation * jax.lax.rsqrt(jnp.sum(translation**2) + 1e-20)
    direction = jnp.broadcast_to(direction, ray1.shape)
    across0, across1 = jnp.cross(direction, turned), jnp.cross(direction, ray1)
    # The second terms decide where the first vanish: at the epipole, or without translation.
    product = jnp.sum(across0 * across1, axis=1) + 1e-8 * jnp.sum(turned * ray1, axis=1)
    square = jnp.sum(across0**2, axis=1) + 1e-8 * jnp.sum(turned**2, axis=1)
    focal0, focal1 = jnp.sqrt(K0[0, 0] * K0[1, 1]), jnp.sqrt(K1[0, 0] * K1[1, 1])
    ratio = product / square * (focal1 / focal0)
    return jnp.where(ratio > 0, ratio, 1.0)


def ratio_from_homography(
    homography: Float[Array, "3 3"], points0: Float[Array, "k 2"]
) -> Float[Array, " k"]:
    """Returns sqrt|det J|, J the Jacobian of the homography at each point of image 0. Exact.

    |det J| is |det H| / |w|³, w the third coordinate of H (x, y, 1). Very large, but finite, on
    the horizon, where w is 0.
    """
    row = homography[2]
    w = jnp.abs(points0[:, 0] * row[0] + points0[:, 1] * row[1] + row[2])
    determinant = jnp.dot(row, jnp.cross(homography[0], homography[1]), precision="highest")
    return jnp.sqrt(jnp.abs(determinant) / jnp.maximum(w, 1e-6 * jnp.abs(row[2]) + 1e-12) ** 3)


def grid_sizes(
    ratio: Float[Array, "*k"], *, base: float | Float[Array, ""], largest: float
) -> tuple[Float[Array, "*k"], Float[Array, "*k"]]:
    """Returns the sides s0, s1 of the crops, in cells of the fine map.

    The side on which things look smaller keeps the base, the other grows, up to `largest` times.
    """
    return base * jnp.clip(1.0 / ratio, 1.0, largest), base * jnp.clip(ratio, 1.0, largest)


def nearest_valid(
    points: Float[Array, "k 2"], among: Float[Array, "n 2"], valid: Bool[Array, " n"]
) -> Int[Array, " k"]:
    """The row of the nearest valid one among other points; -1 where none is valid."""

    def nearest(point):
        away = jnp.where(valid, jnp.sum((among - point[None]) ** 2, axis=1), jnp.inf)
        return jnp.argmin(away).astype(jnp.int32)

    row = jax.lax.map(nearest, points, batch_size=_BLOCK)
    return jnp.where(jnp.any(valid), row, -1)


def _smoothed_pose_ratio(pose: Pose, points0, points1, K0, K1, valid, matches: MatchGrid):
    """The median of the neighbouring inliers' ratios, as far as the match itself leaves it open.

    An inlier's own ratio is off by its noise in pixels over its distance from the epipole, in
    logarithms. The median is held within twice that of it: exact matches keep their own ratios
    and quantised ones are smoothed. Returns the ratio [k] and whether there is one.
    """
    own = ratio_from_pose(points0, points1, K0, K1, pose.cam1_from_cam0)

    def median_about(points):
        rows, near = matches.about(points)
        return lower_median(own[rows], near & pose.inliers[rows])

    median = in_chunks(median_about, valid, points0)  # 0 where there is no inlier
    known = median > 0
    median, own = jnp.log(jnp.where(known, median, 1.0)), jnp.log(own)
    rays = ((pixel_rays(points0, K0) @ pose.rotation.T, K0), (pixel_rays(points1, K1), K1))
    variance = jnp.zeros_like(own)
    for ray, K in rays:
        across = jnp.cross(jnp.broadcast_to(pose.translation, ray.shape), ray)
        pixels = jnp.sum(across**2, axis=1) * (K[0, 0] * K[1, 1])  # from the epipole, squared
        variance += pose.noise**2 / (pixels + 1e-6)
    slack = 2.0 * jnp.sqrt(variance)
    held = jnp.where(pose.inliers, jnp.clip(median, own - slack, own + slack), median)
    return jnp.exp(held), known


def _is_trustworthy(pose: Pose, points0, points1, K0, K1) -> Bool[Array, ""]:
    """Whether the pose has inliers, in front of both cameras, seen at different angles."""
    turned, ray1 = pixel_rays(points0, K0) @ pose.rotation.T, pixel_rays(points1, K1)
    sine = jnp.linalg.norm(jnp.cross(turned, ray1), axis=1)
    angle = jnp.arctan2(sine, jnp.sum(turned * ray1, axis=1))
    parallax = jnp.rad2deg(lower_median(angle[:, None], pose.inliers[:, None])[0])
    return (pose.num_inliers >= FEWEST_INLIERS) & (parallax >= LEAST_PARALLAX)
