"""Whether matches agree with their neighbours: right ones keep together, wrong ones scatter."""

import jax.numpy as jnp
from jaxtyping import Float, Int

from astr_jax.ops.grids import cell_xy
from pallas_kernels.arrays import Array

NEAR = 2.5  # cells: the partners of neighbouring cells lie within it, up to a scale of two


def agreement(
    cell0: Int[Array, " k"],
    cell1: Int[Array, " k"],
    weight: Float[Array, " k"],
    *,
    grid0: tuple[int, int],
    width1: int,
) -> Float[Array, " k"]:
    """How much of the four neighbours of each match keeps together with it: the mean of their
    weights, where their partners lie within NEAR of its own. For ONE pair.

    cell0, cell1: coarse cells, each of image 0 at most once, -1 for none. weight: of each match; 0
    on padding. grid0: (height, width) of the cells of image 0; width1: cells in a row of image 1.
    """
    height, width = grid0
    place = jnp.where(cell0 >= 0, cell0, height * width)
    partners = cell_xy(cell1, width1).astype(jnp.float32)
    where = jnp.zeros((height * width, 2)).at[place].set(partners, mode="drop")
    weights = jnp.zeros(height * width).at[place].set(weight, mode="drop")
    where, weights = where.reshape(height, width, 2), weights.reshape(height, width)
    where = jnp.pad(where, ((1, 1), (1, 1), (0, 0)))
    weights = jnp.pad(weights, 1)
    total = jnp.zeros((height, width))
    for y, x in ((0, 1), (2, 1), (1, 0), (1, 2)):
        beside = where[y : y + height, x : x + width], weights[y : y + height, x : x + width]
        away = ((beside[0] - where[1:-1, 1:-1]) ** 2).sum(axis=-1)
        total += jnp.where(away <= NEAR**2, beside[1], 0.0) / 4
    found = total.reshape(-1)[jnp.minimum(place, height * width - 1)]
    return jnp.where(cell0 >= 0, found, 0.0)
