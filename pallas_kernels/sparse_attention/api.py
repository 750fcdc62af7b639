"""The doors of the sparse attention operator: checks, choice of implementation, dispatch.

The operator [S 1, eq. 1-2], over pairs (query i, key j) that all heads share:

    attn(i, j) = q[i] . k[j] / sqrt(d)
    out[i]     = sum over j in the list of i of softmax_j(attn(i, j) + log w(i, j)) v[j]

An index says which pairs there are (`Index`): `Lists`, `Pairs`, `Spots`, `Spans`, `Both`. w is 1
but where the index has weights; a pair of weight 0 is none. A query whose list is empty gives 0 and
sends back gradients of 0. The softmax is computed in float32 or finer, the result has the dtype of
q. Gradients go to q, k and v, and to weights, and through them to what they are made of; they are
for reverse mode ("segment_sum" has forward mode too).

Letters in shapes: nq queries, nk keys, h heads, d channels per head, s slots of a list, l pairs,
w windows of a spot. All functions are for one problem without a batch; `jax.vmap` adds one.

implementation is one of IMPLEMENTATIONS, or None, which chooses by device and shapes. In attention
a name is an order: it runs or raises. P has fewer implementations: a Pallas kernel that is named
runs or raises, and every other name stands for the one version in plain XLA. The Pallas kernels are
compiled on a GPU and interpreted, slowly, elsewhere. checked=True
puts the checks of indices, which outside jit run by themselves, into a compiled program, by
`jax.experimental.checkify`: wrap the program in `checkify.checkify`.
"""

from typing import no_type_check

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention import checks, dispatch
from pallas_kernels.sparse_attention.dual_softmax import SparseDualSoftmax, matrix_by
from pallas_kernels.sparse_attention.index import Index
from pallas_kernels.sparse_attention.pairs import Lists, Pairs
from pallas_kernels.sparse_attention.windows import Grid, Spots


@no_type_check
def attend(
    q: Float[Array, "nq h d"],
    k: Float[Array, "nk h d"],
    v: Float[Array, "nk h d"],
    index: Index,
    *,
    implementation: str | None = None,
    checked: bool = False,
) -> Float[Array, "nq h d"]:
    """Attends from each query to the keys that the index lists for it, over which its softmax runs.

    Time and memory are O(l h d) at most, for l slots of the index. "pallas_tiles" takes Spots;
    Pairs take "segment_sum" and "pallas_lists"; "triton" takes no weights.
    """
    checks.check_implementation(implementation, dispatch.names_for(index))
    checks.check_features(q, k, v)
    index = index.ready(q.shape[0], k.shape[0], checked)
    if q.shape[0] == 0:
        return jnp.zeros_like(q)
    return dispatch.attend_index(implementation, q, k, v, index)


@no_type_check
def dual_softmax(
    f0: Float[Array, "nq c"],
    f1: Float[Array, "nk c"],
    index: Index,
    *,
    scale: float,
    implementation: str | None = None,
    checked: bool = False,
) -> SparseDualSoftmax:
    """The matching matrix P on the pairs of the index only, zero elsewhere, never dense.

    s(i, j) = scale <f0[i], f1[j]>; P is the product of the row softmax over a query's keys and the
    column softmax over the queries that list a key. Returns both log-sum-exps, every query's best
    key with its log P, and log P at given pairs (`log_prob_at`). Differentiable in f0 and f1.
    implementation: "pallas_lists", of Spots "pallas_tiles", or any other name for plain XLA, as the
    module says of P. P holds a pair or not: an index with weights is refused.
    """
    known = dispatch.IMPLEMENTATIONS if isinstance(index, Pairs) else dispatch.names_for(index)
    checks.check_implementation(implementation, known)
    checks.check_pair_of_features(f0, f1)
    checks.check_scale(scale)
    index = index.ready(f0.shape[0], f1.shape[0], checked)
    return matrix_by(implementation, f0, f1, index, scale)


