"""Grey pictures: smoothed, and sampled between their pixels.

A gather is slow on a CPU where XLA computes its places within it: one number at a time, and anew
in each of the four gathers of a bilinear sample. It does not where they come out of a loop, or into
one. So who samples in a loop ends a round with the places of the next, and takes what lies there.
"""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Bool, Float

from pallas_kernels.arrays import Array

Places = tuple[Array, Array, Array]  # of places_in


def places_in(picture: Float[Array, "h w"], x: Array, y: Array) -> Places:
    """Where to take bilinear samples: the index of the pixel at the upper left, and how far the
    sample lies from it, x and y. Beyond the picture, its edge."""
    h, w = picture.shape
    x, y = jnp.clip(x, 0.0, w - 1.001), jnp.clip(y, 0.0, h - 1.001)
    column, row = x.astype(jnp.int32), y.astype(jnp.int32)
    return row * w + column, x - column.astype(x.dtype), y - row.astype(y.dtype)


def taken(picture: Float[Array, "h w"], places: Places) -> Array:
    """Bilinear samples at places of places_in."""
    upper, lower = (_along_row(picture, places, row) for row in (0, 1))
    return upper * (1 - places[2]) + lower * places[2]


def sampled(picture: Float[Array, "h w"], x: Array, y: Array) -> Array:
    """Bilinear samples at places that come out of no loop; beyond the picture, its edge."""
    places = places_in(picture, x, y)
    upper, lower = lax.map(lambda row: _along_row(picture, places, row), jnp.arange(2))
    return upper * (1 - places[2]) + lower * places[2]


def _along_row(picture, places: Places, below) -> Array:
    """Between two pixels of the row so far below the places."""
    flat, (first, x, _) = picture.reshape(-1), places
    first = first + below * picture.shape[1]
    return flat[first] * (1 - x) + flat[first + 1] * x


def smoothed(
    image: Float[Array, "h w"], mask: Bool[Array, "h w"], deviation: float
) -> Float[Array, "h w"]:
    """By a Gaussian, of what is usable."""
    reach = math.ceil(2.5 * deviation)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)

    def smooth(x):
        for axis in (0, 1):
            padded = jnp.pad(x, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)])
            x = sum(
                share * lax.slice_in_dim(padded, i, i + x.shape[axis], axis=axis)
                for i, share in enumerate(np.float32(kernel / kernel.sum()))
            )
        return x

    usable = mask.astype(jnp.float32)
    weight = smooth(usable)
    return jnp.where(weight > 1e-3, smooth(image * usable) / jnp.maximum(weight, 1e-3), 0.0)
