"""Which cells supervise a step: a random share of the truth, and pairs for the fine stage."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int

from pallas_kernels.arrays import Array


def random_share(key: Array, candidates: Bool[Array, " n"], share: float) -> Bool[Array, " n"]:
    """Keeps a random share of the candidates, rounded up: exactly, not on average."""
    order = jnp.where(candidates, jax.random.uniform(key, candidates.shape), 2.0)
    rank = jnp.argsort(jnp.argsort(order))
    keep = jnp.ceil(share * candidates.sum(dtype=jnp.float32)).astype(jnp.int32)
    return candidates & (rank < keep)


def sample_fine(
    key: Array,
    true_cell1: Int[Array, " n"],
    predicted_cell1: Int[Array, " n"],
    *,
    capacity: int,
    limit: Int[Array, ""],
    least_true: int = 200,
) -> tuple[Int[Array, " k"], Int[Array, " k"]]:
    """Chooses the coarse pairs that train the fine stage: (cell0, cell1), -1 on padding.

    At most `limit` of the `capacity` rows are filled: first ground truth, at least `least_true` of
    it where there is so much, then predictions, then what ground truth is left. Both are drawn at
    random (docs/paper.md §8). A true pair that is predicted too counts once, where it comes first.
    """
    n = true_cell1.shape[0]
    true_key, predicted_key = jax.random.split(key)
    true, predicted = true_cell1 >= 0, predicted_cell1 >= 0
    true_order = jnp.where(true, jax.random.uniform(true_key, (n,)), 9.0)
    true_rank = jnp.argsort(jnp.argsort(true_order))
    # Priorities: 0 sure ground truth, 1 predictions, 2 other ground truth, 9 nothing.
    true_priority = jnp.where(true_rank < least_true, true_order, true_order + 2)
    true_priority = jnp.where(true, true_priority, 9.0)
    predicted_priority = jnp.where(predicted, 1 + jax.random.uniform(predicted_key, (n,)), 9.0)
    both = true & (true_cell1 == predicted_cell1)
    earlier = jnp.minimum(true_priority, predicted_priority)
    true_priority = jnp.where(both, earlier, true_priority)
    predicted_priority = jnp.where(both, 9.0, predicted_priority)
    priority = jnp.concatenate([true_priority, predicted_priority])
    best, index = jax.lax.top_k(-priority, capacity)
    filled = (best > -9.0) & (jnp.arange(capacity) < limit)
    cell0 = jnp.where(filled, index % n, -1)
    cell1 = jnp.where(filled, jnp.concatenate([true_cell1, predicted_cell1])[index], -1)
    return cell0, cell1
