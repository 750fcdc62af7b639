"""Windows and spots against plain loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import SHAPES, random_spots
from references import seen_by_lists, seen_by_spots

from pallas_kernels.sparse_attention import union_of_windows, window_cells


def plain_window(centre, grid, window):
    """The cells of the window, one by one."""
    height, width = grid
    if centre < 0:
        return []
    y, x = divmod(centre, width)
    reach = window // 2
    return [
        v * width + u
        for v in range(y - reach, y + reach + 1)
        for u in range(x - reach, x + reach + 1)
        if 0 <= v < height and 0 <= u < width
    ]


def test_window_at_the_corner_keeps_only_the_inside():
    #  0  1  2  3
    #  4  5  6  7      the 3x3 window of cell 0 has 4 cells on a 4-wide grid
    cells = window_cells(jnp.array([0]), grid=(2, 4), window=3)
    np.testing.assert_array_equal(cells, [[-1, -1, -1, -1, 0, 1, -1, 4, 5]])


@pytest.mark.parametrize("window", [1, 3, 5, 11])
def test_windows_agree_with_a_plain_loop(window):
    grid = (4, 6)
    centres = np.arange(-1, 24)
    listed = np.asarray(window_cells(jnp.asarray(centres), grid=grid, window=window))
    assert listed.shape == (25, window**2)
    for centre, row in zip(centres, listed, strict=True):
        assert list(row[row >= 0]) == plain_window(centre, grid, window)


@pytest.mark.parametrize("seed", range(3))
def test_the_union_of_windows_lists_every_cell_once(seed):
    grid, rng = (6, 7), np.random.default_rng(seed)
    centres = rng.integers(-1, 42, (60, 5))
    centres[:4] = [[-1] * 5, [3] * 5, [0, 1, 7, 8, -1], [41, -1, 41, -1, 40]]
    union = jax.jit(functools.partial(union_of_windows, grid=grid, window=5))
    for row, where in zip(np.asarray(union(jnp.asarray(centres))), centres, strict=True):
        expected = {cell for centre in where for cell in plain_window(centre, grid, 5)}
        assert len(row) == 125
        assert sorted(row[row >= 0]) == sorted(expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_spots_as_lists_name_every_key_that_may_be_seen_once(shape):
    spots = random_spots(shape, seed=0)
    lists = jax.jit(lambda spots: spots.lists())(spots)
    seen = seen_by_spots(spots)
    assert lists.num_keys == seen.shape[1]
    assert lists.cells.shape == (seen.shape[0], shape.windows * shape.window**2)
    np.testing.assert_array_equal((lists.cells >= 0).sum(axis=1), seen.sum(axis=1))
    np.testing.assert_array_equal(seen_by_lists(lists.cells, lists.num_keys), seen)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_spot_holds_the_keys_of_its_windows_alone(shape):
    spots = random_spots(shape, seed=1)
    seen = seen_by_spots(spots)
    query, key = np.divmod(np.arange(seen.size), seen.shape[1])
    held = jax.jit(lambda spots, *pair: spots.holds(*pair))(spots, query, key)
    np.testing.assert_array_equal(held.reshape(seen.shape), seen)
