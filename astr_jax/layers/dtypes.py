"""Features of several types, brought together as JAX's standard promotion does, but in the open."""

from jax import numpy as jnp

from pallas_kernels.arrays import Array


def widened(*arrays: Array) -> list[Array]:
    """The arrays in the widest of their types: float32 where one of them is, beside bfloat16."""
    widest = max((x.dtype for x in arrays), key=lambda dtype: jnp.finfo(dtype).bits)
    return [x.astype(widest) for x in arrays]


def as_float32(x: Array) -> Array:
    """What a norm is given, which computes in float32 whatever its own type."""
    return x.astype(jnp.float32)
