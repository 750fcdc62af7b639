"""Cross attention of one map to another: vanilla, linear, and over spots (docs/paper.md §3).

No self attention and no MLP at the coarse level: a 3x3 convolution instead (supplement 2.2).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from astr_jax.layers.backbone import convolution, masked
from astr_jax.layers.dtypes import layer_norm, widened
from astr_jax.ops.per_pair import per_pair
from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention import Index, attend


def vanilla_attention(
    q: Float[Array, "b n h d"],
    k: Float[Array, "b m h d"],
    v: Float[Array, "b m h d"],
    mask: Bool[Array, "b m"],
) -> Float[Array, "b n h d"]:
    """softmax(q k^T / sqrt(d)) v over the valid keys; zero where there is none."""
    # q is scaled, not the logits: a compiler may fuse their scaling with the softmax's difference,
    # rounded otherwise than in the maximum, and the difference of huge logits then overflows exp.
    q = q * q.shape[-1] ** -0.5
    logits = jnp.einsum("bnhd,bmhd->bhnm", q, k, preferred_element_type=jnp.float32)
    seen = mask[:, None, None]
    logits = jnp.where(seen, logits, -1e30)
    weight = jnp.where(seen, jax.nn.softmax(logits, axis=-1), 0.0)
    return jnp.einsum("bhnm,bmhd->bnhd", weight.astype(v.dtype), v)


def linear_attention(
    q: Float[Array, "b n h d"],
    k: Float[Array, "b m h d"],
    v: Float[Array, "b m h d"],
    mask: Bool[Array, "b m"],
) -> Float[Array, "b n h d"]:
    """phi(q) (phi(k)^T v) / (phi(q) sum phi(k)), phi = elu + 1, over the valid keys: O(n + m)."""
    keep = mask[..., None, None].astype(jnp.float32)
    q = nn.elu(q.astype(jnp.float32)) + 1
    k = (nn.elu(k.astype(jnp.float32)) + 1) * keep
    # Means instead of sums: the same quotient, and nothing grows with the number of keys. They are
    # divided, not the keys, which are many.
    count = jnp.maximum(keep.sum(axis=1, keepdims=True), 1.0)
    summary = jnp.einsum("bmhd,bmhe->bhde", k, v.astype(jnp.float32)) / count
    total = k.sum(axis=1) / count[:, 0]  # [b h d]
    value = jnp.einsum("bnhd,bhde->bnhe", q, summary)
    norm = jnp.einsum("bnhd,bhd->bnh", q, total)[..., None]
    return (value / (norm + 1e-6)).astype(v.dtype)


def sparse_attention(q, k, v, index: Index, implementation: str | None):
    """Softmax attention of each query over the keys that the index lists; zero for no key."""

    def one_pair(q, k, v, index):
        return attend(q, k, v, index, implementation=implementation)

    return per_pair(one_pair)(q, k, v, index)


class CrossAttention(nn.Module):
    """One layer: message from the source, LayerNorm, 3x3 convolution of [x, message], residual.

    kind is "vanilla", "linear" or "spot"; the last looks only where `looks` says.
    """

    kind: str
    head_dim: int
    implementation: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        source: Float[Array, "b h1 w1 c"],
        mask: Bool[Array, "b h w"],
        source_mask: Bool[Array, "b h1 w1"],
        looks: Index | None = None,
        context: Float[Array, "b h w c1"] | None = None,
    ) -> Float[Array, "b h w c"]:
        """context: what else the convolution hears, beside x and the message."""
        b, h, w, c = x.shape

        def project(name, y):
            y = nn.Dense(c, use_bias=False, dtype=self.dtype, name=name)(y)
            return y.reshape(b, -1, c // self.head_dim, self.head_dim)

        q, k, v = project("q", x), project("k", source), project("v", source)
        if self.kind == "spot":
            message = sparse_attention(q, k, v, looks, self.implementation)
        else:
            attend = {"vanilla": vanilla_attention, "linear": linear_attention}[self.kind]
            message = attend(q, k, v, source_mask.reshape(b, -1))
        message = nn.Dense(c, use_bias=False, dtype=self.dtype, name="merge")(
            message.reshape(b, h, w, c)
        )
        message = layer_norm(message, dtype=self.dtype, name="message_norm")
        heard = (x, message) if context is None else (x, context, message)
        y = jnp.concatenate(widened(*heard), axis=-1)
        y = convolution(c, 3, dtype=self.dtype, name="mix")(masked(y, mask))
        y = layer_norm(y, dtype=self.dtype, name="norm")
        return masked(jnp.add(*widened(x, y)), mask)
