"""Fine matching: adaptive crops, a small transformer, and an expectation (docs/paper.md §7)."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from astr_jax.config import FineConfig
from astr_jax.layers.attention import linear_attention
from astr_jax.layers.dtypes import layer_norm, widened
from astr_jax.ops.grids import COARSE_STRIDE, sample_bilinear
from astr_jax.ops.per_pair import per_pair
from astr_jax.ops.scaling import grid_sizes
from astr_jax.types import CoarseMatches, Features, Refined
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
        message = layer_norm(message, dtype=self.dtype, name="message_norm")
        y = nn.relu(dense(2 * c, "mlp1")(jnp.concatenate(widened(x, message), axis=-1)))
        y = dense(c, "mlp2")(y)
        y = layer_norm(y, dtype=self.dtype, name="norm")
        return jnp.add(*widened(x, y))


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
    """One step of refinement: from an estimate of points of image 1 to a better one."""

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
        points0: Float[Array, "b k 2"],
        points1: Float[Array, "b k 2"],
        ratio: Float[Array, "b k"],
        zoom: float | Float[Array, ""] = 1.0,
    ) -> Refined:
        """context0, context1: the aggregated coarse maps. points0: anywhere in image 0. points1:
        their estimates, pixels. ratio: r = s_j / s_i of each. zoom: of both crops.

        A crop in which nothing is usable gives back its estimate.
        """
        window = self.config.window
        sizes = grid_sizes(ratio, base=window * zoom, largest=self.config.max_ratio)
        width = features0.fine.shape[-1]
        narrow = nn.Dense(width, dtype=self.dtype, name="coarse")
        merge = nn.Dense(width, dtype=self.dtype, name="merge")

        def tokens(features, context, points, sizes):
            cut = per_pair(lambda f, m, p, s: crops(f, m, p, s, window))
            crop, seen = cut(features.fine, features.fine_mask, points / self.stride, sizes)
            mask8 = features.mask8
            context = context.reshape(*mask8.shape, -1)
            around, _ = per_pair(sample_bilinear)(context, mask8, points / COARSE_STRIDE)
            around = narrow(around.astype(context.dtype))
            around = jnp.broadcast_to(around[:, :, None], crop.shape).astype(crop.dtype)
            crop = merge(jnp.concatenate([crop, around], axis=-1))
            b, k, s, c = crop.shape
            return crop.reshape(b * k, s, c), seen.reshape(b * k, s)

        x0, seen0 = tokens(features0, context0, points0, sizes[0])
        x1, seen1 = tokens(features1, context1, points1, sizes[1])
        self_layer = FineAttention(self.config.head_dim, self.dtype, name="self")
        cross_layer = FineAttention(self.config.head_dim, self.dtype, name="cross")
        x0, x1 = self_layer(x0, x0, seen0), self_layer(x1, x1, seen1)
        x0, x1 = cross_layer(x0, x1, seen1), cross_layer(x1, x0, seen0)
        delta, covariance = expectation(x0[:, window**2 // 2], x1, seen1, window)
        delta = delta.reshape(points1.shape)
        covariance = covariance.reshape(*ratio.shape, 2, 2)
        reach = (window // 2) * sizes[1] / window * self.stride  # 2 (s_j / 5) stride
        return Refined(
            points1=points1 + delta * reach[..., None],
            centres1=points1,
            delta=delta,
            reach=reach,
            covariance=covariance * reach[..., None, None] ** 2,
        )


def in_steps(
    step: Callable[..., Refined], points1: Float[Array, "b k 2"], zooms: Sequence[float]
) -> Refined:
    """Refines points step(points1, zoom) by step, each about the estimate before, which carries
    no gradient. Returns all steps: [t b k ...]."""

    def again(points1, zoom):
        refined = step(jax.lax.stop_gradient(points1), zoom)
        return refined.points1, refined

    return jax.lax.scan(again, points1, jnp.asarray(zooms))[1]


def expectation(
    query: Float[Array, "k c"],
    crop: Float[Array, "k s c"],
    seen: Bool[Array, "k s"],
    window: int,
) -> tuple[Float[Array, "k 2"], Float[Array, "k 2 2"]]:
    """Soft-argmax of the correlation over the crop, and the heat map's covariance, in [-1, 1]."""
    query = query * query.shape[-1] ** -0.5  # and not heat: see vanilla_attention
    heat = jnp.einsum("kc,ksc->ks", query, crop, preferred_element_type=jnp.float32)
    heat = jnp.where(seen, heat, -1e30)
    heat = jax.nn.softmax(heat, axis=-1)
    grid = crop_offsets(window)
    mean = heat @ grid
    from_mean = grid[None] - mean[:, None]
    covariance = jnp.einsum("ks,ksx,ksy->kxy", heat, from_mean, from_mean)
    # A floor far below any sample distance: its logarithm and its root have a slope.
    return mean, covariance + 1e-6 * jnp.eye(2)[None]


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
