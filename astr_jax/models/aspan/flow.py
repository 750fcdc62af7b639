"""The flow head: where each cell lies in the other image, and how surely (docs/spans.md)."""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from astr_jax.layers.backbone import convolution, masked
from astr_jax.layers.dtypes import widened
from astr_jax.ops.grids import COARSE_STRIDE, cell_xy, long_sides
from astr_jax.types import Flow
from pallas_kernels.arrays import Array

LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE = -12.0, 2.0  # in units of a quarter of the long side


@flax.struct.dataclass
class Frame:
    """The coarse grid of an image, measured in long sides: so flows mean the same at all sizes."""

    side: Float[Array, " b"]  # the image's long side, in cells, within its padding

    @classmethod
    def of(cls, mask: Bool[Array, "b h w"]) -> "Frame":
        return cls(long_sides(mask))

    @property
    def unit(self) -> Float[Array, "b 1 1"]:
        """A quarter of the long side, in cells."""
        return self.side[:, None, None] / 4


def same_place(mask: Bool[Array, "b h w"], other: Frame) -> Float[Array, "b n 2"]:
    """Each cell's place (x, y) in the other image, in cells, as if both showed the same: what a
    flow is before anything is known."""
    height, width = mask.shape[1:]
    xy = cell_xy(jnp.arange(height * width), width).astype(jnp.float32)
    return xy[None] * (other.side / Frame.of(mask).side)[:, None, None]


class FlowHead(nn.Module):
    """Corrects an estimate of the flow, and says how sure the new one is."""

    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        context: Float[Array, "b h w c"],
        mask: Bool[Array, "b h w"],
        before: Float[Array, "b n 2"],
        other: Frame,
    ) -> Flow:
        """x, context: local and global features of the cells. before: the estimate, in cells of
        the other image, which gets no gradient."""
        b, h, w, c = x.shape
        y = jnp.concatenate(widened(x, context), axis=-1)
        y = nn.relu(convolution(c, 3, dtype=self.dtype, name="mix")(masked(y, mask)))
        # Small at first: the estimate before, with a deviation of a quarter of the long side.
        small = nn.initializers.normal(0.01)
        y = nn.Dense(4, dtype=jnp.float32, kernel_init=small, name="out")(y.astype(jnp.float32))
        move, spread = jnp.split(y.reshape(b, h * w, 4), 2, axis=-1)
        places = jax.lax.stop_gradient(before) + move * other.unit
        log_variance = jnp.clip(spread, LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE)
        log_unit = jnp.log(other.unit * COARSE_STRIDE)
        return Flow(points=places * COARSE_STRIDE, log_variance=log_variance + 2 * log_unit)
