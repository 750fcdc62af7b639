"""Features of several types, brought together as JAX's standard promotion does, but in the open."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from pallas_kernels.arrays import Array


def widened(*arrays: Array) -> list[Array]:
    """The arrays in the widest of their types: float32 where one of them is, beside bfloat16."""
    widest = max((x.dtype for x in arrays), key=lambda dtype: jnp.finfo(dtype).bits)
    return [x.astype(widest) for x in arrays]


def layer_norm(x: Array, *, dtype, name: str) -> Array:
    """Flax's layer norm, within a module; its own types in bfloat16 need standard promotion."""
    with jax.numpy_dtype_promotion("standard"):
        return nn.LayerNorm(dtype=dtype, name=name)(x)
