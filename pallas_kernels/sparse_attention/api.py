"""The door of the sparse attention operator: checks, choice of implementation, dispatch.

The operator [S 1, eq. 1-2], over pairs (query i, key j) that all heads share:

    attn(i, j) = q[i] . k[j] / sqrt(d)
    out[i]     = sum over j in the list of i of softmax_j(attn(i, j)) v[j]

A query whose list is empty gives 0 and sends back gradients of 0. The softmax is computed in
float32 or finer, the result has the dtype of q. Gradients go to q, k and v, none to the lists;
they are for reverse mode ("segment_sum" has forward mode too).

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
from pallas_kernels.sparse_attention.dual_softmax import SparseDualSoftmax, dual_softmax
from pallas_kernels.sparse_attention.pairs import Lists, Pairs
from pallas_kernels.sparse_attention.segment_sum import segment_sum_attention
from pallas_kernels.sparse_attention.windows import Grid, Spots
from pallas_kernels.target import target_platform


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
    """Attends from each query i to the keys cells[i], over which its softmax runs.

    cells: key indices in any order; -1 is an empty slot. A key stands at most once in a row and
    is below nk: where this is not checked, a key given twice weighs twice ("dense": once), and
    the result for a key beyond nk is undefined. Time and memory are O(nq s h d) at most.
    """
    if implementation == "pallas_tiles":
        raise ValueError('implementation="pallas_tiles" needs windows: call spot_attention.')
    checks.check_implementation(implementation, dispatch.IMPLEMENTATIONS)
    checks.check_features(q, k, v)
    cells = _lists(cells, q.shape[0], k.shape[0], checked)
    if q.shape[0] == 0:
        return jnp.zeros_like(q)
    implementation = implementation or dispatch.choose_implementation(
        target_platform(), num_keys=k.shape[0], slots=cells.shape[1]
    )
    return dispatch.OF_LISTS[implementation](q, k, v, Lists(cells, k.shape[0]))


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
    """The general form [S 1, eq. 1-2]: query m_q[p] may see key m_k[p], pairs in any order.

    -1 in both is padding. Every pair stands at most once; where this is not checked, a pair given
    twice weighs twice. implementation: None, "segment_sum" or "pallas_lists", which sorts the
    pairs once by query and, for gradients, once by key. Time and memory are O(l h d).
    """
    checks.check_implementation(implementation, ("segment_sum", "pallas_lists"))
    checks.check_features(q, k, v)
    checks.check_pair_lists(m_q, m_k, q.shape[0], k.shape[0], checked)
    if 0 in (q.shape[0], m_q.shape[0]):
        return jnp.zeros_like(q)
    m_q, m_k = jnp.asarray(m_q, jnp.int32), jnp.asarray(m_k, jnp.int32)
    on_gpu = target_platform() == "gpu"
    if (implementation or ("pallas_lists" if on_gpu else "segment_sum")) == "pallas_lists":
        pairs = Pairs(m_q, m_k, q.shape[0], k.shape[0])
        return dispatch.pallas_lists_attention(q, k, v, pairs)
    return segment_sum_attention(q, k, v, m_q, m_k)


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
    """Attends from each cell of grid0 to its spot: the union of windows on grid1.

    grid0, grid1: (h, w) of the queries and of the keys; cell = y * w + x. centres: the cells of
    grid1 that the windows, `window` cells wide (odd), lie around; -1 is no window. A window is
    clipped at the border, and a key that several cover counts once. valid0, valid1: True where a
    query looks and where a key may be seen; None for everywhere.

    On a GPU None takes "pallas_tiles" where few tiles of keys are active, else "pallas_lists".
    """
    checks.check_implementation(implementation, dispatch.IMPLEMENTATIONS)
    checks.check_features(q, k, v)
    given = (q.shape[0], k.shape[0]), centres, (grid0, grid1), window, (valid0, valid1)
    spots = _spots(*given, checked)
    if q.shape[0] == 0:
        return jnp.zeros_like(q)
    obstacle = dispatch.why_no_tiles(window, row=q.shape[-1] * q.dtype.itemsize)
    implementation = _choice(implementation, spots, obstacle)
    return dispatch.attend_spots(implementation, q, k, v, spots)


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
    """The matching matrix P on the pairs (i, cells[i]) only, zero elsewhere, never dense.

    s(i, j) = scale <f0[i], f1[j]>; P is the product of the row softmax over a query's keys and the
    column softmax over the queries that list a key. Returns both log-sum-exps, every query's best
    key with its log P, and log P at given pairs (`log_prob_at`). Differentiable in f0 and f1.
    implementation: "pallas_lists", or any other name for plain XLA, as the module says of P.
    """
    if implementation == "pallas_tiles":
        raise ValueError('implementation="pallas_tiles" needs windows: call spot_dual_softmax.')
    checks.check_implementation(implementation, dispatch.IMPLEMENTATIONS)
    checks.check_pair_of_features(f0, f1)
    checks.check_scale(scale)
    cells = _lists(cells, f0.shape[0], f1.shape[0], checked)
    on_gpu = target_platform() == "gpu"
    implementation = implementation or ("pallas_lists" if on_gpu else "gather")
    return dual_softmax(f0, f1, Lists(cells, f1.shape[0]), scale, implementation)


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
    """sparse_dual_softmax on the spots of spot_attention, by "pallas_tiles" too."""
    checks.check_implementation(implementation, dispatch.IMPLEMENTATIONS)
    checks.check_pair_of_features(f0, f1)
    checks.check_scale(scale)
    given = (f0.shape[0], f1.shape[0]), centres, (grid0, grid1), window, (valid0, valid1)
    spots = _spots(*given, checked)
    obstacle = dispatch.why_no_tiles(window, channels=f0.shape[1])
    return dual_softmax(f0, f1, spots, scale, _choice(implementation, spots, obstacle))


def _lists(cells, num_queries: int, num_keys: int, checked: bool) -> Int[Array, "nq s"]:
    """Checks the lists; at least one slot comes out."""
    checks.check_lists(cells, num_queries, num_keys, checked)
    return _at_least_one(cells)


def _at_least_one(cells: Int[Array, "n s"]) -> Int[Array, "n slots"]:
    """As int32, with an empty slot where there is none."""
    cells = jnp.asarray(cells, jnp.int32)
    return cells if cells.shape[1] else jnp.full((cells.shape[0], 1), -1, jnp.int32)


def _spots(numbers, centres, grids, window, valid, checked) -> Spots:
    """Checks what describes the spots, and fills in the masks."""
    checks.check_spots(numbers, centres, grids, window, valid, checked)
    valid0, valid1 = (
        jnp.ones(n, bool) if mask is None else jnp.reshape(mask, n)
        for n, mask in zip(numbers, valid, strict=True)
    )
    centres = _at_least_one(centres)
    return Spots(centres, valid0, valid1, tuple(grids[0]), tuple(grids[1]), window)


def _choice(implementation: str | None, spots: Spots, obstacle: str) -> str:
    """The implementation of a spot's door. obstacle: why tiles cannot run, or nothing."""
    if implementation == "pallas_tiles" and obstacle:
        raise ValueError(
            f'implementation="pallas_tiles" takes {obstacle}. Use None or "pallas_lists".'
        )
    return implementation or dispatch.choose_for_spots(
        target_platform(),
        num_keys=spots.valid1.shape[0],
        windows=spots.centres.shape[1],
        window=spots.window,
        tiles=not obstacle,
    )
