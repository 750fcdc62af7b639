"""The losses on P: of the final features and of every spot-guided block (docs/paper.md §8)."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from astr_jax.losses import flow_loss, focal_loss, place_loss, wrong_match_loss
from astr_jax.ops.grids import COARSE_STRIDE, cell_centres, cells_around
from astr_jax.ops.matching import EMPTY, log_prob_at, log_share_at
from astr_jax.ops.neighbourhoods import log_confidence_at
from astr_jax.ops.per_pair import per_pair
from astr_jax.supervision import GroundTruth, Truth
from astr_jax.types import CoarseMatches
from pallas_kernels.arrays import Array

WRONG = 1.5 * COARSE_STRIDE  # pixels: refinement does not mend a match that is further off


def hard_loss(matrix, truth: GroundTruth, selected: Bool[Array, "b n"]) -> Float[Array, ""]:
    """The paper's: the focal loss on the final P of the nearest cells."""
    log_prob, held = per_pair(log_prob_at)(matrix, *selected_cells(truth, selected))
    return focal_loss(log_prob, held)


def selected_cells(truth: GroundTruth, selected: Bool[Array, "b n"]) -> tuple[Array, Array]:
    """The pairs of cells that supervise, -1 for those that do not."""
    cells = jnp.broadcast_to(jnp.arange(truth.cell1.shape[1]), truth.cell1.shape)
    return jnp.where(selected, cells, -1), jnp.where(selected, truth.cell1, -1)


def soft_losses(
    coarse, truth: GroundTruth, mask0: Array, mask1: Array, keys: Array, share
) -> dict[str, Array]:
    """Of both softmaxes of the final P: the focal loss on what they give to the up to four cells
    about the true point, together ("coarse"), and how they divide it among these ("place")."""

    def one_way(matrix, points, visible, mask, key):
        cells, weight = cells_around(points, mask, COARSE_STRIDE)
        used = share(key, visible & matrix.mask0 & (weight.sum(axis=-1) > 0))
        query = jnp.where(used, jnp.arange(len(used)), -1)
        log_shares = jax.lax.map(lambda key: log_share_at(matrix, query, key), cells.T).T
        return log_shares, weight, used

    def both_ways(matrix, truth, mask0, mask1, key):
        keys = jax.random.split(key)
        there = one_way(matrix, truth.points1, truth.visible, mask1, keys[0])
        back = one_way(matrix.transposed(), truth.points0, truth.back_visible, mask0, keys[1])
        return there, back

    losses = {"coarse": 0.0, "place": 0.0}
    for log_shares, weight, used in per_pair(both_ways)(coarse.matrix, truth, mask0, mask1, keys):
        mass = jax.nn.logsumexp(jnp.where(weight > 0, log_shares, EMPTY), axis=-1)
        losses["coarse"] += focal_loss(mass, used)
        losses["place"] += place_loss(log_shares, weight, used) / 2
    return losses


def spot_losses(coarse, truth: GroundTruth, selected: Bool[Array, "b n"]) -> dict[str, Array]:
    """The focal losses on the P of every spot-guided block, and the spot recalls."""
    cell0, cell1 = selected_cells(truth, selected)
    at = per_pair(log_prob_at)
    losses, blocks, wanted = {}, [], jnp.maximum(selected.sum(), 1)
    for number, (forward, backward) in enumerate(coarse.spot_matrices, start=1):
        log_prob, held = at(forward, cell0, cell1)
        loss = focal_loss(log_prob, held)
        if backward is not None:
            losses[f"spot_recall{number}"] = held.sum() / wanted
            log_prob, held = at(backward, cell1, cell0)
            loss = (loss + focal_loss(log_prob, held)) / 2
        blocks.append(loss)
    return losses | ({"spot": sum(blocks) / len(blocks)} if blocks else {})


def flow_losses(coarse, truth: GroundTruth) -> dict[str, Array]:
    """The likelihoods of the true places under every block's flows, both ways, in cells; the
    median error of each block's flow in pixels, the share of its errors within one sigma, and the
    share of the true pairs among those that the block looks at."""
    losses, blocks = {}, []
    sides = (truth.points1, truth.visible), (truth.points0, truth.back_visible)
    for number, flows in enumerate(coarse.flows, start=1):
        both = []
        for flow, (true, seen), mask in zip(
            flows, sides, (coarse.mask0, coarse.mask1), strict=True
        ):
            log_variance = flow.log_variance - 2 * math.log(COARSE_STRIDE)
            in_cells = flow.points / COARSE_STRIDE, log_variance, true / COARSE_STRIDE
            both.append(flow_loss(*in_cells, seen & mask))
        blocks.append(sum(both) / 2)
        error, seen = jnp.abs(flows[0].points - truth.points1), truth.visible
        within = (error < flows[0].sigma) & seen[..., None]
        losses[f"flow_in_sigma{number}"] = within.sum() / jnp.maximum(2 * seen.sum(), 1)
        distance = jnp.where(seen, jnp.linalg.norm(error, axis=-1), jnp.nan)
        losses[f"flow_px{number}"] = jnp.nanmedian(distance)
        true, cell1 = truth.cell1 >= 0, jnp.maximum(truth.cell1, 0)
        cell0 = jnp.broadcast_to(jnp.arange(cell1.shape[1]), cell1.shape)
        look = coarse.spots[number - 1][0]
        held = per_pair(lambda look, i, j: look.holds(i, j))(look, cell0, cell1) & true
        losses[f"look_recall{number}"] = held.sum() / jnp.maximum(true.sum(), 1)
    return losses | ({"flow": sum(blocks) / len(blocks)} if blocks else {})


def wrong_part(coarse, matches: CoarseMatches, truth: Truth, grids, reach: int) -> Array:
    """The loss on the confidence of the mutual matches that are surely wrong."""

    def of_pair(matrix, matches, truth):
        points0, points1 = (
            cell_centres(cells, grid[1], COARSE_STRIDE)
            for cells, grid in zip((matches.cell0, matches.cell1), grids, strict=True)
        )
        wrong = matches.valid & truth.refutes(points0, points1, WRONG)
        cells = matches.cell0, matches.cell1
        return log_confidence_at(matrix, *cells, *grids, reach=reach), wrong

    log_confidence, wrong = per_pair(of_pair)(coarse.matrix, matches, truth)
    return wrong_match_loss(log_confidence, wrong, matches.valid.sum())
