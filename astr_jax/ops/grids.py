"""Cells, pixels and windows. The only file that knows how a grid lies in an image.

A grid of stride s has its cell (x, y) centred on pixel (s x, s y) of the image; pixel centres lie
at whole numbers. A cell's index is y * width + x; -1 stands for no cell.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from pallas_kernels.arrays import Array

COARSE_STRIDE = 8  # pixels a cell of the matching grid
_LEAST = 1e-3  # bilinear weight of a cell that counts as about a point


def cell_xy(cells: Int[Array, "*b"], width: int) -> Int[Array, "*b 2"]:
    """Column and row of each cell."""
    return jnp.stack([cells % width, cells // width], axis=-1)


def cell_centres(cells: Int[Array, "*b"], width: int, stride: int) -> Float[Array, "*b 2"]:
    """Pixel (x, y) of each cell's centre."""
    return (cell_xy(cells, width) * stride).astype(jnp.float32)


def nearest_cells(
    points: Float[Array, "*b 2"], grid: tuple[int, int], stride: int
) -> Int[Array, "*b"]:
    """The cell whose centre is nearest to each pixel position; -1 outside the grid."""
    height, width = grid
    # Clip before the cast: a point at infinity must not wrap around to a valid cell.
    xy = jnp.clip(jnp.round(points / stride), -2.0, max(height, width) + 1.0)
    x, y = jnp.moveaxis(xy.astype(jnp.int32), -1, 0)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return jnp.where(inside, y * width + x, -1)


def long_sides(mask: Bool[Array, "b h w"]) -> Float[Array, " b"]:
    """The long side of each image within its padding, pixels: up to the last row or column with a
    usable pixel, so that padding changes nothing. An image without one counts whole."""
    ends = [
        jnp.max(jnp.where(mask.any(axis=other), jnp.arange(1, mask.shape[axis] + 1)[None], 0), 1)
        for axis, other in ((1, 2), (2, 1))
    ]
    side = jnp.maximum(*ends)
    return jnp.where(side > 0, side, max(mask.shape[1:])).astype(jnp.float32)


def shifted(x: Array, dy: int, dx: int, fill=0) -> Array:
    """out[y, x] = x[y + dy, x + dx] over the two leading axes; fill outside."""
    height, width = x.shape[:2]
    ry, rx = abs(dy), abs(dx)
    pads = [(ry, ry), (rx, rx)] + [(0, 0)] * (x.ndim - 2)
    padded = jnp.pad(x, pads, constant_values=fill)
    return jax.lax.slice_in_dim(
        jax.lax.slice_in_dim(padded, ry + dy, ry + dy + height, axis=0),
        rx + dx,
        rx + dx + width,
        axis=1,
    )


def eroded(mask: Bool[Array, "h w"], cells: int) -> Bool[Array, "h w"]:
    """True where the whole square of the given reach is True; outside the grid counts as False."""
    for moves in (
        [(s, 0) for s in range(-cells, cells + 1)],
        [(0, s) for s in range(-cells, cells + 1)],
    ):
        mask = jnp.stack([shifted(mask, dy, dx, fill=False) for dy, dx in moves]).all(axis=0)
    return mask


def sample_bilinear(
    image: Float[Array, "h w c"], mask: Bool[Array, "h w"], points: Float[Array, "*b 2"]
) -> tuple[Float[Array, "*b c"], Bool[Array, "*b"]]:
    """Samples a map at (x, y) in its own cells, by the valid ones of the four around each point.

    Returns the samples, 0 where no valid cell carries weight, and whether one does.
    """
    flat, flat_mask = image.reshape(mask.size, -1), mask.reshape(-1)
    total = jnp.zeros((*points.shape[:-1], flat.shape[-1]), jnp.float32)
    weight = jnp.zeros(points.shape[:-1], jnp.float32)
    for index, inside, share in _four_about(points, mask.shape):
        share = jnp.where(inside & flat_mask[index], share, 0.0)
        total += share[..., None] * flat[index].astype(jnp.float32)
        weight += share
    valid = weight > 1e-6
    return jnp.where(valid[..., None], total / jnp.where(valid, weight, 1.0)[..., None], 0), valid


def _four_about(points: Float[Array, "*b 2"], grid: tuple[int, int]):
    """The four cells about each point, which is in cells: index (0 outside the grid), whether it is
    inside, and bilinear weight."""
    height, width = grid
    points = jnp.clip(points, -2.0, float(max(height, width) + 1))
    corner = jnp.floor(points)
    fraction = points - corner
    corner = corner.astype(jnp.int32)
    for dy in (0, 1):
        for dx in (0, 1):
            x, y = corner[..., 0] + dx, corner[..., 1] + dy
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            share = jnp.abs(1 - dx - fraction[..., 0]) * jnp.abs(1 - dy - fraction[..., 1])
            yield jnp.where(inside, y * width + x, 0), inside, share


def cells_around(
    points: Float[Array, "k 2"], mask: Bool[Array, "h w"], stride: int
) -> tuple[Int[Array, "k 4"], Float[Array, "k 4"]]:
    """The up to four valid cells about each point, pixels, and their bilinear weights, whose sum
    is 1; -1 and 0 for what is none, also where less than half of the weight lies on valid cells."""
    cells, weights = [], []
    for cell, inside, share in _four_about(points / stride, mask.shape):
        valid = inside & mask.reshape(-1)[cell] & (share > _LEAST)
        cells.append(jnp.where(valid, cell, -1))
        weights.append(jnp.where(valid, share, 0.0))
    cells, weights = jnp.stack(cells, axis=-1), jnp.stack(weights, axis=-1)
    total = weights.sum(axis=-1, keepdims=True)
    enough = total > 0.5
    return jnp.where(enough, cells, -1), jnp.where(enough, weights / jnp.maximum(total, 0.5), 0.0)
