"""Points of one image carried to another by the matches of the pair.

Each point goes by the affine map of the matches about it, from the nearest of them. Then
least-squares matching lays its surroundings upon each other.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.ops.least_squares_matching import fit_smoothed, levels_of
from astr_jax.ops.local_affine import MatchGrid, is_mild, local_affine
from pallas_kernels.arrays import Array

NEAR = 1.25 * COARSE_STRIDE  # working pixels: from a point to the match that carries it, at most


@functools.partial(jax.jit, static_argnames="grid")
def carry(
    points0: Float[Array, "k 2"],
    points1: Float[Array, "k 2"],
    valid: Bool[Array, " k"],
    seeds: Float[Array, "s 2"],
    *,
    grid: tuple[int, int],
) -> tuple[Float[Array, "s 2"], Float[Array, "s 2 2"], Bool[Array, " s"]]:
    """Where seeds of image 0 lie in image 1, the affine map about each, and which are known.

    points0, points1: the matches; all in working pixels. grid: (h, w) of the coarse cells.
    """
    matches = MatchGrid.of(points0, valid, grid=grid, cell=COARSE_STRIDE)
    affine, known = local_affine(points0, points1, valid, matches)
    known &= valid & is_mild(affine)
    rows, near = matches.about(seeds)
    near &= known[rows]
    away = sum((p[rows] - s[None]) ** 2 for p, s in zip(points0.T, seeds.T, strict=True))
    away = jnp.where(near, away, jnp.inf)
    nearest = jnp.argmin(away, axis=0)
    row = jnp.take_along_axis(rows, nearest[None], axis=0)[0]
    carried = points1[row] + jnp.einsum("sij,sj->si", affine[row], seeds - points0[row])
    return carried, affine[row], away.min(axis=0) < NEAR**2


smooth, settle = jax.jit(levels_of), jax.jit(fit_smoothed)


def filled(x: np.ndarray, room: int) -> np.ndarray:
    """x with zeros (False) behind it, `room` rows."""
    return np.concatenate([x, np.zeros((room - len(x), *x.shape[1:]), x.dtype)])
