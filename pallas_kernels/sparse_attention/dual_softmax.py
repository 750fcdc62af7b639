"""The matching matrix P on listed pairs only, and zero elsewhere: never dense.

    s(i, j)     = scale <f0[i], f1[j]>            for j in the list of i
    log P(i, j) = 2 s(i, j) - lse0[i] - lse1[j]

lse0 is the log-sum-exp over the keys of a query, lse1 that over the queries that list a key. A key
listed once has column probability 1. All float32, whatever the features are.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention import dispatch
from pallas_kernels.sparse_attention.index import Index, PaddedIndex
from pallas_kernels.sparse_attention.pairs import NOTHING, Lists, Pairs
from pallas_kernels.sparse_attention.windows import Spots
from pallas_kernels.target import target_platform


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SparseDualSoftmax:
    """P on the pairs of an index, held as features and log-sum-exps.

    The best key of a query has the greatest log P, ties to the lower index; it carries no
    gradient. Without keys: best -1, and NOTHING (-1e30) for its log P and the log-sum-exps.
    """

    f0: Float[Array, "*b n c"]  # features times sqrt(scale)
    f1: Float[Array, "*b m c"]
    index: Index
    lse0: Float[Array, "*b n"]
    lse1: Float[Array, "*b m"]
    best: Int[Array, "*b n"]
    best_log_prob: Float[Array, "*b n"]

    def log_prob_at(
        self, i: Int[Array, " p"], j: Int[Array, " p"]
    ) -> tuple[Float[Array, " p"], Bool[Array, " p"]]:
        """log P at the pairs (i, j), and whether P holds each; NOTHING where not, as for a
        negative index. Differentiable."""
        given = (i >= 0) & (j >= 0)
        i, j = jnp.maximum(i, 0), jnp.maximum(j, 0)
        held = given & self.index.holds(i, j)
        s = jnp.einsum("pc,pc->p", self.f0[i], self.f1[j], precision="highest")
        log_prob = jnp.where(held, 2 * s - self.lse0[i] - self.lse1[j], NOTHING)
        return log_prob, held


def matrix_by(implementation: str | None, f0, f1, index: Index, scale: float) -> SparseDualSoftmax:
    """P by an implementation, or by what None chooses, on an index that is ready."""
    implementation = _choice(implementation, index, f0.shape[1])
    f0, f1 = (f.astype(jnp.float32) * scale**0.5 for f in (f0, f1))
    if implementation in dispatch.DUAL_OF_SPOTS:
        log_sum_exps, best = dispatch.DUAL_OF_SPOTS[implementation]
        of_kernel = index
    elif implementation == "pallas_lists":
        log_sum_exps, best = dispatch.DUAL_OF_LISTS
        of_kernel = _unweighted(index)
    else:
        return _plain(f0, f1, index)
    lse0, lse1 = log_sum_exps(f0, f1, of_kernel)
    fixed = jax.lax.stop_gradient((f0, f1, lse0, lse1))
    return SparseDualSoftmax(f0, f1, index, lse0, lse1, *best(*fixed, of_kernel))


def _choice(implementation: str | None, index: Index, channels: int) -> str:
    if isinstance(index, Spots):
        obstacle = dispatch.why_no_tiles(index.window, channels=channels)
        return dispatch.choice_for_spots(implementation, index, obstacle)
    return implementation or ("pallas_lists" if target_platform() == "gpu" else "gather")


def _unweighted(index: Index) -> Lists | Pairs:
    """The index as lists, or as pairs where it has none. Raises ValueError for weights."""
    found = index.lists() if isinstance(index, PaddedIndex) else index.pairs()
    if found.weights is not None:
        raise ValueError(
            "P holds a pair or not, but this index has weights. Leave them out; of Spans, take "
            "samples=None."
        )
    return found


def _plain(f0, f1, index: Index) -> SparseDualSoftmax:
    """In plain XLA: the definition, and the choice for a CPU. Lists run in tiles of queries."""
    found = _unweighted(index)
    if isinstance(found, Pairs):
        return _plain_pairs(f0, f1, index, found)
    cells, m = found.cells, f1.shape[0]
    listed, safe = cells >= 0, jnp.maximum(cells, 0)
    s = jnp.where(listed, _listed_scores(f0, f1, safe), NOTHING)
    some = listed.any(axis=1)
    lse0 = jnp.where(some, jax.nn.logsumexp(s, axis=1), NOTHING)

    key = jnp.where(listed, cells, m).reshape(-1)  # m is no segment: such pairs are dropped
    top = jax.ops.segment_max(jax.lax.stop_gradient(s).reshape(-1), key, m)
    top = jnp.maximum(top, NOTHING)  # segment_max says -inf for a key that nobody lists
    share = jnp.exp(jnp.where(listed, s - top[safe], NOTHING))
    total = jax.ops.segment_sum(share.reshape(-1), key, m)
    lse1 = top + jnp.log(jnp.where(total > 0, total, 1.0))

    log_prob = jax.lax.stop_gradient(2 * s - lse0[:, None] - lse1[safe])
    log_prob = jnp.where(listed, log_prob, NOTHING)
    best = log_prob.max(axis=1)
    ties = listed & (log_prob == best[:, None])
    cell = jnp.where(ties, cells, jnp.iinfo(cells.dtype).max).min(axis=1)
    return SparseDualSoftmax(f0, f1, index, lse0, lse1, jnp.where(some, cell, -1), best)


def _plain_pairs(f0, f1, index: Index, pairs: Pairs) -> SparseDualSoftmax:
    """The same for pairs in any order: O(l c) in memory."""
    n, m = f0.shape[0], f1.shape[0]
    held = (pairs.m_q >= 0) & (pairs.m_k >= 0)
    i, j = jnp.where(held, pairs.m_q, 0), jnp.where(held, pairs.m_k, 0)
    rows, columns = jnp.where(held, i, n), jnp.where(held, j, m)  # n and m are no segments
    s = jnp.einsum("lc,lc->l", f0[i], f1[j], precision="highest")
    lse0, lse1 = _segment_lse(s, held, rows, n), _segment_lse(s, held, columns, m)

    log_prob = jax.lax.stop_gradient(2 * s - lse0[i] - lse1[j])
    best = jnp.maximum(jax.ops.segment_max(log_prob, rows, n), NOTHING)
    last = jnp.iinfo(j.dtype).max
    ties = jnp.where(held & (log_prob == best[i]), j, last)
    cell = jax.ops.segment_min(ties, rows, n)
    return SparseDualSoftmax(f0, f1, index, lse0, lse1, jnp.where(cell < last, cell, -1), best)


def _segment_lse(s, held, segment, count: int) -> Float[Array, " r"]:
    """The log-sum-exp of each segment; NOTHING for an empty one."""
    top = jnp.maximum(jax.ops.segment_max(jax.lax.stop_gradient(s), segment, count), NOTHING)
    at = jnp.minimum(segment, count - 1)
    share = jnp.exp(jnp.where(held, s - top[at], NOTHING))
    total = jax.ops.segment_sum(share, segment, count)
    return top + jnp.log(jnp.where(total > 0, total, 1.0))


_DENSE_PAIRS = 2**20  # below this the whole product is cheaper than gathering its parts (CPU)
_TILE = 32  # queries


def _listed_scores(f0, f1, cells: Int[Array, "n s"]) -> Float[Array, "n s"]:
    """<f0[i], f1[j]> for the listed pairs."""
    n = f0.shape[0]
    if n * f1.shape[0] < _DENSE_PAIRS:
        return jnp.take_along_axis(jnp.matmul(f0, f1.T, precision="highest"), cells, axis=1)

    @jax.checkpoint
    def tile(args):
        queries, keys = args
        return jnp.einsum("tc,tsc->ts", queries, f1[keys], precision="highest")

    rows = -n % _TILE
    tiles = [jnp.pad(x, ((0, rows), (0, 0))).reshape(-1, _TILE, x.shape[1]) for x in (f0, cells)]
    return jax.lax.map(tile, tuple(tiles)).reshape(-1, cells.shape[1])[:n]
