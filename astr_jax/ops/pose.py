"""Relative pose from matches: for ONE pair, inside jit.

A robust estimator in the manner of RANSAC, with static shapes and no branch on values: all
hypotheses are made at once, all are scored at once, the best few are polished on all matches.
A hypothesis is five matches and a random start, solved by Levenberg-Marquardt on rotation and
translation direction. Five points (not eight) keep planar scenes solvable, and the iteration
needs no polynomial roots, which single precision would spoil (docs/paper.md §6).

Conventions: a point X0 of camera 0 has X1 = rotation X0 + translation in camera 1; only the
direction of the translation is known, so it has unit length. Points are (x, y) pixels, pixel
centres at whole numbers; K is [3 3]. Rays are K^-1 (x, y, 1), so the z-depth multiplies them.
"""

import functools

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from pallas_kernels.arrays import Array

SAMPLE = 5  # matches per hypothesis: the degrees of freedom of an essential matrix
POLISHED = 8  # hypotheses that are refined on all matches
_TINY = 1e-12


@flax.struct.dataclass
class Pose:
    """Where camera 1 stands as seen from camera 0, up to the length of the translation."""

    rotation: Float[Array, "*b 3 3"]
    translation: Float[Array, "*b 3"]  # unit length
    inliers: Bool[Array, "*b k"]  # valid, within the threshold, and in front of both cameras
    num_inliers: Int[Array, "*b"]
    noise: Float[Array, "*b"]  # r.m.s. Sampson error of the inliers, pixels

    @property
    def cam1_from_cam0(self) -> Float[Array, "*b 4 4"]:
        """The rigid transform, with a translation of unit length."""
        top = jnp.concatenate([self.rotation, self.translation[..., None]], axis=-1)
        last = jnp.broadcast_to(jnp.eye(4, dtype=top.dtype)[3:], (*top.shape[:-2], 1, 4))
        return jnp.concatenate([top, last], axis=-2)


@functools.partial(jax.jit, static_argnames=("hypotheses",))
def estimate_pose(
    points0: Float[Array, "k 2"],
    points1: Float[Array, "k 2"],
    valid: Bool[Array, " k"],
    K0: Float[Array, "3 3"],
    K1: Float[Array, "3 3"],
    key: PRNGKeyArray,
    *,
    threshold: float | Float[Array, ""],
    hypotheses: int = 256,
) -> Pose:
    """Finds the relative pose that the most matches agree with.

    The threshold is the largest Sampson error of an inlier, in pixels. Hypotheses are scored by
    MSAC: the squared error, cut off at the threshold. With fewer than five valid matches the
    pose is finite and means nothing, and num_inliers is 0.
    """
    with jax.default_matmul_precision("highest"):
        rays0, rays1 = _usable_rays(points0, K0, valid), _usable_rays(points1, K1, valid)
        focal0, focal1 = jnp.diagonal(K0)[:2], jnp.diagonal(K1)[:2]
        error = functools.partial(sampson_error, focal0=focal0, focal1=focal1)

        def msac(pose):
            cost = jnp.minimum(error(*pose, rays0, rays1) ** 2, threshold**2)
            return jnp.sum(jnp.where(valid, cost, 0.0))

        def weigh(residual):  # Tukey's biweight: 1 at 0, falling smoothly to 0
            inside = jnp.maximum(1.0 - (residual / (2.0 * threshold)) ** 2, 0.0)
            return jnp.where(valid, inside**2, 0.0)

        def polish(pose, steps):
            return _gauss_newton(error, pose, rays0, rays1, weigh, steps)

        sample_key, start_key = jax.random.split(key)
        starts = _starting_poses(rays0, rays1, valid, start_key, hypotheses)
        samples = _draw_samples(valid, sample_key, hypotheses)  # [hypotheses SAMPLE]
        minimal = jax.vmap(functools.partial(_levenberg_marquardt, error))
        poses = minimal(starts, rays0[samples], rays1[samples])
        best = jax.lax.top_k(-jax.vmap(msac)(poses), min(POLISHED, hypotheses))[1]
        poses = jax.vmap(functools.partial(polish, steps=4))(jax.tree.map(lambda x: x[best], poses))
        winner = jnp.argmin(jax.vmap(msac)(poses))
        pose = polish(jax.tree.map(lambda x: x[winner], poses), steps=6)

        residual = error(*pose, rays0, rays1)
        close = valid & (jnp.abs(residual) < threshold) & (jnp.sum(valid) >= SAMPLE)
        rotation, translation, in_front = _cheirality(pose, rays0, rays1, close)
        inliers = close & in_front
        count = jnp.sum(inliers)
        spent = jnp.sum(jnp.where(inliers, residual**2, 0.0))
        noise = jnp.sqrt(spent / jnp.maximum(count - SAMPLE, 1).astype(spent.dtype))
        return Pose(rotation, translation, inliers, count, noise)


