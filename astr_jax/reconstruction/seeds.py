"""Seeds: the point of each coarse cell of an image that other images will find most surely.

A cell's seed is its strongest corner (Shi and Tomasi, 1994), found in that image alone, so that
all its pairs start from the very same point.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from astr_jax.images import Prepared, padded
from astr_jax.matching.canvases import canvases
from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.ops.sampling import smoothed
from pallas_kernels.arrays import Array

_SLOPE_BLUR, _WINDOW_BLUR = 1.0, 2.0  # standard deviations, working pixels


@dataclasses.dataclass(frozen=True)
class Seeds:
    """The seeds of an image, cell by cell, in working pixels."""

    points: Float[np.ndarray, "s 2"]
    strength: Float[np.ndarray, " s"]  # the smaller eigenvalue of the slopes' moments


def find_seeds(prepared: Prepared, resize: int) -> Seeds:
    """The strongest corner of each usable cell; resize: the limit that `prepared` was made at."""
    square = canvases(resize)[-1]
    pixels, mask = (padded(x, square)[0] for x in (prepared.pixels, prepared.mask))
    points, strength, usable = map(np.asarray, _corners(pixels, mask))
    return Seeds(points[usable], strength[usable])


@jax.jit
def _corners(
    pixels: Float[Array, "h w"], mask: Bool[Array, "h w"]
) -> tuple[Float[Array, "n 2"], Float[Array, " n"], Bool[Array, " n"]]:
    """The strongest pixel of each cell, its strength, and whether it is usable."""
    image = smoothed(pixels, mask, _SLOPE_BLUR)
    along_x, along_y = (jnp.gradient(image, axis=axis) for axis in (1, 0))
    products = along_x**2, along_x * along_y, along_y**2
    xx, xy, yy = (smoothed(p, mask, _WINDOW_BLUR) for p in products)
    strength = (xx + yy) / 2 - jnp.hypot((xx - yy) / 2, xy)
    strength = jnp.where(mask, strength, -1.0)
    best, strength = _strongest_of_cells(strength)
    return best.astype(jnp.float32), strength, strength >= 0


def _strongest_of_cells(
    strength: Float[Array, "h w"],
) -> tuple[Int[Array, "n 2"], Float[Array, " n"]]:
    """(x, y) of the largest value of each cell, whose centre lies on pixel stride * (column, row),
    and the value."""
    stride, half = COARSE_STRIDE, COARSE_STRIDE // 2
    rows, columns = (side // stride for side in strength.shape)
    whole = jnp.pad(strength, ((half, 0), (half, 0)), constant_values=-1.0)
    blocks = whole[: rows * stride, : columns * stride].reshape(rows, stride, columns, stride)
    blocks = blocks.transpose(0, 2, 1, 3).reshape(rows * columns, stride * stride)
    place = blocks.argmax(axis=1)
    y, x = jnp.divmod(jnp.arange(rows * columns), columns)
    y, x = y * stride - half + place // stride, x * stride - half + place % stride
    return jnp.stack([x, y], axis=-1), blocks.max(axis=1)
