"""One step of training: the loss of a batch, its gradient, and the update (spec section 8)."""

import functools

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from astr_jax.config import ModelConfig
from astr_jax.losses import fine_loss, focal_loss, wrong_match_loss
from astr_jax.model.astr import ASTR, coarse_matches
from astr_jax.ops.grids import COARSE_STRIDE, cell_centres
from astr_jax.ops.matching import log_prob_at
from astr_jax.ops.per_pair import per_pair
from astr_jax.supervision import (
    GroundTruth,
    depth_ground_truth,
    homography_ground_truth,
    random_share,
    sample_fine,
)
from astr_jax.training.experiment import TrainConfig
from astr_jax.types import CoarseMatches, Features


@flax.struct.dataclass
class TrainState:
    """All that a checkpoint must hold for a run to go on as if never stopped."""

    step: Int[Array, ""]
    params: PyTree
    batch_stats: PyTree
    opt_state: optax.OptState
    ema: PyTree  # running mean of params


def keys_for_step(seed: int, step: Int[Array, ""], pairs: int) -> dict[str, Array]:
    """One key per use and pair, by name. The run's root key is never advanced, only folded with
    the step: step 1000 draws the same numbers after a restart."""
    names = ("coarse", "fine", "ratio")
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), step), (len(names), pairs))
    return dict(zip(names, keys, strict=True))


def encode_both(model, variables, batch, *, train: bool):
    """Features of both images by one backbone pass, so that batch norm sees them together."""
    images = interleaved(batch["image0"], batch["image1"])[..., None].astype(jnp.float32) / 255
    mask = jnp.ones(images.shape[:3], bool)
    if "mask0" in batch:
        mask = interleaved(batch["mask0"], batch["mask1"])
    features, updates = model.apply(
        variables,
        images,
        mask,
        long_sides(mask),
        train=train,
        method="encode",
        mutable=["batch_stats"],
    )
    of_image0, of_image1 = (
        jax.tree.map(lambda x, k=k: x.reshape(-1, 2, *x.shape[1:])[:, k], features) for k in (0, 1)
    )
    batch_stats = updates["batch_stats"] if train else variables["batch_stats"]
    return of_image0, of_image1, batch_stats


def interleaved(x0: Array, x1: Array) -> Array:
    """[b ...] twice -> [2b ...], a pair's images side by side: on the device that has the pair."""
    return jnp.stack([x0, x1], axis=1).reshape(-1, *x0.shape[1:])


def long_sides(mask: Bool[Array, "b h w"]) -> Float[Array, " b"]:
    """The long side of each image within its padding, pixels: up to the last row or column with a
    usable pixel (spec section 2). An image without one counts whole."""
    ends = [
        jnp.max(jnp.where(mask.any(axis=other), jnp.arange(1, mask.shape[axis] + 1)[None], 0), 1)
        for axis, other in ((1, 2), (2, 1))
    ]
    side = jnp.maximum(*ends)
    return jnp.where(side > 0, side, max(mask.shape[1:])).astype(jnp.float32)


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
    out = model.apply(variables, f0, f1, coarse, matches, ratio, method="fine")
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


def loss_and_scores(params, batch_stats, batch, keys, model_config, config, *, fine, train):
    """The whole loss of a batch; also its parts, scores, and the new batch statistics."""
    model = ASTR(model_config)
    variables = {"params": params, "batch_stats": batch_stats}
    f0, f1, batch_stats = encode_both(model, variables, batch, train=train)
    truth = jax.lax.stop_gradient(within_masks(ground_truth(batch), f0, f1))
    coarse = model.apply(variables, f0, f1, method="coarse")
    share = functools.partial(random_share, share=config.coarse_share)
    selected = per_pair(share)(keys["coarse"], truth.cell1 >= 0)
    parts = matching_losses(coarse, truth, selected)
    n = truth.cell1.shape[1]
    matches = jax.lax.stop_gradient(coarse_matches(coarse, f0.mask8, f1.mask8, model_config, n))
    parts |= coarse_scores(matches, truth, f1.mask8.shape[2])
    loss = parts["coarse"] + config.spot_weight * parts["spot"]
    if config.wrong_weight and "H_0to1" in batch:  # measured depth has holes: what is in them?
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


def ground_truth(batch) -> GroundTruth:
    """By the homography of each pair, or by depth, intrinsics and pose."""
    if "H_0to1" in batch:
        given = (batch[name] for name in ("H_0to1", "visible0", "visible1"))
        return per_pair(homography_ground_truth)(*given)
    names = ("depth0", "depth1", "K0", "K1", "T_0to1")
    if "depth_tolerance" in batch:
        names += ("depth_tolerance",)
    return per_pair(depth_ground_truth)(*(batch[name] for name in names))


def within_masks(truth: GroundTruth, f0: Features, f1: Features) -> GroundTruth:
    """Drops ground truth whose cells lie outside the masks."""
    b = truth.cell1.shape[0]
    mask0, mask1 = f0.mask8.reshape(b, -1), f1.mask8.reshape(b, -1)
    seen = mask0 & jnp.take_along_axis(mask1, jnp.maximum(truth.cell1, 0), axis=1)
    return truth.replace(cell1=jnp.where(seen, truth.cell1, -1), visible=truth.visible & mask0)


