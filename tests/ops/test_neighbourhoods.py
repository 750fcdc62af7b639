"""Confidence by neighbourhood, against plain loops over the whole matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.ops.matching import EMPTY, BestMatches, best_matches, dual_softmax
from astr_jax.ops.neighbourhoods import log_confidence_at, mutual_neighbours

GRID0, GRID1, C, TEMPERATURE = (4, 5), (3, 6), 6, 0.3
N, M = 20, 18


@pytest.fixture
def matrix(rng):
    """P with some masked cells, and the two softmaxes [n m] in float64."""
    f0, f1 = (rng.normal(size=(size, C)).astype(np.float32) for size in (N, M))
    mask0, mask1 = rng.random(N) < 0.85, rng.random(M) < 0.85
    given = map(jnp.asarray, (f0, f1, mask0, mask1))
    p = dual_softmax(*given, temperature=TEMPERATURE, block=7)
    weight = np.exp(f0.astype(float) @ f1.T / (C * TEMPERATURE)) * mask0[:, None] * mask1[None]
    row = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
    column = weight / np.maximum(weight.sum(axis=0, keepdims=True), 1e-300)
    return p, row, column


def near(cell, grid, reach):
    """The cells within reach of one, row by row."""
    height, width = grid
    y, x = divmod(cell, width)
    rows = range(max(0, y - reach), min(height, y + reach + 1))
    columns = range(max(0, x - reach), min(width, x + reach + 1))
    return [r * width + c for r in rows for c in columns]


@pytest.mark.parametrize("reach", [1, 2])
def test_the_confidence_is_the_mass_of_both_neighbourhoods(matrix, reach):
    """Fails where a neighbourhood goes around the edge of the grid into the next row."""
    p, row, column = matrix
    cell0, cell1 = (a.ravel() for a in np.mgrid[:N, :M])
    found = log_confidence_at(p, jnp.asarray(cell0), jnp.asarray(cell1), GRID0, GRID1, reach=reach)
    held = np.asarray(p.mask0)[cell0] & np.asarray(p.mask1)[cell1]
    for k in np.flatnonzero(held):
        i, j = cell0[k], cell1[k]
        masses = row[i, near(j, GRID1, reach)].sum(), column[near(i, GRID0, reach), j].sum()
        np.testing.assert_allclose(np.exp(found[k]), np.sqrt(np.prod(masses)), rtol=1e-4)
    assert held.sum() > 100


def test_a_reach_of_zero_is_the_paper(matrix):
    p, row, column = matrix
    cell0, cell1 = (a.ravel() for a in np.mgrid[:N, :M])
    found = log_confidence_at(p, jnp.asarray(cell0), jnp.asarray(cell1), GRID0, GRID1, reach=0)
    np.testing.assert_allclose(np.exp(found), (row * column).ravel(), rtol=1e-4, atol=1e-9)


def test_no_cell_has_no_confidence_and_a_finite_slope(matrix):
    p, *_ = matrix
    cells = jnp.array([-1, 3, 5]), jnp.array([2, -1, 7])

    def total(scaled0):
        moved = p.replace(scaled0=scaled0)
        return jnp.exp(log_confidence_at(moved, *cells, GRID0, GRID1, reach=1)).sum()

    assert (log_confidence_at(p, *cells, GRID0, GRID1, reach=1)[:2] <= EMPTY / 2).all()
    slope = jax.grad(total)(p.scaled0)
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0


@pytest.mark.parametrize("reach", [0, 1, 2])
def test_a_match_is_mutual_within_reach(rng, reach):
    """Fails where distance is counted in indices, which go around the edge of the grid."""
    cell0, cell1 = (rng.integers(-1, size, n).astype(np.int32) for size, n in ((M, N), (N, M)))
    best0, best1 = (BestMatches(jnp.asarray(c), jnp.zeros(c.shape)) for c in (cell0, cell1))
    found = np.asarray(mutual_neighbours(best0, best1, GRID0, reach=reach))
    expected = []
    for i, j in enumerate(cell0):
        back = cell1[j] if j >= 0 else -1
        near_enough = back >= 0 and back in near(i, GRID0, reach)
        expected.append(j if near_enough else -1)
    np.testing.assert_array_equal(found, expected)
    assert reach == 0 or (found >= 0).sum() > 0


def test_a_point_between_four_cells_stays_sure():
    """Every cell of image 0 is equally like the four cells to its right and below: P says 1/16,
    and nothing is mutual in the strict sense."""
    side = 6
    position = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)

    def code(xy):  # near places have like codes: a Gaussian of the distance, as a product
        knots = np.arange(-1, side + 1)
        bumps = np.exp(-((xy[..., None] - knots) ** 2) / 0.8)
        return (bumps[:, 0, :, None] * bumps[:, 1, None, :]).reshape(len(xy), -1)

    f0, f1 = code(position + 0.5).astype(np.float32), code(position.astype(float))
    f1 = f1.astype(np.float32)
    whole = jnp.ones(side * side, bool)
    p = dual_softmax(jnp.asarray(f0), jnp.asarray(f1), whole, whole, temperature=0.0004, block=64)
    grid = side, side
    inner = [r * side + c for r in range(1, side - 2) for c in range(1, side - 2)]
    cells = mutual_neighbours(*best_matches(p), grid, reach=1)
    log_confidence = log_confidence_at(p, jnp.arange(side * side), cells, grid, grid, reach=1)
    assert np.exp(np.asarray(log_confidence)[inner]).min() > 0.9
    alone = log_confidence_at(p, jnp.arange(side * side), cells, grid, grid, reach=0)
    assert np.exp(np.asarray(alone)[inner]).max() < 0.2
