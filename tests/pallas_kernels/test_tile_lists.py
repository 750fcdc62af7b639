"""Tiles of 8 x 8 cells: cutting, which tiles are active, and the bits of the keys in a window."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import SHAPES, random_spots
from references import seen_by_spots

from pallas_kernels.sparse_attention import Spots, pallas_tiles, tile_lists
from pallas_kernels.sparse_attention.tile_lists import FAR

EVERY = pytest.mark.parametrize("shape", SHAPES, ids=str)
tile_index = jax.jit(tile_lists.tile_index)
GRIDS = [(1, 1), (8, 8), (3, 17), (16, 9)]


@jax.jit
def active_tiles(spots):
    """Which tiles of keys each tile of queries looks at."""
    return tile_lists.active_tiles(tile_lists.window_origins(spots), spots)


def place(y, x, grid):
    """(tile, place in the tile) of a cell."""
    columns = -(-grid[1] // 8)
    return y // 8 * columns + x // 8, y % 8 * 8 + x % 8


def tiled(seen, grid0, grid1):
    """A mask [n m] as [t0 t1 64 64], cell by cell."""
    tiles = [np.prod(tile_lists.tile_grid(grid)) for grid in (grid0, grid1)]
    out = np.zeros((*tiles, 64, 64), bool)
    for query, key in np.argwhere(seen):
        tile0, place0 = place(*divmod(query, grid0[1]), grid0)
        tile1, place1 = place(*divmod(key, grid1[1]), grid1)
        out[tile0, tile1, place0, place1] = True
    return out


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_cells_go_to_their_tiles_and_come_back(grid):
    height, width = grid
    x = np.arange(1, height * width * 3 + 1).reshape(-1, 3)
    tiles = tile_lists.to_tiles(jnp.asarray(x), grid, fill=-5)
    assert tiles.shape == (np.prod(tile_lists.tile_grid(grid)), 64, 3)
    for y, column in np.ndindex(grid):
        np.testing.assert_array_equal(tiles[place(y, column, grid)], x[y * width + column])
    assert (np.asarray(tiles) == -5).sum() == tiles.size - x.size
    np.testing.assert_array_equal(tile_lists.from_tiles(tiles, grid), x)


@EVERY
@pytest.mark.parametrize("missing", [0.3, 0.95])
def test_active_tiles_hold_a_cell_of_a_window(shape, missing):
    spots = random_spots(shape, seed=0, missing=missing, masked=0.0)
    active = active_tiles(spots)
    expected = tiled(seen_by_spots(spots), shape.grid0, shape.grid1).any(axis=(2, 3))
    np.testing.assert_array_equal(active, expected)


def test_a_window_wider_than_a_tile_keeps_the_tiles_in_its_middle():
    # 11 cells from 7 to 17: the last one of a tile, a whole tile, and two of the next.
    spots = Spots(
        jnp.array([[12 * 24 + 12]]), jnp.ones(1, bool), jnp.ones(576, bool), (1, 1), (24, 24), 11
    )
    np.testing.assert_array_equal(active_tiles(spots), np.ones((1, 9), bool))


@EVERY
def test_the_bits_of_seen_keys_agree_with_plain_windows(shape):
    spots = random_spots(shape, seed=1)
    index, seen = tile_index(spots), pallas_tiles.seen_by(spots)
    expected = tiled(seen_by_spots(spots), shape.grid0, shape.grid1)
    actual = jax.jit(
        lambda t0, t1: jax.vmap(lambda *t: seen(index.origins, index.words, *t))(t0, t1)
    )(*np.divmod(np.arange(np.prod(expected.shape[:2])), expected.shape[1]))
    np.testing.assert_array_equal(actual, expected.reshape(-1, 64, 64))
    assert expected.any()


@pytest.mark.parametrize("window", [1, 3, 5, 7, 9, 11])
def test_covered_sets_the_bits_of_a_window_in_a_tile(window):
    first = np.array([*range(-30, 30), FAR, FAR - 8 * 100, -FAR], np.int32)
    bits = np.asarray(pallas_tiles.covered(jnp.asarray(first), window))
    for f, b in zip(first, bits, strict=True):
        assert b == sum(1 << c for c in range(8) if f <= c < f + window)


def test_the_words_of_a_tile_have_a_bit_for_every_valid_cell(rng):
    grid = (9, 13)
    valid = rng.random(9 * 13) < 0.6
    words = np.asarray(tile_lists.valid_words(jnp.asarray(valid), grid)).astype(np.uint32)
    expected = np.zeros((4, 2), np.uint32)
    for cell in np.flatnonzero(valid):
        tile, number = place(*divmod(int(cell), 13), grid)
        expected[tile, number // 32] |= np.uint32(1) << np.uint32(number % 32)
    np.testing.assert_array_equal(words, expected)


def test_active_tiles_are_listed_first_and_in_order(rng):
    active = rng.random((6, 9)) < 0.4
    active[2] = False
    count, order = tile_lists.listed(jnp.asarray(active))
    for row, number, columns in zip(active, count, order, strict=True):
        assert list(columns[:number]) == list(np.flatnonzero(row))


@EVERY
def test_the_index_holds_the_active_pairs_of_tiles_in_both_directions(shape):
    spots = random_spots(shape, seed=2)
    index, active = tile_index(spots), np.asarray(active_tiles(spots))
    of_queries = {(t, int(u)) for t, n in enumerate(index.num_keys) for u in index.keys[t, :n]}
    of_keys = {(int(t), u) for u, n in enumerate(index.num_queries) for t in index.queries[u, :n]}
    assert of_queries == of_keys == set(map(tuple, np.argwhere(active).tolist()))
