"""Keys gathered list by list, in tiles of a few queries: the choice for many keys on a CPU."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention.tiles import in_tiles

_TILE = 32  # queries; 8 to 64 run alike forward, fewer than 32 is slower backward


@jax.jit
def gather_attention(
    q: Float[Array, "nq h d"],
    k: Float[Array, "nk h d"],
    v: Float[Array, "nk h d"],
    cells: Int[Array, "nq s"],
    bias: Float[Array, "nq s"] | None = None,
) -> Float[Array, "nq h d"]:
    """Attention of each query over its list; -1 is an empty slot [S 1]. bias: the logarithms of the
    weights; None: all are 1."""
    return in_tiles(_attend, _TILE)(q, k, v, bias, cells)


def _attend(
    q: Float[Array, "t h d"],
    k: Float[Array, "nk h d"],
    v: Float[Array, "nk h d"],
    bias: Float[Array, "t s"] | None,
    cells: Int[Array, "t s"],
) -> Float[Array, "t h d"]:
    """One tile: softmax over the slots that are filled."""
    filled = (cells >= 0)[:, :, None]  # [t s 1]
    index = jnp.maximum(cells, 0)
    _, h, d = q.shape
    keys, values = (x.reshape(-1, h * d)[index] for x in (k, v))  # [t s h*d]
    # Every head's query stands alone in its part of the channels: keys are used as they are
    # gathered, where a product for each head would copy them all in another order first.
    # q is scaled, not the scores: their scaling would be fused with the difference below and
    # rounded otherwise than in top, and the difference of huge scores would overflow exp.
    alone = jnp.einsum("thd,hg->thdg", q * d**-0.5, jnp.eye(h, dtype=q.dtype))
    alone = alone.reshape(-1, h * d, h)
    attn = jnp.einsum("tsc,tch->tsh", keys, alone, precision="highest")
    if bias is not None:
        attn = attn + bias[:, :, None]
    top = jnp.max(jax.lax.stop_gradient(attn), axis=1, keepdims=True, where=filled, initial=-1e30)
    # Masked before exp: a number too large for it would give the gradient 0 * inf.
    weight = jnp.exp(jnp.where(filled, attn - top, -jnp.inf))
    total = jnp.sum(weight, axis=1, keepdims=True)
    weight = weight / jnp.where(total > 0, total, 1.0)
    mixed = jnp.einsum("tsh,tsc->thc", weight, values, precision="highest").reshape(-1, h, h, d)
    return jnp.einsum("thhd->thd", mixed)  # of every head its own part
