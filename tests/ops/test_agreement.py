import numpy as np
import pytest

from astr_jax.ops.agreement import agreement

GRID = (6, 8)
CELLS = np.arange(48)


def reference(cell0, cell1, weight):
    """Neighbour by neighbour."""
    rows = {int(cell): row for row, cell in enumerate(cell0) if cell >= 0}
    found = np.zeros(len(cell0))
    for cell, row in rows.items():
        y, x = divmod(cell, 8)
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            there = 0 <= y + dy < 6 and 0 <= x + dx < 8
            other = rows.get((y + dy) * 8 + x + dx) if there else None
            if other is not None:
                away = np.subtract(divmod(cell1[row], 10), divmod(cell1[other], 10))
                found[row] += weight[other] / 4 * (np.hypot(*away) <= 2.5)
    return found


def test_it_is_what_neighbours_say_one_by_one(rng):
    cell0 = np.r_[rng.permutation(CELLS)[:30], -1, -1]
    cell1 = rng.integers(0, 60, 32)
    weight = np.float32(rng.random(32) * (cell0 >= 0))
    found = agreement(cell0, cell1, weight, grid0=GRID, width1=10)
    expected = reference(cell0, cell1, weight)
    assert (expected > 0).any()
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("scale", [0.5, 1, 2])
def test_matches_of_one_motion_agree_wholly_within_the_grid(scale):
    y, x = np.divmod(CELLS, 8)
    cell1 = np.int32(30 * np.round(scale * y) + np.round(scale * x) + 65)
    found = agreement(CELLS, cell1, np.ones(48, np.float32), grid0=GRID, width1=30)
    np.testing.assert_array_equal(np.asarray(found).reshape(GRID)[1:-1, 1:-1], 1)


def test_matches_by_chance_hardly_agree(rng):
    cell1 = rng.integers(0, 1200, 48)
    found = agreement(CELLS, cell1, np.ones(48, np.float32), grid0=GRID, width1=40)
    assert np.mean(found) < 0.06