@no_type_check
def sparse_attention(
    q: Float[Array, "nq h d"],
    k: Float[Array, "nk h d"],
    v: Float[Array, "nk h d"],
    cells: Int[Array, "nq s"],
    *,
    implementation: str | None = None,
    checked: bool = False,
) -> Float[Array, "nq h d"]:
    """attend with Lists: from each query i to the keys cells[i].

    cells: key indices in any order; -1 is an empty slot. A key stands at most once in a row and
    is below nk: where this is not checked, a key given twice weighs twice ("dense": once), and
    the result for a key beyond nk is undefined.
    """
    lists = Lists(cells, _number(k))
    return attend(q, k, v, lists, implementation=implementation, checked=checked)


@no_type_check
def sparse_attention_pairs(
    q: Float[Array, "nq h d"],
    k: Float[Array, "nk h d"],
    v: Float[Array, "nk h d"],
    m_q: Int[Array, " l"],
    m_k: Int[Array, " l"],
    *,
    implementation: str | None = None,
    checked: bool = False,
) -> Float[Array, "nq h d"]:
    """attend with Pairs, the general form [S 1, eq. 1-2]: query m_q[p] may see key m_k[p].

    -1 in both is padding. Every pair stands at most once; where this is not checked, a pair given
    twice weighs twice. "pallas_lists" sorts the pairs once by query and, for gradients, by key.
    """
    pairs = Pairs(m_q, m_k, _number(q), _number(k))
    return attend(q, k, v, pairs, implementation=implementation, checked=checked)


@no_type_check
def spot_attention(
    q: Float[Array, "nq h d"],
    k: Float[Array, "nk h d"],
    v: Float[Array, "nk h d"],
    centres: Int[Array, "nq w"],
    *,
    grid0: Grid,
    grid1: Grid,
    window: int,
    valid0: Bool[Array, " nq"] | None = None,
    valid1: Bool[Array, " nk"] | None = None,
    implementation: str | None = None,
    checked: bool = False,
) -> Float[Array, "nq h d"]:
    """attend with Spots: from each cell of grid0 to the union of windows on grid1.

    grid0, grid1: (h, w) of the queries and of the keys; cell = y * w + x. centres: the cells of
    grid1 that the windows, `window` cells wide (odd), lie around; -1 is no window. A window is
    clipped at the border, and a key that several cover counts once. valid0, valid1: True where a
    query looks and where a key may be seen; None for everywhere.

    On a GPU None takes "pallas_tiles" where few tiles of keys are active, else "pallas_lists".
    """
    spots = Spots(centres, *_masks((q, k), (valid0, valid1)), grid0, grid1, window)
    return attend(q, k, v, spots, implementation=implementation, checked=checked)


@no_type_check
def sparse_dual_softmax(
    f0: Float[Array, "nq c"],
    f1: Float[Array, "nk c"],
    cells: Int[Array, "nq s"],
    *,
    scale: float,
    implementation: str | None = None,
    checked: bool = False,
) -> SparseDualSoftmax:
    """dual_softmax with Lists: P on the pairs (i, cells[i])."""
    lists = Lists(cells, _number(f1))
    knobs = {"implementation": implementation, "checked": checked}
    return dual_softmax(f0, f1, lists, scale=scale, **knobs)


@no_type_check
def spot_dual_softmax(
    f0: Float[Array, "nq c"],
    f1: Float[Array, "nk c"],
    centres: Int[Array, "nq w"],
    *,
    scale: float,
    grid0: Grid,
    grid1: Grid,
    window: int,
    valid0: Bool[Array, " nq"] | None = None,
    valid1: Bool[Array, " nk"] | None = None,
    implementation: str | None = None,
    checked: bool = False,
) -> SparseDualSoftmax:
    """dual_softmax with the Spots of spot_attention, by "pallas_tiles" too."""
    spots = Spots(centres, *_masks((f0, f1), (valid0, valid1)), grid0, grid1, window)
    knobs = {"implementation": implementation, "checked": checked}
    return dual_softmax(f0, f1, spots, scale=scale, **knobs)


def _number(features: Array) -> int:
    """How many there are; features of no rank are refused later, by name."""
    return features.shape[0] if features.ndim else 0


def _masks(features, masks) -> list:
    """Both masks, True everywhere for None."""
    return [
        jnp.ones(_number(f), bool) if mask is None else mask
        for f, mask in zip(features, masks, strict=True)
    ]