def sampson_error(
    rotation: Float[Array, "3 3"],
    translation: Float[Array, "3"],
    rays0: Float[Array, "k 3"],
    rays1: Float[Array, "k 3"],
    *,
    focal0: Float[Array, "2"],
    focal1: Float[Array, "2"],
) -> Float[Array, " k"]:
    """Returns how far each match is from the epipolar geometry, first order, signed, in pixels.

    x1' E x0 over the length of its gradient by the four pixel coordinates. The focal lengths
    (fx, fy) turn that gradient from ray coordinates into pixels, so they may differ.
    """
    essential = _cross_matrix(translation) @ rotation
    line1 = rays0 @ essential.T  # [k 3] the epipolar line in image 1 of each point of image 0
    line0 = rays1 @ essential
    gradient = jnp.concatenate([line0[:, :2] / focal0[None], line1[:, :2] / focal1[None]], axis=1)
    return jnp.sum(rays1 * line1, axis=1) * jax.lax.rsqrt(jnp.sum(gradient**2, axis=1) + _TINY)


def pixel_rays(points: Float[Array, "k 2"], K: Float[Array, "3 3"]) -> Float[Array, "k 3"]:
    """Returns K^-1 (x, y, 1): the ray through each pixel, with z = 1. K ends in (0, 0, 1)."""
    x, y = points[:, 0] - K[0, 2], points[:, 1] - K[1, 2]
    shear = K[1, 0] / K[0, 0]  # 0, unless a camera with skew is turned
    y = (y - shear * x) / (K[1, 1] - shear * K[0, 1])
    x = (x - K[0, 1] * y) / K[0, 0]
    return jnp.stack([x, y, jnp.ones_like(x)], axis=1)


def solve_positive(
    matrix: Float[Array, "n n"], vectors: Float[Array, "n m"]
) -> Float[Array, "n m"]:
    """Solves a small positive semi-definite system by Gauss-Jordan elimination.

    Plain arithmetic, unrolled over n, so that thousands of them under vmap run as few fused loops
    on every device. Unknowns that the matrix says nothing about come out as 0, never NaN.
    """
    size = matrix.shape[0]
    scale = jax.lax.rsqrt(jnp.maximum(jnp.diagonal(matrix), _TINY))
    matrix = matrix * scale[:, None] * scale[None, :]
    table = jnp.concatenate([matrix, vectors * scale[:, None]], axis=1)
    rows = jnp.arange(size)
    for i in range(size):
        pivot = table[i, i]
        row = jnp.where(pivot > 1e-6, table[i] / jnp.maximum(pivot, 1e-6), 0.0)
        rest = table - table[:, i, None] * row[None]
        table = jnp.where((rows == i)[:, None], row[None], rest)
    return table[:, size:] * scale[:, None]


def _usable_rays(points, K, valid):
    """The rays, with the image's centre in the place of rows that are not valid."""
    return pixel_rays(jnp.where(valid[:, None], points, K[None, :2, 2]), K)


