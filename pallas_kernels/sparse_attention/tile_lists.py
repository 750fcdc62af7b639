"""Cuts grids into tiles of 8 x 8 cells; finds which tiles of keys a tile of queries looks at."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int

from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention.windows import Grid, Spots

SIDE = 8  # cells; a tile has 64
CELLS = SIDE * SIDE
F32 = jnp.float32
FAR = 1 << 20  # the row and column of a window that does not exist


def tile_grid(grid: Grid) -> Grid:
    """Rows and columns of tiles that cover a grid."""
    return -(-grid[0] // SIDE), -(-grid[1] // SIDE)


def to_tiles(x: Array, grid: Grid, fill=0) -> Array:
    """[h*w ...] -> [tiles 64 ...], `fill` beyond the border."""
    (height, width), (rows, columns) = grid, tile_grid(grid)
    x = x.reshape(height, width, *x.shape[1:])
    more = (0, rows * SIDE - height), (0, columns * SIDE - width)
    x = jnp.pad(x, (*more, *((0, 0),) * (x.ndim - 2)), constant_values=fill)
    x = x.reshape(rows, SIDE, columns, SIDE, *x.shape[2:])
    return jnp.moveaxis(x, 2, 1).reshape(rows * columns, CELLS, *x.shape[4:])


def from_tiles(x: Array, grid: Grid) -> Array:
    """[tiles 64 ...] -> [h*w ...]."""
    (height, width), (rows, columns) = grid, tile_grid(grid)
    x = x.reshape(rows, columns, SIDE, SIDE, *x.shape[2:])
    x = jnp.moveaxis(x, 2, 1).reshape(rows * SIDE, columns * SIDE, *x.shape[4:])
    return x[:height, :width].reshape(height * width, *x.shape[2:])


def window_origins(spots: Spots) -> Int[Array, "tiles k2 64"]:
    """First row, then first column, of every window of every query; FAR where there is none."""
    centres = spots.used_centres()
    width, reach = spots.grid1[1], spots.window // 2
    origins = jnp.stack([centres // width, centres % width], axis=-1) - reach
    origins = jnp.where(centres[..., None] >= 0, origins, FAR).reshape(len(centres), -1)
    return to_tiles(origins, spots.grid0, FAR).swapaxes(1, 2)


def valid_words(valid: Bool[Array, " m"], grid: Grid) -> Int[Array, "tiles 2"]:
    """The cells of each tile as bits: 8 y + x of the upper four rows, and of the lower four."""
    bits = to_tiles(valid, grid, False).reshape(-1, 2, 32).astype(jnp.uint32)
    words = jnp.sum(bits << jnp.arange(32, dtype=jnp.uint32)[None, None], axis=-1, dtype=jnp.uint32)
    return jax.lax.bitcast_convert_type(words, jnp.int32)


def active_tiles(origins: Int[Array, "t0 k2 64"], spots: Spots) -> Bool[Array, "t0 t1"]:
    """Which tiles of keys hold a cell of a window of each tile of queries."""
    rows, columns = tile_grid(spots.grid1)
    y, x = origins[:, 0::2], origins[:, 1::2]  # [t0 k 64]
    last = spots.window - 1
    active = jnp.zeros((len(origins), rows * columns), bool)
    number = jnp.broadcast_to(jnp.arange(len(origins))[:, None, None], y.shape)
    steps = (*range(0, last, SIDE), last)  # a window is wider than a tile or not
    for dy in steps:
        for dx in steps:
            row = jnp.clip(y + dy, 0, spots.grid1[0] - 1) // SIDE
            column = jnp.clip(x + dx, 0, spots.grid1[1] - 1) // SIDE
            tile = jnp.where(y < FAR, row * columns + column, rows * columns)  # beyond: dropped
            active = active.at[number, tile].set(True, mode="drop")
    return active


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TileIndex:
    """Which pairs of tiles and which of their pairs of cells count; k windows a query."""

    origins: Int[Array, "t0 k2 64"]
    words: Int[Array, "t1 2"]  # valid keys of each tile of keys
    num_keys: Int[Array, " t0"]  # active tiles of keys of each tile of queries
    keys: Int[Array, "t0 t1"]  # which ones, the first num_keys of a row
    num_queries: Int[Array, " t1"]  # and the other way round
    queries: Int[Array, "t1 t0"]


def tile_index(spots: Spots) -> TileIndex:
    """Prepares the spots for the kernels."""
    origins = window_origins(spots)
    active = active_tiles(origins, spots)
    words = valid_words(spots.valid1, spots.grid1)
    return TileIndex(origins, words, *listed(active), *listed(active.T))


def listed(active: Bool[Array, "t u"]) -> tuple[Int[Array, " t"], Int[Array, "t u"]]:
    """How many are True in each row, and their columns, the first ones of the row."""
    order = jnp.argsort(~active, axis=1, stable=True)
    return active.sum(axis=1, dtype=jnp.int32), order.astype(jnp.int32)