def make_schedule(config: TrainConfig, total_pairs: int, pairs_before) -> optax.Schedule:
    """The learning rate of a step: a linear warm-up, then a cosine, or halvings at given pairs.

    A run that goes on from weights alone, at start_pairs, warms up again, as its optimiser starts
    anew. pairs_before(step): the pairs that the run sees before it.
    """
    peak, warmup = config.learning_rate, max(1, config.warmup_pairs)
    first = config.warmup_from * peak
    if config.halve_at:
        halvings = {pairs - warmup: 0.5 for pairs in config.halve_at}
        stages = [
            optax.linear_schedule(first, peak, warmup),
            optax.piecewise_constant_schedule(peak, halvings),
        ]
        by_pairs = optax.join_schedules(stages, [warmup])
    else:
        end = max(total_pairs, warmup + 1)
        least = config.least_learning_rate
        by_pairs = optax.warmup_cosine_decay_schedule(first, peak, warmup, end, least)
    if not config.start_pairs:
        return lambda step: by_pairs(pairs_before(step))
    again = optax.linear_schedule(config.warmup_from, 1.0, warmup, config.start_pairs)
    return lambda step: by_pairs(pairs_before(step)) * again(pairs_before(step))


def make_optimizer(config: TrainConfig, schedule: optax.Schedule):
    """AdamW, its gradient clipped."""

    def decayed(params):
        return jax.tree.map(lambda p: p.ndim > 1, params)  # norms and biases are left alone

    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.adamw(schedule, weight_decay=config.weight_decay, mask=decayed),
    )


def make_gradient(model_config: ModelConfig, config: TrainConfig, *, fine: bool, parts: int):
    """Returns gradient(params, batch_stats, batch, keys) -> (gradient, scores, batch_stats), the
    means over so many micro-batches, computed one after the other."""
    slope = jax.grad(
        functools.partial(
            loss_and_scores, model_config=model_config, config=config, fine=fine, train=True
        ),
        has_aux=True,
    )

    def of_one(params, batch_stats, batch, keys):
        gradient, (scores, batch_stats) = slope(params, batch_stats, batch, keys)
        return gradient, scores, batch_stats

    def of_all(params, batch_stats, batch, keys):
        def add(carry, given):
            total, batch_stats = carry
            gradient, scores, batch_stats = of_one(params, batch_stats, *given)
            return (jax.tree.map(jnp.add, total, gradient), batch_stats), scores

        def in_parts(x):  # the k-th micro-batch has pairs k, k + parts, ...: it stays where it is
            return jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0)

        zero = jax.tree.map(jnp.zeros_like, params)
        carry, scores = jax.lax.scan(
            add, (zero, batch_stats), jax.tree.map(in_parts, (batch, keys))
        )
        gradient = jax.tree.map(lambda x: x / parts, carry[0])
        # The fine error of a micro-batch without a fine match is no number; the others must be.
        means = {k: (jnp.nanmean if k == "fine_px" else jnp.mean)(v) for k, v in scores.items()}
        return gradient, means, carry[1]

    return of_one if parts == 1 else of_all


def make_train_step(
    model_config: ModelConfig, config: TrainConfig, optimizer, *, fine: bool, parts: int = 1
):
    """Returns train_step(state, batch) -> (state, scores), to be compiled once per image size.

    parts: micro-batches that the batch is computed in. A step whose loss or gradient is not finite
    leaves the state as it is, but for the step number, and says so by scores["bad"] = 1.
    """
    gradient_of = make_gradient(model_config, config, fine=fine, parts=parts)

    def train_step(state: TrainState, batch: dict) -> tuple[TrainState, dict[str, Array]]:
        keys = keys_for_step(config.seed, state.step, batch["image0"].shape[0])
        gradient, scores, batch_stats = gradient_of(state.params, state.batch_stats, batch, keys)
        norm = optax.tree.norm(gradient)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        decay = jnp.minimum(config.ema_decay, (1 + state.step) / (10 + state.step))
        ema = jax.tree.map(lambda e, p: decay * e + (1 - decay) * p, state.ema, params)
        good = jnp.isfinite(norm) & jnp.isfinite(scores["loss"])
        updated = state.replace(
            params=params, batch_stats=batch_stats, opt_state=opt_state, ema=ema
        )
        state = jax.tree.map(lambda new, old: jnp.where(good, new, old), updated, state)
        scores |= {f"gradient_norm/{part}": optax.tree.norm(g) for part, g in gradient.items()}
        scores |= {"gradient_norm": norm, "bad": 1.0 - good}
        return state.replace(step=state.step + 1), scores

    return train_step


def make_state(variables: PyTree, optimizer, first_step: int = 0) -> TrainState:
    """The state before the first step that is done."""
    params = variables["params"]
    return TrainState(
        step=jnp.int32(first_step),
        params=params,
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(params),
        ema=jax.tree.map(jnp.copy, params),
    )