def _draw_samples(valid, key, hypotheses: int) -> Int[Array, "hypotheses 5"]:
    """Draws SAMPLE different valid rows per hypothesis: one from each fifth of a shuffled list."""
    shuffle_key, pick_key = jax.random.split(key)
    dice = jax.random.uniform(shuffle_key, valid.shape)
    shuffled = jnp.argsort(jnp.where(valid, dice, 2.0))
    fraction = jax.random.uniform(pick_key, (hypotheses, SAMPLE))
    place = jnp.arange(SAMPLE, dtype=jnp.float32)[None] + fraction
    place = place / SAMPLE * jnp.sum(valid, dtype=jnp.float32)
    return shuffled[jnp.clip(place.astype(jnp.int32), 0, valid.shape[0] - 1)]


def _starting_poses(rays0, rays1, valid, key, hypotheses: int):
    """Random poses near the rotation that best turns all rays onto their partners."""
    turn_key, direction_key = jax.random.split(key)
    turns = 0.3 * jax.random.normal(turn_key, (hypotheses, 3))  # radians
    rotations = jax.vmap(_rotation)(turns) @ _align_rays(rays0, rays1, valid)[None]
    return rotations, _unit(jax.random.normal(direction_key, (hypotheses, 3)))


def _align_rays(rays0, rays1, valid) -> Float[Array, "3 3"]:
    """The rotation R with R x0 ~ x1 in the mean (Davenport's q-method), outliers reweighted."""
    unit0, unit1 = _unit(rays0), _unit(rays1)
    weight = valid.astype(rays0.dtype)
    rotation = jnp.eye(3, dtype=rays0.dtype)
    for _ in range(3):
        moment = (unit1 * weight[:, None]).T @ unit0  # sum of w x1 x0'
        rotation = _rotation_of_moment(moment)
        miss = jnp.linalg.norm(unit0 @ rotation.T - unit1 + _TINY, axis=1)
        weight = jnp.where(valid, 0.05 / (miss + 0.05), 0.0)  # about three degrees
    return rotation


