"""The door of the sparse attention operator: checks, choice of implementation, dispatch.

The operator [S 1, eq. 1-2], over pairs (query i, key j) that all heads share:

    attn(i, j) = q[i] . k[j] / sqrt(d)
    out[i]     = sum over j in the list of i of softmax_j(attn(i, j)) v[j]

A query whose list is empty gives 0 and sends back gradients of 0. The softmax is computed in
float32 or finer, the result has the dtype of q. Gradients go to q, k and v, none to the lists;
they are for reverse mode ("segment_sum" has forward mode too).

Letters in shapes: nq queries, nk keys, h heads, d channels per head, s slots of a list, l pairs.
All functions are for one problem without a batch; `jax.vmap` adds one.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from pallas_kernels.sparse_attention import checks
from pallas_kernels.sparse_attention.dense import dense_attention
from pallas_kernels.sparse_attention.gather import gather_attention
from pallas_kernels.sparse_attention.segment_sum import segment_sum_attention, segment_sum_lists

_IMPLEMENTATIONS = {  # each: (q, k, v, cells) -> out, after the door's checks
    "segment_sum": segment_sum_lists,
    "gather": gather_attention,
    "dense": dense_attention,
}
IMPLEMENTATIONS = tuple(_IMPLEMENTATIONS)

_DENSE_KEYS_PER_SLOT = 10  # up to so many, dense is the fastest: measured on a CPU (README)


def choose_implementation(platform: str, *, num_keys: int, slots: int) -> str:
    """Names the implementation that `implementation=None` runs, from static facts alone.

    platform: as `jax.default_backend()` says it. The rule for a CPU is measured (README);
    elsewhere the serial tiles of "gather" would idle the device, so it is "segment_sum".
    """
    if num_keys <= _DENSE_KEYS_PER_SLOT * slots:
        return "dense"
    return "gather" if platform == "cpu" else "segment_sum"


def sparse_attention(
    q: Float[Array, "nq h d"],
    k: Float[Array, "nk h d"],
    v: Float[Array, "nk h d"],
    cells: Int[Array, "nq s"],
    *,
    implementation: str | None = None,
) -> Float[Array, "nq h d"]:
    """Attends from each query i to the keys cells[i], over which its softmax runs.

    cells: key indices in any order; -1 is an empty slot. A key stands at most once in a row and
    is below nk. Outside jit both are checked here; inside jit values cannot be seen, so use
    `check_cells` on the host: there a key given twice weighs twice in "segment_sum" and "gather"
    and once in "dense", and the result for a key beyond nk is undefined.
    implementation: one of IMPLEMENTATIONS, which then runs or raises; None chooses by device and
    shapes (`choose_implementation`).
    """
    if implementation is not None and implementation not in _IMPLEMENTATIONS:
        raise ValueError(
            f"implementation must be None or one of {', '.join(IMPLEMENTATIONS)}; "
            f"got {implementation!r}."
        )
    checks.check_features(q, k, v)
    checks.check_integer("cells", cells, rank=2)
    if cells.shape[0] != q.shape[0]:
        raise ValueError(f"cells must have one row per query: {cells.shape=}, {q.shape=}.")
    if not isinstance(cells, jax.core.Tracer):
        checks.check_cells(cells, k.shape[0])
    if 0 in cells.shape:  # no query or no slot: nothing to attend to
        return jnp.zeros_like(q)
    if implementation is None:
        implementation = choose_implementation(
            jax.default_backend(), num_keys=k.shape[0], slots=cells.shape[1]
        )
    return _IMPLEMENTATIONS[implementation](q, k, v, cells)


def sparse_attention_pairs(
    q: Float[Array, "nq h d"],
    k: Float[Array, "nk h d"],
    v: Float[Array, "nk h d"],
    m_q: Int[Array, "l"],
    m_k: Int[Array, "l"],
) -> Float[Array, "nq h d"]:
    """The general form [S 1, eq. 1-2]: query m_q[p] may see key m_k[p], pairs in any order.

    -1 in both is padding. Every pair stands at most once; outside jit this is checked here,
    inside jit a pair given twice weighs twice (`check_pairs` names it on the host). Time and
    memory are O(l h d). Where all lists have about the same length, prefer `sparse_attention`.
    """
    checks.check_features(q, k, v)
    checks.check_integer("m_q", m_q, rank=1)
    checks.check_integer("m_k", m_k, rank=1)
    if m_q.shape != m_k.shape:
        raise ValueError(f"m_q and m_k must have one length: {m_q.shape=}, {m_k.shape=}.")
    if not isinstance(m_q, jax.core.Tracer) and not isinstance(m_k, jax.core.Tracer):
        checks.check_pairs(m_q, m_k, q.shape[0], k.shape[0])
    if 0 in (q.shape[0], m_q.shape[0]):
        return jnp.zeros_like(q)
    return segment_sum_attention(q, k, v, m_q, m_k)
