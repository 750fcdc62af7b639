"""The definition of the operator: pairs in any order, summed per query by segment_sum.

Simple and general, O(l h d) in time and memory. All other implementations agree with this one.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from pallas_kernels.arrays import Array


@jax.jit
def segment_sum_attention(
    q: Float[Array, "nq h d"],
    k: Float[Array, "nk h d"],
    v: Float[Array, "nk h d"],
    m_q: Int[Array, " l"],
    m_k: Int[Array, " l"],
    bias: Float[Array, " l"] | None = None,
) -> Float[Array, "nq h d"]:
    """Softmax attention over the pairs (m_q[p], m_k[p]); a pair with a -1 is left out [S 1].

    bias: the logarithm of each pair's weight, added to its score; None: all weights are 1.
    """
    nq, _, d = q.shape
    dtype = np.promote_types(q.dtype, np.float32)
    filled = (m_q >= 0) & (m_k >= 0)
    segment = jnp.where(filled, m_q, nq)  # nq is no segment: such pairs are dropped
    i, j = jnp.where(filled, m_q, 0), jnp.where(filled, m_k, 0)
    # Cast before they are gathered, so that their gradients are summed in float32 too.
    qi, kj, vj = q.astype(dtype)[i], k.astype(dtype)[j], v.astype(dtype)[j]  # [l h d]

    attn = jnp.sum(qi * kj, axis=-1) * d**-0.5  # eq. 1, [l h]
    if bias is not None:
        attn = attn + bias.astype(dtype)[:, None]
    top = jax.ops.segment_max(jax.lax.stop_gradient(attn), segment, nq)  # -inf without a pair
    # Masked before exp: a number too large for it would give the gradient 0 * inf.
    weight = jnp.exp(jnp.where(filled[:, None], attn - top[i], -jnp.inf))
    total = jax.ops.segment_sum(weight, segment, nq)  # [nq h], at least 1 where there is a pair
    out = jax.ops.segment_sum(weight[..., None] * vj, segment, nq)  # eq. 2
    return (out / jnp.where(total > 0, total, 1.0)[..., None]).astype(q.dtype)


def segment_sum_lists(
    q: Float[Array, "nq h d"],
    k: Float[Array, "nk h d"],
    v: Float[Array, "nk h d"],
    cells: Int[Array, "nq s"],
    bias: Float[Array, "nq s"] | None = None,
) -> Float[Array, "nq h d"]:
    """The same for padded lists: l = nq * s pairs, row by row."""
    nq, s = cells.shape
    m_q = jnp.broadcast_to(jnp.arange(nq, dtype=cells.dtype)[:, None], (nq, s)).reshape(-1)
    bias = None if bias is None else bias.reshape(-1)
    return segment_sum_attention(q, k, v, m_q, cells.reshape(-1), bias)
