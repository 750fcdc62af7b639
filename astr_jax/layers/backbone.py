"""The feature pyramid: five strided stages down to 1/32 and a path back up (docs/paper.md §1)."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from astr_jax.config import BackboneConfig
from astr_jax.layers.dtypes import widened
from pallas_kernels.arrays import Array

Map = Float[Array, "b h w c"]
Mask = Bool[Array, "b h w"]
OtherMap = Float[Array, "b h1 w1 c1"]  # at another stride, of other channels, or of the same
OtherMask = Bool[Array, "b h1 w1"]


def masked(x: Map, mask: Mask) -> Map:
    """Zero outside the mask: a padded image then gives what the image gives at its own size."""
    return jnp.where(mask[..., None], x, 0)


def level_mask(mask: Mask, stride: int) -> OtherMask:
    """A cell is valid where its centre, pixel (stride x, stride y), is."""
    return mask[:, ::stride, ::stride]


def convolution(features: int, size: int, stride: int = 1, *, bias=False, dtype, name=None):
    """A convolution with (size-1)/2 explicit padding, so that output i is centred on stride * i."""
    reach = (size - 1) // 2
    return nn.Conv(
        features,
        (size, size),
        (stride, stride),
        padding=[(reach, reach)] * 2,
        use_bias=bias,
        dtype=dtype,
        kernel_init=nn.initializers.he_normal(),
        name=name,
    )


class MaskedBatchNorm(nn.Module):
    """Batch norm over the valid cells only; with none valid, by the running statistics."""

    train: bool
    momentum: float = 0.99
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Map, mask: Mask) -> Map:
        width = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (width,))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        run_mean = self.variable("batch_stats", "mean", jnp.zeros, (width,))
        run_var = self.variable("batch_stats", "var", jnp.ones, (width,))
        mean, var = run_mean.value, run_var.value
        if self.train:
            weight = mask[..., None].astype(jnp.float32)
            count = weight.sum()
            some = count > 0
            count = jnp.maximum(count, 1.0)
            values = x.astype(jnp.float32) * weight
            batch_mean = values.sum(axis=(0, 1, 2)) / count
            batch_var = (values * x.astype(jnp.float32)).sum(axis=(0, 1, 2)) / count - batch_mean**2
            mean = jnp.where(some, batch_mean, mean)
            var = jnp.where(some, jnp.maximum(batch_var, 0.0), var)
            if not self.is_initializing():
                run_mean.value = self.momentum * run_mean.value + (1 - self.momentum) * mean
                run_var.value = self.momentum * run_var.value + (1 - self.momentum) * var
        gain = scale / jnp.sqrt(var + self.epsilon)
        gain, offset = (jnp.expand_dims(v, (0, 1, 2)) for v in (gain, bias - mean * gain))
        wide, gain, offset = widened(x, gain, offset)
        return (wide * gain + offset).astype(x.dtype)


class ConvNorm(nn.Module):
    """Mask, convolution, batch norm. Folded: the norm lives in the kernel and a bias."""

    features: int
    size: int
    stride: int = 1
    folded: bool = False
    train: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Map, mask: Mask, out_mask: OtherMask) -> OtherMap:
        x = convolution(
            self.features, self.size, self.stride, bias=self.folded, dtype=self.dtype, name="conv"
        )(masked(x, mask))
        return x if self.folded else MaskedBatchNorm(self.train, name="norm")(x, out_mask)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    features: int
    stride: int
    folded: bool
    train: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Map, mask: Mask, out_mask: OtherMask) -> OtherMap:
        def conv(size, stride, name):
            return ConvNorm(
                self.features, size, stride, self.folded, self.train, self.dtype, name=name
            )

        y = nn.relu(conv(3, self.stride, "conv1")(x, mask, out_mask))
        y = conv(3, 1, "conv2")(y, out_mask, out_mask)
        if self.stride != 1 or x.shape[-1] != self.features:
            x = conv(1, self.stride, "shortcut")(x, mask, out_mask)
        return nn.relu(x + y)


def upsample2(x: Map, mask: Mask, out_mask: OtherMask) -> Float[Array, "b h1 w1 c"]:
    """Doubles a map: out[2i] = in[i], out[2i+1] = mean of in[i] and in[i+1], over valid cells only,
    so that beyond the last valid cell it repeats. Keeps cell (x, y) centred on pixel (s x, s y)."""
    weight = mask[..., None].astype(x.dtype)
    value, total = _doubled(_doubled(x * weight, 1), 2), _doubled(_doubled(weight, 1), 2)
    return masked(value / jnp.maximum(total, 0.25), out_mask)


def _doubled(x: Array, axis: int) -> Array:
    """Interleaves x with the halves' sums along an axis; outside counts as zero."""
    length = x.shape[axis]
    pads = [(0, int(a == axis)) for a in range(x.ndim)]
    after = jnp.take(jnp.pad(x, pads), jnp.arange(1, length + 1), axis=axis)
    pairs = jnp.stack([x, (x + after) / 2], axis=axis + 1)
    return pairs.reshape(*x.shape[:axis], 2 * length, *x.shape[axis + 1 :])


class TopDown(nn.Module):
    """One level of the top-down path: lateral 1x1, add the doubled upper map, two 3x3."""

    folded: bool
    train: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Map, upper: OtherMap, mask: Mask, upper_mask: OtherMask) -> Map:
        width, wide = x.shape[-1], upper.shape[-1]
        x = convolution(wide, 1, dtype=self.dtype, name="lateral")(masked(x, mask))
        x = x + upsample2(upper, upper_mask, mask)
        x = ConvNorm(wide, 3, 1, self.folded, self.train, self.dtype, name="merge")(x, mask, mask)
        x = nn.leaky_relu(x)
        return convolution(width, 3, dtype=self.dtype, name="out")(masked(x, mask))


class Backbone(nn.Module):
    """Returns F32, F8 and the fine map (at fine_stride), each zero outside its mask."""

    config: BackboneConfig
    dtype: DTypeLike = jnp.float32
    recompute: bool = False

    @nn.compact
    def __call__(self, images: Float[Array, "b h w 1"], mask: Mask, *, train: bool = False):
        config = self.config
        block_of, top_down_of = BasicBlock, TopDown
        if self.recompute:
            block_of, top_down_of = nn.remat(BasicBlock), nn.remat(TopDown)
        flags = {"folded": config.folded, "train": train, "dtype": self.dtype}
        masks = {s: level_mask(mask, s) for s in (1, 2, 4, 8, 16, 32)}
        # The stem and the first stage share the stride 2 of stage 1 in docs/paper.md §1.
        x = ConvNorm(config.widths[0], 7, 2, **flags, name="stem")(
            images.astype(self.dtype), masks[1], masks[2]
        )
        x, stride, levels = nn.relu(x), 2, {}
        for stage, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True)):
            for block in range(blocks):
                step = 2 if stage > 0 and block == 0 else 1
                x = block_of(width, step, **flags, name=f"stage{stage + 1}_block{block + 1}")(
                    x, masks[stride], masks[stride * step]
                )
                stride *= step
            levels[stride] = x
        maps = {32: masked(levels[32], masks[32])}
        stride = 32
        while stride > config.fine_stride:
            stride //= 2
            maps[stride] = masked(
                top_down_of(**flags, name=f"top_down{stride}")(
                    levels[stride], maps[2 * stride], masks[stride], masks[2 * stride]
                ),
                masks[stride],
            )
        return maps[32], maps[8], maps[config.fine_stride]
