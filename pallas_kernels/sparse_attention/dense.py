"""All keys for every query, masked by the lists: fastest where there are few keys.

Time is O(nq nk), so this is no answer to the operator's purpose; it is the best one for small
images, where a matrix product beats any gather.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention.tiles import in_tiles

_TILE = 128  # queries; 64 to 256 run alike, the whole at once takes longer and far more memory


@jax.jit
def dense_attention(
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
    """One tile: all scores, then the softmax over the keys in the lists."""
    seen = _seen_keys(cells, k.shape[0])  # [t nk]
    # q is scaled, not the scores: their scaling would be fused with the difference below and
    # rounded otherwise than in top, and the difference of huge scores would overflow exp.
    attn = jnp.einsum("thd,mhd->htm", q * q.shape[-1] ** -0.5, k, precision="highest")
    if bias is not None:
        attn = attn + _of_keys(bias, cells, k.shape[0])[None]
    top = jnp.max(jax.lax.stop_gradient(attn), axis=-1, keepdims=True, where=seen, initial=-1e30)
    # Masked before exp: a number too large for it would give the gradient 0 * inf.
    weight = jnp.exp(jnp.where(seen, attn - top, -jnp.inf))
    total = jnp.sum(weight, axis=-1).T[..., None]  # [t h 1]
    out = jnp.einsum("htm,mhd->thd", weight, v, precision="highest")
    return out / jnp.where(total > 0, total, 1.0)


def _seen_keys(cells: Int[Array, "t s"], num_keys: int) -> Bool[Array, "t nk"]:
    """The lists as a mask: True where the key stands in the query's list."""
    rows = jnp.arange(cells.shape[0])[:, None]
    columns = jnp.where(cells >= 0, cells, num_keys)  # beyond the last column: dropped
    mask = jnp.zeros((cells.shape[0], num_keys), bool)
    return mask.at[rows, columns].set(True, mode="drop")


def _of_keys(
    bias: Float[Array, "t s"], cells: Int[Array, "t s"], num_keys: int
) -> Float[Array, "t nk"]:
    """One number a key, from one a slot; 0 for the keys that are not listed."""
    rows = jnp.arange(cells.shape[0])[:, None]
    columns = jnp.where(cells >= 0, cells, num_keys)
    return (
        jnp.zeros((cells.shape[0], num_keys), bias.dtype).at[rows, columns].set(bias, mode="drop")
    )
