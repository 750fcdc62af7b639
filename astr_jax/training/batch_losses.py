"""The losses and scores of a batch of pairs (docs/paper.md §8)."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, PyTree

from astr_jax.losses import fine_loss, focal_loss, wrong_match_loss
from astr_jax.model.astr import ASTR, coarse_matches
from astr_jax.ops.grids import COARSE_STRIDE, cell_centres
from astr_jax.ops.matching import log_prob_at
from astr_jax.ops.per_pair import per_pair
from astr_jax.supervision import GroundTruth, PairBatch, Truth
from astr_jax.supervision.sampling import random_share, sample_fine
from astr_jax.training.experiment import TrainConfig
from astr_jax.types import CoarseMatches, Features
from pallas_kernels.arrays import Array


def loss_and_scores(params, batch_stats, batch, keys, model_config, config, *, fine, train):
    """The whole loss of a batch; also its parts, scores, and the new batch statistics."""
    model = ASTR(model_config)
    variables = {"params": params, "batch_stats": batch_stats}
    f0, f1, batch_stats = encode_both(model, variables, batch, train=train)
    truth = jax.lax.stop_gradient(within_masks(ground_truth(batch.truth), f0, f1))
    coarse = model.apply(variables, f0, f1, method="coarse")
    share = functools.partial(random_share, share=config.coarse_share)
    selected = per_pair(share)(keys["coarse"], truth.cell1 >= 0)
    parts = matching_losses(coarse, truth, selected)
    n = truth.cell1.shape[1]
    matches = jax.lax.stop_gradient(coarse_matches(coarse, f0.mask8, f1.mask8, model_config, n))
    parts |= coarse_scores(matches, truth, f1.mask8.shape[2])
    loss = parts["coarse"] + config.spot_weight * parts["spot"]
    if config.wrong_weight and batch.truth.complete:  # else what lies in the holes of the truth?
        parts["wrong"] = wrong_part(coarse, matches, truth, f1.mask8.shape[2])
        loss += config.wrong_weight * parts["wrong"]
    if fine:
        predicted = per_pair(lambda i, j: jnp.full(n + 1, -1).at[i].set(j)[:n])(
            matches.cell0, matches.cell1
        )
        parts["fine"], parts["fine_px"] = fine_part(
            model, variables, (f0, f1), coarse, predicted, truth, keys, config
        )
        loss += config.fine_weight * parts["fine"]
    return loss, (parts | {"loss": loss}, batch_stats)


def encode_both(
    model: ASTR, variables: PyTree, batch: PairBatch, *, train: bool
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


def matching_losses(coarse, truth: GroundTruth, selected) -> dict[str, Array]:
    """The focal losses on the final P and on the P of every spot-guided block."""
    cells = jnp.broadcast_to(jnp.arange(truth.cell1.shape[1]), truth.cell1.shape)
    cell0, cell1 = jnp.where(selected, cells, -1), jnp.where(selected, truth.cell1, -1)
    at = per_pair(log_prob_at)
    log_prob, held = at(coarse.matrix, cell0, cell1)
    losses = {"coarse": focal_loss(log_prob, held)}
    blocks, wanted = [], jnp.maximum(selected.sum(), 1)
    for number, (forward, backward) in enumerate(coarse.spot_matrices, start=1):
        log_prob, held = at(forward, cell0, cell1)
        loss = focal_loss(log_prob, held)
        if backward is not None:
            losses[f"spot_recall{number}"] = held.sum() / wanted
            log_prob, held = at(backward, cell1, cell0)
            loss = (loss + focal_loss(log_prob, held)) / 2
        blocks.append(loss)
    losses["spot"] = sum(blocks) / len(blocks)
    return losses


def fine_part(
    model, variables, features, coarse, predicted, truth: GroundTruth, keys, config: TrainConfig
):
    """Samples coarse pairs, refines them, and returns the loss and the median error in pixels."""
    f0, f1 = features
    n, m = truth.cell1.shape[1], coarse.mask1.shape[1]
    capacity = max(1, round(config.fine_share * min(n, m)))
    room = jnp.minimum(coarse.mask0.sum(axis=1), coarse.mask1.sum(axis=1))

    def sample(key, true, found, limit):
        return sample_fine(key, true, found, capacity=capacity, limit=limit)

    cell0, cell1 = per_pair(sample)(
        keys["fine"],
        truth.cell1,
        predicted,
        (config.fine_share * room).astype(jnp.int32),
    )
    at = jnp.maximum(cell0, 0)
    jitter = per_pair(lambda key: jax.random.normal(key, (capacity,)))(keys["ratio"])
    ratio = jnp.take_along_axis(truth.ratio, at, axis=1) * jnp.exp(config.ratio_jitter * jitter)
    matches = CoarseMatches(cell0, cell1, jnp.zeros(cell0.shape), cell0 >= 0)
    out = model.apply(variables, f0, f1, *coarse.maps, matches, ratio, method="fine")
    points1 = jnp.take_along_axis(truth.points1, at[..., None], axis=1)
    seen = matches.valid & jnp.take_along_axis(truth.visible, at, axis=1)
    true_delta = (points1 - out.centres1) / out.reach[..., None]
    deviation = out.sigma / out.reach if config.fine_uncertainty else jnp.ones_like(out.sigma)
    loss = fine_loss(out.delta, true_delta, deviation, seen)
    error = jnp.linalg.norm(out.points1 - points1, axis=-1)
    inside = seen & (jnp.abs(true_delta).max(axis=-1) < 1)
    return loss, jnp.nanmedian(jnp.where(inside, error, jnp.nan))


def right_matches(matches: CoarseMatches, truth: GroundTruth, width1: int) -> Bool[Array, "b k"]:
    """Which matches have their cell within one cell of the true place."""
    at = jnp.maximum(matches.cell0, 0)
    centres1 = cell_centres(matches.cell1, width1, COARSE_STRIDE)
    points1 = jnp.take_along_axis(truth.points1, at[..., None], axis=1)
    off = jnp.abs(points1 - centres1).max(axis=-1)
    return matches.valid & jnp.take_along_axis(truth.visible, at, axis=1) & (off < COARSE_STRIDE)


def wrong_part(coarse, matches: CoarseMatches, truth: GroundTruth, width1: int) -> Float[Array, ""]:
    """The loss on the final P of the mutual matches that are wrong."""
    wrong = matches.valid & ~right_matches(matches, truth, width1)
    log_prob, held = per_pair(log_prob_at)(coarse.matrix, matches.cell0, matches.cell1)
    return wrong_match_loss(log_prob, wrong & held, matches.valid.sum())


def coarse_scores(
    matches: CoarseMatches, truth: GroundTruth, width1: int
) -> dict[str, Float[Array, ""]]:
    """How the mutual matches compare with the truth, per batch: precision (share of the matches
    whose cell lies within one cell of the true place), recall (share of the true pairs of cells
    that were found) and matches (mean number a pair)."""
    at = jnp.maximum(matches.cell0, 0)
    exact = matches.valid & (matches.cell1 == jnp.take_along_axis(truth.cell1, at, axis=1))
    right = right_matches(matches, truth, width1)
    count, possible = matches.valid.sum(), (truth.cell1 >= 0).sum()
    return {
        "precision": right.sum() / jnp.maximum(count, 1),
        "recall": exact.sum() / jnp.maximum(possible, 1),
        "matches": count / matches.valid.shape[0],
    }
