"""The matching matrix P of two feature maps, never stored, and what is read from it.

sim(i, j) = <f0_i, f1_j> / (C * temperature)
log P(i, j) = 2 sim(i, j) - lse_row(i) - lse_col(j)        (dual softmax; docs/paper.md §4 and §5)

Everything here is float32, for one pair: f0 [n c], f1 [m c]. Invalid cells have no part in P.
"""

import functools

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention import SparseDualSoftmax

EMPTY = -1e30  # a log-probability of nothing; finite, so that gradients stay finite

# Pairs of a streamed step, whatever the number of keys: 2 MiB stay near a CPU's core.
_PAIRS_AT_ONCE_ON_CPU, _PAIRS_AT_ONCE = 2**19, 2**21
_LANES = 64  # runs of keys that a CPU searches side by side


@flax.struct.dataclass
class DualSoftmax:
    """P over all pairs of valid cells, held as features and log-sum-exps."""

    scaled0: Float[Array, "*b n c"]  # features / sqrt(C * temperature), zero where invalid
    scaled1: Float[Array, "*b m c"]
    mask0: Bool[Array, "*b n"]
    mask1: Bool[Array, "*b m"]
    lse0: Float[Array, "*b n"]  # over the keys of each query
    lse1: Float[Array, "*b m"]  # over the queries of each key
    block: int = flax.struct.field(pytree_node=False)

    def transposed(self) -> "DualSoftmax":
        """The same P, with the images in each other's place."""
        return DualSoftmax(
            self.scaled1, self.scaled0, self.mask1, self.mask0, self.lse1, self.lse0, self.block
        )


@flax.struct.dataclass
class BestMatches:
    """For each query: its most probable key."""

    cell: Int[Array, "*b n"]  # -1 for a query without keys
    log_prob: Float[Array, "*b n"]  # EMPTY there


def dual_softmax(
    f0: Float[Array, "n c"],
    f1: Float[Array, "m c"],
    mask0: Bool[Array, " n"],
    mask1: Bool[Array, " m"],
    *,
    temperature: Float[Array, ""] | float,
    block: int,
) -> DualSoftmax:
    """Builds P over all pairs in O(n c) memory: one streamed pass, `block` queries at most."""
    gain = (f0.shape[-1] * temperature) ** -0.5
    f0 = jnp.where(mask0[:, None], f0.astype(jnp.float32) * gain, 0.0)
    f1 = jnp.where(mask1[:, None], f1.astype(jnp.float32) * gain, 0.0)
    lse0, lse1 = _log_sum_exps(block, f0, f1, mask0, mask1)
    return DualSoftmax(f0, f1, mask0, mask1, lse0, lse1, block)


