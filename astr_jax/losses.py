"""The losses (docs/paper.md §8). Each decides the empty case: no supervision, loss 0."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Real

from pallas_kernels.arrays import Array

LEAST_LOG_PROB = -13.815510557964274  # log 1e-6


def focal_loss(
    log_prob: Float[Array, "*b n"],
    positive: Bool[Array, "*b n"],
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float[Array, ""]:
    """Mean over the positives of -alpha (1 - P)^gamma log P, log P clamped at log 1e-6.

    The clamp bounds the value and leaves the slope: P is about 1 / (N0 N1) before anything is
    learned, which lies below 1e-6 for images of more than a thousand cells, and a clamp without
    slope would keep it there.
    """
    log_prob = jnp.where(positive, log_prob, 0.0)
    clamped = jnp.clip(log_prob, LEAST_LOG_PROB, 0.0)
    log_prob = log_prob + jax.lax.stop_gradient(clamped - log_prob)
    each = -alpha * (1.0 - jnp.exp(log_prob)) ** gamma * log_prob
    return jnp.where(positive, each, 0.0).sum() / jnp.maximum(positive.sum(dtype=jnp.float32), 1)


def wrong_match_loss(
    log_prob: Float[Array, "*b n"],
    wrong: Bool[Array, "*b n"],
    count: Real[Array, ""] | float,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float[Array, ""]:
    """The focal loss's other side: -(1 - alpha) P^gamma log(1 - P) of wrong matches, their sum
    over a count. Not in the paper, whose loss knows positives alone."""
    p = jnp.exp(jnp.where(wrong, jnp.minimum(log_prob, 0.0), LEAST_LOG_PROB))
    each = -(1 - alpha) * p**gamma * jnp.log1p(-jnp.minimum(p, 1 - 1e-6))
    return jnp.where(wrong, each, 0.0).sum() / jnp.maximum(jnp.asarray(count, jnp.float32), 1)


def place_loss(
    log_share: Float[Array, "*b n s"],
    weight: Float[Array, "*b n s"],
    used: Bool[Array, "*b n"],
) -> Float[Array, ""]:
    """Mean of the relative entropy between the true weights of a few keys and what a softmax makes
    of them among each other. weight: sums up to 1; 0 where there is no key. Not in the paper."""
    used = used & (weight.sum(axis=-1) > 0)
    log_share = jnp.where(weight > 0, log_share, 0.0)
    among = log_share - jax.nn.logsumexp(log_share, axis=-1, where=weight > 0, keepdims=True)
    entropy = jnp.where(weight > 0, weight * jnp.log(jnp.where(weight > 0, weight, 1.0)), 0.0)
    each = (entropy - jnp.where(weight > 0, weight * among, 0.0)).sum(axis=-1)
    return jnp.where(used, each, 0.0).sum() / jnp.maximum(used.sum(dtype=jnp.float32), 1)


def refinement_loss(
    error: Float[Array, "*b k 2"],
    covariance: Float[Array, "*b k 2 2"],
    valid: Bool[Array, "*b k"],
    *,
    soft: float = 0.05,
    freedom: float = 4.0,
    likelihood: float = 0.05,
) -> Float[Array, ""]:
    """A robust distance, and how likely the error is under its covariance. Not in the paper.

    The distance is sqrt(|error|^2 + soft^2) - soft. The likelihood is that of Student's
    distribution with so many degrees of freedom, so that single outliers do not spoil the
    covariance; the error carries no gradient in it.
    """
    error = jnp.where(valid[..., None], error, 0.0)
    distance = jnp.sqrt((error**2).sum(axis=-1) + soft**2) - soft
    unit = jnp.broadcast_to(jnp.eye(2), covariance.shape)
    covariance = jnp.where(valid[..., None, None], covariance, unit)
    a, b, c = covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]
    determinant = jnp.maximum(a * c - b**2, 1e-12)
    x, y = jnp.moveaxis(jax.lax.stop_gradient(error), -1, 0)
    square = (c * x**2 - 2 * b * x * y + a * y**2) / determinant
    unlikely = 0.5 * jnp.log(determinant) + (freedom / 2 + 1) * jnp.log1p(square / freedom)
    each = distance + likelihood * unlikely
    return jnp.where(valid, each, 0.0).sum() / jnp.maximum(valid.sum(dtype=jnp.float32), 1)


def flow_loss(
    points: Float[Array, "*b n 2"],
    log_variance: Float[Array, "*b n 2"],
    true: Float[Array, "*b n 2"],
    seen: Bool[Array, "*b n"],
) -> Float[Array, ""]:
    """Mean negative log-likelihood of true places under Gaussians, axes apart, without its
    constant: (d^2 / sigma^2 + log sigma^2) / 2, in a unit that points and sigma share."""
    error = jnp.where(seen[..., None], points - true, 0.0)  # what is not seen may be far
    each = (error**2 * jnp.exp(-log_variance) + log_variance) / 2
    each = jnp.where(seen[..., None], each, 0.0).sum(axis=-1)
    return each.sum() / jnp.maximum(seen.sum(dtype=jnp.float32), 1)


def fine_loss(
    delta: Float[Array, "*b k 2"],
    true_delta: Float[Array, "*b k 2"],
    deviation: Float[Array, "*b k"],
    valid: Bool[Array, "*b k"],
) -> Float[Array, ""]:
    """Squared distance weighted by the inverse standard deviation, which carries no gradient.

    Only where the truth lies inside the crop: max |true_delta| < 1.
    """
    used = valid & (jnp.abs(true_delta).max(axis=-1) < 1)
    count = jnp.maximum(used.sum(dtype=jnp.float32), 1)
    certainty = 1 / jnp.maximum(jax.lax.stop_gradient(deviation), 1e-3)
    mean = jnp.where(used, certainty, 0.0).sum() / count
    weight = jnp.where(used, certainty, 0.0) / jnp.maximum(mean, 1e-6)
    distance = jnp.where(used[..., None], delta - true_delta, 0.0)
    return ((distance**2).sum(axis=-1) * weight).sum() / count
