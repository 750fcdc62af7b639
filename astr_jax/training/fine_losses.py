"""The loss of the fine stage, refined in steps from estimates as wrong as coarse matches may be."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from astr_jax.losses import fine_loss, refinement_loss
from astr_jax.model.fine import in_steps
from astr_jax.ops.grids import COARSE_STRIDE, cell_centres
from astr_jax.ops.per_pair import per_pair
from astr_jax.supervision import GroundTruth, Truth
from astr_jax.supervision.sampling import sample_fine
from astr_jax.training.experiment import TrainConfig
from pallas_kernels.arrays import Array


def fine_part(
    model,
    variables,
    features,
    coarse,
    predicted,
    truth: GroundTruth,
    exact: Truth,
    keys,
    config: TrainConfig,
) -> dict[str, Array]:
    """Samples coarse pairs and refines them, a share of them from points beside the centre of their
    cell. Returns the loss ("fine"), the median error of the last step in pixels ("fine_px") and the
    share of its errors within one sigma ("in_sigma")."""
    f0, f1 = features
    n, m = truth.cell1.shape[1], coarse.mask1.shape[1]
    capacity = max(1, round(config.fine_share * min(n, m)))
    room = jnp.minimum(coarse.mask0.sum(axis=1), coarse.mask1.sum(axis=1))

    def sample(key, true, found, limit):
        return sample_fine(key, true, found, capacity=capacity, limit=limit)

    limit = (config.fine_share * room.astype(jnp.float32)).astype(jnp.int32)
    cell0, cell1 = per_pair(sample)(keys["fine"], truth.cell1, predicted, limit)
    ratio = jnp.take_along_axis(truth.ratio, jnp.maximum(cell0, 0), axis=1)
    draw = functools.partial(starting_points, config=config)
    width0, width1 = f0.mask8.shape[2], f1.mask8.shape[2]
    points0, points1, ratio = per_pair(lambda *given: draw(*given, width0=width0, width1=width1))(
        keys["ratio"], cell0, cell1, ratio, exact
    )
    true1, seen = per_pair(lambda exact, points0: exact.locate(points0))(exact, points0)
    seen &= cell0 >= 0

    def step(points1, zoom):
        given = f0, f1, *coarse.maps, points0, points1, ratio, zoom
        return model.apply(variables, *given, method="fine")

    steps = in_steps(step, points1, model.config.fine.zooms)  # [t b k ...]
    true_delta = (true1[None] - steps.centres1) / steps.reach[..., None]
    inside = seen[None] & (jnp.abs(true_delta).max(axis=-1) < 1)
    error = steps.points1 - true1[None]
    if config.fine_loss == "paper":
        deviation = jnp.sqrt(jnp.trace(steps.covariance, axis1=-2, axis2=-1) / 2) / steps.reach
        deviation = deviation if config.fine_uncertainty else jnp.ones_like(deviation)
        loss = fine_loss(steps.delta, true_delta, deviation, inside)
    else:  # in units of the reach of a crop of zoom 1, so that a step counts by what it leaves
        unit = COARSE_STRIDE / 2 * jnp.maximum(ratio, 1.0)
        scaled = steps.covariance / unit[None, ..., None, None] ** 2
        loss = refinement_loss(error / unit[None, ..., None], scaled, inside)
    last = inside[-1]
    sigma = jnp.sqrt(jnp.diagonal(steps.covariance[-1], axis1=-2, axis2=-1))
    within = (jnp.abs(error[-1]) < sigma) & last[..., None]
    distance = jnp.linalg.norm(error[-1], axis=-1)
    return {
        "fine": loss,
        "fine_px": jnp.nanmedian(jnp.where(last, distance, jnp.nan)),
        "in_sigma": within.sum() / jnp.maximum(2 * last.sum(), 1),
    }


def starting_points(
    key: Array,
    cell0: Int[Array, " k"],
    cell1: Int[Array, " k"],
    ratio: Float[Array, " k"],
    exact: Truth,
    *,
    width0: int,
    width1: int,
    config: TrainConfig,
) -> tuple[Float[Array, "k 2"], Float[Array, "k 2"], Float[Array, " k"]]:
    """Points of image 0 in their cells that the truth knows, estimates of them in image 1, and
    jittered ratios; of one pair. Estimates and ratios are as wrong as those of a coarse match may
    be."""
    k, keys = len(cell0), jax.random.split(key, 4)
    ratio = ratio * jnp.exp(config.ratio_jitter * jax.random.normal(keys[0], (k,)))
    half = COARSE_STRIDE / 2
    beside = jax.random.uniform(keys[1], (k, 2), minval=-half, maxval=half)
    beside = jnp.where(jax.random.uniform(keys[2], (k, 1)) < config.anywhere, beside, 0.0)
    jitter = config.start_jitter * jax.random.truncated_normal(keys[3], -2.5, 2.5, (k, 2))
    centres0 = cell_centres(cell0, width0, COARSE_STRIDE)
    centres1 = cell_centres(cell1, width1, COARSE_STRIDE)
    points0 = exact.near(centres0 + beside)
    return points0, centres1 + ratio[:, None] * (points0 - centres0) + jitter, ratio
