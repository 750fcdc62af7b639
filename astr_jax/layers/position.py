"""Normalised positional encoding (docs/paper.md §2; supplement eq. 3 and 4)."""

import jax.numpy as jnp
from jaxtyping import Float

from pallas_kernels.arrays import Array


def normalised_positional_encoding(
    grid: tuple[int, int],
    channels: int,
    *,
    train_width: float,
    train_height: float,
    width: Float[Array, " b"],
    height: Float[Array, " b"],
) -> Float[Array, "b h w c"]:
    """NPE_i(x, y) = PE_i(x W_train / W_test, y H_train / H_test) at the cells' indices from 0.

    PE_i(x, y) = sin(w_k x), cos(w_k x), sin(w_k y), cos(w_k y) for i = 4k .. 4k+3, with
    w_k = 10000^(-2k/d). width and height are those of each image at test time, in pixels.
    """
    if channels % 4:
        raise ValueError(f"the encoding has four functions a frequency; got {channels} channels.")
    frequency = 10000.0 ** (-2.0 * jnp.arange(channels // 4, dtype=jnp.float32) / channels)  # [c/4]
    rows, columns = grid
    x = jnp.outer(train_width / width, jnp.arange(columns, dtype=jnp.float32))  # [b w]
    y = jnp.outer(train_height / height, jnp.arange(rows, dtype=jnp.float32))  # [b h]
    x, y = (jnp.multiply.outer(v, frequency) for v in (x, y))  # [b w c/4], [b h c/4]
    shape = (x.shape[0], rows, columns, channels // 4)
    parts = [
        jnp.broadcast_to(part, shape)
        for part in (
            jnp.sin(x)[:, None],
            jnp.cos(x)[:, None],
            jnp.sin(y)[:, :, None],
            jnp.cos(y)[:, :, None],
        )
    ]
    return jnp.stack(parts, axis=-1).reshape(*shape[:-1], channels)
