"""How sure a match is, whatever the phase of the grid (docs/paper.md §5).

Where the true displacement lies between cells, P splits over up to four of them, and no single one
is sure. So a match counts with its surroundings: what the row softmax gives to the cells about its
cell of image 1, and what the column softmax gives to the cells about its cell of image 0. For ONE
pair. Grids are (height, width), cells their indices, -1 for none.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from astr_jax.ops.grids import cell_xy
from astr_jax.ops.matching import BestMatches, DualSoftmax, log_prob_at, log_share_at
from pallas_kernels.arrays import Array

Grid = tuple[int, int]


def mutual_neighbours(
    best0: BestMatches, best1: BestMatches, grid0: Grid, *, reach: int
) -> Int[Array, " n"]:
    """For each cell of image 0 its best cell of image 1, whose own best cell lies within `reach`
    cells of it; -1 where there is none. A reach of 0: strictly mutual."""
    back = best1.cell[jnp.maximum(best0.cell, 0)]
    away = cell_xy(back, grid0[1]) - cell_xy(jnp.arange(back.shape[0]), grid0[1])
    mutual = (best0.cell >= 0) & (back >= 0) & (jnp.abs(away).max(axis=-1) <= reach)
    return jnp.where(mutual, best0.cell, -1)


def log_confidence_at(
    matrix: DualSoftmax,
    cell0: Int[Array, " k"],
    cell1: Int[Array, " k"],
    grid0: Grid,
    grid1: Grid,
    *,
    reach: int,
) -> Float[Array, " k"]:
    """log sqrt(row mass x column mass) of each match: of the softmax over image 1 within `reach` of
    cell1, and of the softmax over image 0 within `reach` of cell0. EMPTY for no cell.

    For a reach of 0 it is log P, the paper's confidence. Differentiable.
    """
    if reach == 0:
        return jnp.minimum(log_prob_at(matrix, cell0, cell1)[0], 0.0)
    row = _log_mass(matrix, cell0, cell1, grid1, reach)
    column = _log_mass(matrix.transposed(), cell1, cell0, grid0, reach)
    return jnp.minimum((row + column) / 2, 0.0)  # rounding may lead above


def _log_mass(
    matrix: DualSoftmax, query: Int[Array, " k"], key: Int[Array, " k"], grid: Grid, reach: int
) -> Float[Array, " k"]:
    """log of what the softmax of each query gives to the keys within reach of one, together."""

    def share(move):
        return log_share_at(matrix, query, _moved(key, move, grid))

    return jax.nn.logsumexp(jax.lax.map(share, _moves(reach)), axis=0)


def _moves(reach: int) -> Int[Array, "s 2"]:
    """(x, y) of all cells within reach of one."""
    line = jnp.arange(-reach, reach + 1)
    y, x = jnp.meshgrid(line, line, indexing="ij")
    return jnp.stack([x, y], axis=-1).reshape(-1, 2)


def _moved(cells: Int[Array, " k"], move: Int[Array, " 2"], grid: Grid) -> Int[Array, " k"]:
    """The cells so many columns and rows further; -1 beyond the grid, and for no cell."""
    height, width = grid
    x, y = cells % width + move[0], cells // width + move[1]
    inside = (cells >= 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return jnp.where(inside, y * width + x, -1)