def _rotation_of_moment(moment: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """The rotation R with the largest trace(R' moment), by the top eigenvector of a quaternion."""
    skew = moment - moment.T
    axis = jnp.stack([skew[2, 1], skew[0, 2], skew[1, 0]])
    trace = jnp.trace(moment)
    eye = jnp.eye(3, dtype=moment.dtype)
    lower = jnp.concatenate([axis[:, None], moment + moment.T - trace * eye], axis=1)
    upper = jnp.concatenate([trace[None], axis])
    quaternion = jnp.linalg.eigh(jnp.concatenate([upper[None], lower]))[1][:, -1]
    w, v = quaternion[0], quaternion[1:]
    return (w**2 - v @ v) * eye + 2.0 * (jnp.outer(v, v) + w * _cross_matrix(v))


def _moved(pose, step: Float[Array, "5"]):
    """The pose after a small turn (three numbers) and a small tilt of the translation (two)."""
    rotation, translation = pose
    # Two directions across the translation, from the axis that it is farthest from.
    far = jax.nn.one_hot(jnp.argmin(jnp.abs(translation)), 3, dtype=translation.dtype)
    first = _unit(jnp.cross(translation, far))
    second = jnp.cross(translation, first)
    tilted = _unit(translation + step[3] * first + step[4] * second)
    return _rotation(step[:3]) @ rotation, tilted


def _normal_equations(error, pose, rays0, rays1, weigh):
    """Returns J'WJ [5 5], J'Wr [5 1] and the residuals [k] of the Sampson error at a pose."""

    def residual_after(step):
        return error(*_moved(pose, step), rays0, rays1)

    residual, move = jax.linearize(residual_after, jnp.zeros(5, rays0.dtype))
    jacobian = jax.vmap(move)(jnp.eye(5, dtype=rays0.dtype))  # [5 k]
    weighted = jacobian * weigh(residual)[None]
    return weighted @ jacobian.T, (weighted @ residual)[:, None], residual


def _gauss_newton(error, pose, rays0, rays1, weigh, steps: int):
    """Iteratively reweighted Gauss-Newton, a little damped, on all matches."""

    def step(_, pose):
        normal, gradient, _ = _normal_equations(error, pose, rays0, rays1, weigh)
        damped = normal + 1e-4 * jnp.diag(jnp.diagonal(normal))
        return _moved(pose, jnp.clip(-solve_positive(damped, gradient)[:, 0], -0.3, 0.3))

    return jax.lax.fori_loop(0, steps, step, pose)


def _levenberg_marquardt(error, pose, rays0, rays1, steps: int = 12):
    """Solves one minimal sample from one start. Keeps the better of each step and its origin."""

    def step(_, carry):
        pose, damping = carry
        normal, gradient, residual = _normal_equations(error, pose, rays0, rays1, jnp.ones_like)
        damped = normal + damping * jnp.diag(jnp.diagonal(normal))
        moved = _moved(pose, jnp.clip(-solve_positive(damped, gradient)[:, 0], -0.5, 0.5))
        better = jnp.sum(error(*moved, rays0, rays1) ** 2) < jnp.sum(residual**2)
        pose = jax.tree.map(lambda new, old: jnp.where(better, new, old), moved, pose)
        return pose, jnp.where(better, damping * 0.1, damping * 8.0)

    return jax.lax.fori_loop(0, steps, step, (pose, jnp.asarray(1e-2, rays0.dtype)))[0]


def _cheirality(pose, rays0, rays1, close):
    """Of the four poses of one essential matrix, the one that sees the most inliers in front."""
    rotation, translation = pose
    half_turn = 2.0 * jnp.outer(translation, translation) - jnp.eye(3, dtype=rays0.dtype)
    rotations = jnp.stack([rotation, rotation, half_turn @ rotation, half_turn @ rotation])
    translations = jnp.stack([translation, -translation, translation, -translation])
    depth0, depth1 = jax.vmap(lambda r, t: _depths(r, t, rays0, rays1))(rotations, translations)
    in_front = (depth0 > 0) & (depth1 > 0)  # [4 k]
    best = jnp.argmax(jnp.sum(in_front & close[None], axis=1))
    return rotations[best], translations[best], in_front[best]


def _depths(rotation, translation, rays0, rays1):
    """The z-depths [k] of each match in both cameras, in units of the translation.

    From depth0 R x0 + t = depth1 x1, crossed with either ray:
    depth0 = (x1 × t)·(R x0 × x1) / |R x0 × x1|², and depth1 likewise. Negative: behind the
    camera. Parallel rays (no parallax, no translation) give 0, never NaN.
    """
    turned = rays0 @ rotation.T
    normal = jnp.cross(turned, rays1)
    baseline = jnp.broadcast_to(translation, turned.shape)
    square = jnp.sum(normal**2, axis=1)
    scale = jnp.where(square > 0, 1.0 / jnp.where(square > 0, square, 1.0), 0.0)
    depth0 = jnp.sum(jnp.cross(rays1, baseline) * normal, axis=1) * scale
    depth1 = jnp.sum(jnp.cross(turned, baseline) * normal, axis=1) * scale
    return depth0, depth1


def _cross_matrix(v: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """[v]x, so that [v]x u = v × u."""
    zero = jnp.zeros_like(v[0])
    return jnp.stack([zero, -v[2], v[1], v[2], zero, -v[0], -v[1], v[0], zero]).reshape(3, 3)


def _rotation(turn: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """A rotation about `turn` by 2 atan(|turn| / 2) (Cayley's map): its length where small."""
    half = turn / 2.0
    cross = _cross_matrix(half)
    return jnp.eye(3, dtype=turn.dtype) + 2.0 / (1.0 + half @ half) * (cross + cross @ cross)


def _unit(v: Float[Array, "*n 3"]) -> Float[Array, "*n 3"]:
    return v * jax.lax.rsqrt(jnp.sum(v**2, axis=-1, keepdims=True) + _TINY)
