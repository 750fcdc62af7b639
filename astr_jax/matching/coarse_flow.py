"""The flow that a coarse output tells: its own, or that of its matches."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from astr_jax.matching import stages
from astr_jax.model.fine import padded_cells
from astr_jax.ops.grids import COARSE_STRIDE, nearest_cells
from astr_jax.ops.per_pair import per_pair
from astr_jax.params import Params
from astr_jax.types import CoarseMatches, CoarseOutput, Features
from pallas_kernels.arrays import Array


def coarse_flow(
    params: Params,
    coarse: CoarseOutput,
    features0: Features,
    features1: Features,
    *,
    threshold: float | Float[Array, ""],
) -> tuple[CoarseMatches, Float[Array, "b n 2"], Float[Array, "b n 2"], Bool[Array, "b n"]]:
    """Where each cell of image 0 lies: the cells as matches, to be refined; points of image 1,
    their standard deviations, and which are known. By the last flow that the model regresses, or
    by the coarse matches where it regresses none."""
    grid1 = features1.mask8.shape[1:]
    if not coarse.flows:
        cells = stages.pick(params, coarse, features0, features1, threshold=threshold)
        _, points1 = stages.centres(cells, features0, features1)
        row = jnp.where(cells.valid, cells.cell0, coarse.mask0.shape[1])  # beyond: dropped
        points1, known = per_pair(_at_rows)(row, points1)
        return cells, points1, jnp.full(points1.shape, stages.CELL_SIGMA), known
    flow = coarse.flows[-1].forward
    cell1 = per_pair(lambda points: nearest_cells(points, grid1, COARSE_STRIDE))(flow.points)
    sure = jnp.where(coarse.mask0 & (cell1 >= 0), 1 / (1 + flow.sigma.mean(axis=-1)), 0.0)
    return padded_cells(cell1, sure, sure.shape[1]), flow.points, flow.sigma, coarse.mask0


def _at_rows(row, points: Float[Array, "n 2"]):
    """Points by their rows; and which rows have one."""
    known = jnp.zeros(len(row), bool).at[row].set(True, mode="drop")
    return jnp.zeros_like(points).at[row].set(points, mode="drop"), known
