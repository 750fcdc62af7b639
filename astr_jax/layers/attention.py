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
from pallas_kernels.sparse_attention import Index, Lists, PaddedIndex, attend


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


def with_everybody(looks: PaddedIndex, more: Bool[Array, "b p"]) -> Lists:
    """What the index lists, and for every query p further keys, which stand behind its own; more:
    which of these may be seen."""

    def one_pair(looks, more):
        lists, p = looks.lists(), more.shape[0]
        further = jnp.where(more, lists.num_keys + jnp.arange(p, dtype=jnp.int32), -1)
        further = jnp.broadcast_to(further, (lists.cells.shape[0], p))
        cells, weights = jnp.concatenate([lists.cells, further], axis=1), lists.weights
        if weights is not None:
            ones = jnp.ones(further.shape, weights.dtype)
            weights = jnp.concatenate([weights, ones], axis=1)
        return Lists(cells, lists.num_keys + p, weights)

    return per_pair(one_pair)(looks, more)


def pooled(
    x: Float[Array, "b h w c"], mask: Bool[Array, "b h w"], side: int
) -> tuple[Float[Array, "b p c"], Bool[Array, "b p"]]:
    """The mean of the valid cells of each square of side x side cells, from the first cell on; and
    which squares have one."""
    b, *grid, c = x.shape
    more = [(0, -n % side) for n in grid]
    x = jnp.pad(masked(x, mask), ((0, 0), *more, (0, 0))).astype(jnp.float32)
    count = jnp.pad(mask, ((0, 0), *more)).astype(jnp.float32)
    rows, columns = x.shape[1] // side, x.shape[2] // side
    x = x.reshape(b, rows, side, columns, side, c).sum(axis=(2, 4)).reshape(b, -1, c)
    count = count.reshape(b, rows, side, columns, side).sum(axis=(2, 4)).reshape(b, -1)
    return x / jnp.maximum(count, 1.0)[..., None], count > 0


class CrossAttention(nn.Module):
    """One layer: message from the source, LayerNorm, 3x3 convolution of [x, message], residual.

    kind is "vanilla", "linear" or "spot"; the last looks only where `looks` says, and, unless
    pool is 0, at the means of all squares of pool x pool cells.
    """

    kind: str
    head_dim: int
    implementation: str | None = None
    dtype: DTypeLike = jnp.float32
    pool: int = 0

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

        keys = source
        if self.kind == "spot" and self.pool:
            means, some = pooled(source, source_mask, self.pool)
            each = source.reshape(b, -1, c)
            keys = jnp.concatenate([each, means.astype(each.dtype)], axis=1)
            looks = with_everybody(looks, some)
        q, k, v = project("q", x), project("k", keys), project("v", keys)
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
