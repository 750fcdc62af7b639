"""The losses and scores of a batch of pairs (docs/paper.md §8)."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, PyTree

from astr_jax.model.astr import coarse_matches
from astr_jax.models.kinds import network
from astr_jax.ops.grids import COARSE_STRIDE, cell_centres
from astr_jax.ops.per_pair import per_pair
from astr_jax.supervision import GroundTruth, PairBatch, Truth
from astr_jax.supervision.sampling import random_share
from astr_jax.training.coarse_losses import (
    flow_losses,
    hard_loss,
    soft_losses,
    spot_losses,
    wrong_part,
)
from astr_jax.training.fine_losses import fine_part
from astr_jax.types import CoarseMatches, Features
from pallas_kernels.arrays import Array


def loss_and_scores(params, batch_stats, batch, keys, model_config, config, *, fine, train):
    """The whole loss of a batch; also its parts, scores, and the new batch statistics."""
    model = network(model_config)
    variables = {"params": params, "batch_stats": batch_stats}
    f0, f1, batch_stats = encode_both(model, variables, batch, train=train)
    truth = jax.lax.stop_gradient(within_masks(ground_truth(batch.truth), f0, f1))
    coarse = model.apply(variables, f0, f1, method="coarse")
    share = config.coarse_share if batch.truth.DENSE else 1.0  # what is rare all counts
    share = functools.partial(random_share, share=share)
    selected = per_pair(share)(keys["coarse"], truth.cell1 >= 0)
    parts = spot_losses(coarse, truth, selected) | flow_losses(coarse, truth)
    if config.soft_labels:
        parts |= soft_losses(coarse, truth, f0.mask8, f1.mask8, keys["coarse"], share)
    else:
        parts["coarse"] = hard_loss(coarse.matrix, truth, selected)
    n = truth.cell1.shape[1]
    matches = jax.lax.stop_gradient(coarse_matches(coarse, f0.mask8, f1.mask8, model_config, n))
    parts |= coarse_scores(matches, truth, f1.mask8.shape[2])
    loss = parts["coarse"]
    for part, weight in (("spot", config.spot_weight), ("flow", config.flow_weight)):
        loss = loss + weight * parts[part] if part in parts else loss
    loss += config.place_weight * parts.get("place", 0.0)
    if config.wrong_weight:
        grids = f0.mask8.shape[1:], f1.mask8.shape[1:]
        reach = model_config.matching.reach
        parts["wrong"] = wrong_part(coarse, matches, batch.truth, grids, reach)
        loss += config.wrong_weight * parts["wrong"]
    if fine:
        predicted = per_pair(lambda i, j: jnp.full(n + 1, -1).at[i].set(j)[:n])(
            matches.cell0, matches.cell1
        )
        given = (f0, f1), coarse, predicted, truth, batch.truth, keys, config
        parts |= fine_part(model, variables, *given)
        loss += config.fine_weight * parts["fine"]
    return loss, (parts | {"loss": loss}, batch_stats)


def encode_both(
    model: nn.Module, variables: PyTree, batch: PairBatch, *, train: bool
) -> tuple[Features, Features, PyTree]:
    """Features of both images by one backbone pass, so that batch norm sees them together; and the
    batch statistics, updated if `train`."""
    images = interleaved(batch.image0, batch.image1)[..., None].astype(jnp.float32) / 255
    mask = interleaved(*batch.masks)
    features, updates = model.apply(
        variables, images, mask, train=train, method="encode", mutable=["batch_stats"]
    )
    of_image0, of_image1 = (
        jax.tree.map(lambda x, k=k: x.reshape(-1, 2, *x.shape[1:])[:, k], features) for k in (0, 1)
    )
    batch_stats = updates["batch_stats"] if train else variables["batch_stats"]
    return of_image0, of_image1, batch_stats


def interleaved(x0: Array, x1: Array) -> Array:
    """[b ...] twice -> [2b ...], a pair's images side by side: on the device that has the pair."""
    return jnp.stack([x0, x1], axis=1).reshape(-1, *x0.shape[1:])


def ground_truth(truth: Truth) -> GroundTruth:
    """Of every pair of a batch, each on the device that has it."""
    return per_pair(lambda truth: truth.ground_truth())(truth)


def within_masks(truth: GroundTruth, f0: Features, f1: Features) -> GroundTruth:
    """Drops ground truth whose cells lie outside the masks."""
    b = truth.cell1.shape[0]
    mask0, mask1 = f0.mask8.reshape(b, -1), f1.mask8.reshape(b, -1)
    seen = mask0 & jnp.take_along_axis(mask1, jnp.maximum(truth.cell1, 0), axis=1)
    return truth.replace(cell1=jnp.where(seen, truth.cell1, -1), visible=truth.visible & mask0)


def right_matches(matches: CoarseMatches, truth: GroundTruth, width1: int) -> Bool[Array, "b k"]:
    """Which matches have their cell within one cell of the true place."""
    at = jnp.maximum(matches.cell0, 0)
    centres1 = cell_centres(matches.cell1, width1, COARSE_STRIDE)
    points1 = jnp.take_along_axis(truth.points1, at[..., None], axis=1)
    off = jnp.abs(points1 - centres1).max(axis=-1)
    return matches.valid & jnp.take_along_axis(truth.visible, at, axis=1) & (off < COARSE_STRIDE)


def coarse_scores(
    matches: CoarseMatches, truth: GroundTruth, width1: int
) -> dict[str, Float[Array, ""]]:
    """How the mutual matches compare with the truth, per batch: precision (of the matches of which
    it can be told, the share whose cell lies within one cell of the true place), recall (share of
    the cells that both images see which have such a match) and matches (mean number a pair)."""
    right = right_matches(matches, truth, width1)
    count, possible = matches.valid.sum(), truth.visible.sum()
    known = jnp.take_along_axis(truth.known, jnp.maximum(matches.cell0, 0), axis=1)
    return {
        "precision": right.sum() / jnp.maximum((matches.valid & known).sum(), 1),
        "recall": right.sum() / jnp.maximum(possible, 1),
        "matches": count / matches.valid.shape[0],
    }