def _queries_at_once(block: int, n: int, m: int) -> int:
    """Queries of a streamed step: the more keys, the fewer, so that memory does not grow as n m."""
    most = _PAIRS_AT_ONCE_ON_CPU if jax.default_backend() == "cpu" else _PAIRS_AT_ONCE
    return max(1, min(block, n, most // m))


def _in_blocks(block: int, *arrays: Array) -> list[Array]:
    """Splits the leading axis into [steps block ...]; the end is filled with zeros (False)."""
    n = arrays[0].shape[0]
    steps = -(-n // block)
    pad = steps * block - n
    return [
        jnp.pad(a, [(0, pad)] + [(0, 0)] * (a.ndim - 1)).reshape(steps, block, *a.shape[1:])
        for a in arrays
    ]


def _similarity(f0, f1, mask0, mask1):
    return jnp.where(mask0[:, None] & mask1[None], _product(f0, f1), EMPTY)


def _product(f0: Float[Array, "n c"], f1: Float[Array, "m c"]) -> Float[Array, "n m"]:
    """<f0_i, f1_j> in full float32, also where the default would be less (TF32 on GPUs)."""
    return jnp.matmul(f0, f1.T, precision="highest")


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _log_sum_exps(block, f0, f1, mask0, mask1):
    block = _queries_at_once(block, f0.shape[0], f1.shape[0])

    def step(carry, rows):
        top, total = carry  # running maximum and sum of each column
        sim = _similarity(*rows[:1], f1, rows[1], mask1)
        new_top = jnp.maximum(top, sim.max(axis=0))
        total = total * jnp.exp(top - new_top)
        total += jnp.where(sim > EMPTY, jnp.exp(sim - new_top[None]), 0.0).sum(axis=0)
        return (new_top, total), jax.nn.logsumexp(sim, axis=1)

    start = (jnp.full(f1.shape[0], EMPTY), jnp.zeros(f1.shape[0]))
    (top, total), lse0 = jax.lax.scan(step, start, tuple(_in_blocks(block, f0, mask0)))
    lse0 = jnp.where(mask0 & mask1.any(), lse0.reshape(-1)[: f0.shape[0]], 0.0)
    lse1 = jnp.where(total > 0, top + jnp.log(jnp.where(total > 0, total, 1.0)), 0.0)
    return lse0, lse1


def _log_sum_exps_forward(block, f0, f1, mask0, mask1):
    lse0, lse1 = _log_sum_exps(block, f0, f1, mask0, mask1)
    return (lse0, lse1), (f0, f1, mask0, mask1, lse0, lse1)


def _log_sum_exps_backward(block, saved, cotangents):
    f0, f1, mask0, mask1, lse0, lse1 = saved
    g0, g1 = cotangents
    block = _queries_at_once(block, f0.shape[0], f1.shape[0])

    def step(df1, rows):
        rows0, rows_mask, rows_lse, rows_g = rows
        sim = _similarity(rows0, f1, rows_mask, mask1)
        slope = rows_g[:, None] * jnp.exp(sim - rows_lse[:, None])
        slope += g1[None] * jnp.exp(sim - lse1[None])
        slope = jnp.where(sim > EMPTY, slope, 0.0)
        return df1 + slope.T @ rows0, slope @ f1

    df1, df0 = jax.lax.scan(step, jnp.zeros_like(f1), tuple(_in_blocks(block, f0, mask0, lse0, g0)))
    return df0.reshape(-1, f0.shape[1])[: f0.shape[0]], df1, None, None


_log_sum_exps.defvjp(_log_sum_exps_forward, _log_sum_exps_backward)


def best_matches(matrix: DualSoftmax) -> tuple[BestMatches, BestMatches]:
    """The most probable key of every query and the reverse, by one more streamed pass.

    Ties go to the lower index. No gradient.
    """
    p = jax.lax.stop_gradient(matrix)
    n, m = p.scaled0.shape[0], p.scaled1.shape[0]
    block = _queries_at_once(p.block, n, m)
    # One product says log P: <(2 f0, -lse0, 1), (f1, 1, -lse1)>.
    ones = jnp.ones_like
    queries = [2 * p.scaled0, jnp.where(p.mask0, -p.lse0, EMPTY)[:, None], ones(p.lse0)[:, None]]
    keys = [p.scaled1, ones(p.lse1)[:, None], jnp.where(p.mask1, -p.lse1, EMPTY)[:, None]]
    keys = _in_lanes(jnp.concatenate(keys, axis=1))
    (rows,) = _in_blocks(block, jnp.concatenate(queries, axis=1))
    rows = rows.at[..., -2].add(jnp.where(rows[..., -1] == 0, EMPTY, 0.0))  # what fills the end

    def step(carry, row):
        best, where = carry
        queries, first = row
        log_prob = _product(queries, keys)
        column = log_prob.max(axis=0)
        index = jax.lax.broadcasted_iota(jnp.int32, log_prob.shape, 0) + first
        index = jnp.where(log_prob == column[None], index, n).min(axis=0)
        where = jnp.where(column > best, index, where)  # strictly: an earlier row keeps a tie
        return (jnp.maximum(best, column), where), _max_and_first(log_prob)

    start = jnp.full(keys.shape[0], EMPTY), jnp.full(keys.shape[0], -1, jnp.int32)
    firsts = jnp.arange(rows.shape[0], dtype=jnp.int32) * block
    best1, (log_prob0, cell0) = jax.lax.scan(step, start, (rows, firsts))
    log_prob1, cell1 = (_out_of_lanes(x)[:m] for x in best1)
    log_prob0, cell0 = log_prob0.reshape(-1)[:n], cell0.reshape(-1)[:n]

    def found(cell, log_prob):
        some = log_prob > EMPTY / 2
        return BestMatches(jnp.where(some, cell, -1), jnp.where(some, log_prob, EMPTY))

    return found(cell0, log_prob0), found(cell1, log_prob1)


def _in_lanes(keys: Float[Array, "m c"]) -> Float[Array, "k c"]:
    """Each lane holds a run of keys: key l * runs + r comes to row r * _LANES + l. The end is
    filled with keys that match nothing."""
    m, c = keys.shape
    runs = -(-m // _LANES)
    nothing = jnp.zeros((runs * _LANES - m, c)).at[:, -1].set(EMPTY)
    keys = jnp.concatenate([keys, nothing])
    return keys.reshape(_LANES, runs, c).swapaxes(0, 1).reshape(-1, c)


def _out_of_lanes(x: Array) -> Array:
    """One value a key, back in the order of the keys."""
    return x.reshape(-1, _LANES).T.reshape(-1)


def _max_and_first(x: Float[Array, "n k"]) -> tuple[Float[Array, " n"], Int[Array, " n"]]:
    """Of each row, over keys in lanes: the maximum, and the first key that has it. A CPU takes the
    maximum of all lanes at once, and looks for the key in one of them alone."""
    n, runs = x.shape[0], x.shape[1] // _LANES
    lanes = x.reshape(n, runs, _LANES)
    tops = lanes.max(axis=1)
    lane = tops.argmax(axis=1)
    chosen = jnp.take_along_axis(lanes, lane[:, None, None], axis=2)[..., 0]
    top = tops.max(axis=1)
    run = (chosen == top[:, None]).argmax(axis=1)
    return top, (lane * runs + run).astype(jnp.int32)


def log_prob_at(
    matrix: DualSoftmax | SparseDualSoftmax, cell0: Int[Array, " k"], cell1: Int[Array, " k"]
) -> tuple[Float[Array, " k"], Bool[Array, " k"]]:
    """log P at the given pairs, and whether P holds each pair at all (a sparse one may not).

    Pairs with a negative or masked cell count as not held. Differentiable.
    """
    if isinstance(matrix, SparseDualSoftmax):
        return matrix.log_prob_at(cell0, cell1)
    i, j, sim, held = _similarity_at(matrix, cell0, cell1)
    return jnp.where(held, 2 * sim - matrix.lse0[i] - matrix.lse1[j], EMPTY), held


def log_share_at(
    matrix: DualSoftmax, query: Int[Array, " k"], key: Int[Array, " k"]
) -> Float[Array, " k"]:
    """log of the row softmax alone: which share of a query's weight a key has. EMPTY where either
    is negative or masked. Differentiable."""
    i, _, sim, held = _similarity_at(matrix, query, key)
    return jnp.where(held, sim - matrix.lse0[i], EMPTY)


def _similarity_at(matrix: DualSoftmax, query: Int[Array, " k"], key: Int[Array, " k"]):
    """Cells that may be read, their similarity over the temperature, and whether neither is
    negative or masked."""
    i, j = jnp.maximum(query, 0), jnp.maximum(key, 0)
    mask0, mask1 = jnp.asarray(matrix.mask0), jnp.asarray(matrix.mask1)
    held = (query >= 0) & (key >= 0) & mask0[i] & mask1[j]
    sim = jnp.einsum("kc,kc->k", matrix.scaled0[i], matrix.scaled1[j], precision="highest")
    return i, j, sim, held
