"""Fine matching: adaptive crops, a small transformer, and an expectation (docs/paper.md §7)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from astr_jax.config import FineConfig
from astr_jax.layers.attention import linear_attention
from astr_jax.ops.grids import COARSE_STRIDE, cell_centres, sample_bilinear
from astr_jax.ops.per_pair import per_pair
from astr_jax.ops.scaling import grid_sizes
from astr_jax.types import CoarseMatches, Features, FineMatches
from pallas_kernels.arrays import Array


class FineAttention(nn.Module):
    """A linear attention layer with the baseline's MLP, over the samples of each crop."""

    head_dim: int
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, x: Float[Array, "k s c"], source: Float[Array, "k s c"], mask: Bool[Array, "k s"]
    ) -> Float[Array, "k s c"]:
        k, s, c = x.shape

        def dense(width, name):
            return nn.Dense(width, use_bias=False, dtype=self.dtype, name=name)

        def heads(name, y):
            return dense(c, name)(y).reshape(k, s, c // self.head_dim, self.head_dim)

        message = linear_attention(heads("q", x), heads("k", source), heads("v", source), mask)
        message = dense(c, "merge")(message.reshape(k, s, c))
        message = nn.LayerNorm(dtype=self.dtype, name="message_norm")(message)
        y = nn.relu(dense(2 * c, "mlp1")(jnp.concatenate([x, message], axis=-1)))
        return x + nn.LayerNorm(dtype=self.dtype, name="norm")(dense(c, "mlp2")(y))


def crop_offsets(window: int) -> Float[Array, "s 2"]:
    """Sample positions (x, y) of a crop in [-1, 1], row by row."""
    line = jnp.linspace(-1.0, 1.0, window)
    y, x = jnp.meshgrid(line, line, indexing="ij")
    return jnp.stack([x, y], axis=-1).reshape(-1, 2)


def crops(
    fine: Float[Array, "h w c"],
    mask: Bool[Array, "h w"],
    centres: Float[Array, "k 2"],
    sizes: Float[Array, " k"],
    window: int,
) -> tuple[Float[Array, "k s c"], Bool[Array, "k s"]]:
    """Samples a window x window grid, `sizes` fine cells a side, about each centre (fine cells)."""
    reach = (window // 2) * sizes[:, None, None] / window
    return sample_bilinear(fine, mask, centres[:, None] + crop_offsets(window)[None] * reach)


class FineMatching(nn.Module):
    """Refines coarse matches to sub-pixel points of image 1, with their uncertainty."""

    config: FineConfig
    stride: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        features0: Features,
        features1: Features,
        context0: Float[Array, "b n c"],
        context1: Float[Array, "b m c"],
        matches: CoarseMatches,
        ratio: Float[Array, "b k"],
    ) -> FineMatches:
        """context0, context1: the aggregated coarse maps. ratio: r = s_j / s_i of each match.

        Rows that are not valid give finite nonsense.
        """
        window, step = self.config.window, COARSE_STRIDE // self.stride
        size0, size1 = grid_sizes(ratio, base=window, largest=self.config.max_ratio)
        width = features0.fine.shape[-1]
        narrow = nn.Dense(width, dtype=self.dtype, name="coarse")
        merge = nn.Dense(width, dtype=self.dtype, name="merge")

        def tokens(features, context, cells, sizes):
            cells = jnp.maximum(cells, 0)
            centres = cell_centres(cells, features.mask8.shape[2], step)
            sample = per_pair(lambda f, m, c, s: crops(f, m, c, s, window))
            crop, seen = sample(features.fine, features.fine_mask, centres, sizes)
            around = narrow(jnp.take_along_axis(context, cells[..., None], axis=1))
            around = jnp.broadcast_to(around[:, :, None], crop.shape).astype(crop.dtype)
            crop = merge(jnp.concatenate([crop, around], axis=-1))
            b, k, s, c = crop.shape
            return crop.reshape(b * k, s, c), seen.reshape(b * k, s)

        x0, seen0 = tokens(features0, context0, matches.cell0, size0)
        x1, seen1 = tokens(features1, context1, matches.cell1, size1)
        self_layer = FineAttention(self.config.head_dim, self.dtype, name="self")
        cross_layer = FineAttention(self.config.head_dim, self.dtype, name="cross")
        x0, x1 = self_layer(x0, x0, seen0), self_layer(x1, x1, seen1)
        x0, x1 = cross_layer(x0, x1, seen1), cross_layer(x1, x0, seen0)
        delta, deviation = expectation(x0[:, window**2 // 2], x1, seen1, window)
        delta, deviation = delta.reshape(*ratio.shape, 2), deviation.reshape(ratio.shape)

        centres0 = cell_centres(matches.cell0, features0.mask8.shape[2], COARSE_STRIDE)
        centres1 = cell_centres(matches.cell1, features1.mask8.shape[2], COARSE_STRIDE)
        reach = (window // 2) * size1 / window * self.stride  # 2 (s_j / 5) stride
        return FineMatches(
            points0=centres0,
            points1=centres1 + delta * reach[..., None],
            centres1=centres1,
            delta=delta,
            reach=reach,
            sigma=deviation * reach,
            valid=matches.valid,
        )


def expectation(
    query: Float[Array, "k c"],
    crop: Float[Array, "k s c"],
    seen: Bool[Array, "k s"],
    window: int,
) -> tuple[Float[Array, "k 2"], Float[Array, " k"]]:
    """Soft-argmax of the correlation over the crop, and sqrt((var_x + var_y) / 2), in [-1, 1]."""
    query = query * query.shape[-1] ** -0.5  # and not heat: see vanilla_attention
    heat = jnp.einsum("kc,ksc->ks", query, crop, preferred_element_type=jnp.float32)
    heat = jnp.where(seen, heat, -1e30)
    heat = jax.nn.softmax(heat, axis=-1)
    grid = crop_offsets(window)
    mean = heat @ grid
    variance = heat @ grid**2 - mean**2
    # The square root has no slope at zero: keep a floor far below any sample distance.
    return mean, jnp.sqrt(jnp.maximum(variance.mean(axis=-1), 1e-6))


def padded_cells(cells: Int[Array, "b n"], confidence: Float[Array, "b n"], capacity: int):
    """The `capacity` most confident matches of each pair, sorted, as CoarseMatches."""
    capacity = min(capacity, cells.shape[1])

    def one_pair(cells, confidence):
        confidence, cell0 = jax.lax.top_k(confidence, capacity)
        cell1 = cells[cell0]
        valid = (confidence > 0) & (cell1 >= 0)
        return CoarseMatches(
            cell0=jnp.where(valid, cell0, -1),
            cell1=jnp.where(valid, cell1, -1),
            confidence=jnp.where(valid, confidence, 0.0),
            valid=valid,
        )

    return per_pair(one_pair)(cells, confidence)
