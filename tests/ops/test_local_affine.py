import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.ops.local_affine import (
    MatchGrid,
    is_mild,
    local_affine,
    local_magnification,
    lower_median,
)

GRID = (60, 80)


def cells_of(share, seed=0):
    """Centres of a share of the cells of a grid, in any order."""
    rng = np.random.default_rng(seed)
    y, x = np.nonzero(rng.random(GRID) < share)
    return rng.permutation(8.0 * np.stack([x, y], axis=-1)).astype(np.float32)


def found(points, valid=None):
    valid = np.ones(len(points), bool) if valid is None else valid
    rows, near = MatchGrid.of(points, valid, grid=GRID, cell=8).about(points)
    return np.asarray(rows).T, np.asarray(near).T  # [k s]


def test_where_matches_lie_dense_neighbours_are_the_nearest_ones():
    points = cells_of(1.0)
    rows, near = found(points)
    away = np.linalg.norm(points[:, None] - points[None], axis=-1) / 8
    inside = ((points >= 32) & (points < [608, 448])).all(axis=1)  # no part of the disc is outside
    for k in np.flatnonzero(inside):
        assert set(rows[k][near[k]]) == set(np.flatnonzero(away[k] ** 2 <= 20))
    assert near.sum(axis=1).min() >= 20  # in the corners, by larger blocks


@pytest.mark.parametrize(("share", "least"), [(0.5, 30), (0.1, 15)])
def test_where_they_lie_thin_neighbours_are_further_away(share, least):
    points = cells_of(share)
    rows, near = found(points)
    inside = (np.abs(points - [320, 240]) < [220, 140]).all(axis=1)
    assert near[inside].sum(axis=1).min() >= least
    away = np.linalg.norm(points[rows] - points[:, None], axis=-1)
    assert away[near].max() <= 96
    assert away[near].max() > 36
    for k in range(len(points)):
        assert len(set(rows[k][near[k]])) == near[k].sum()  # each once


def test_matches_that_are_not_valid_are_nobodys_neighbours():
    points = cells_of(0.6)
    valid = np.arange(len(points)) % 2 == 0
    rows, near = found(points, valid)
    assert valid[rows[near]].all()


def test_memory_grows_with_the_matches_not_with_their_square():
    k = 4096

    def magnification(points0, points1, valid):
        matches = MatchGrid.of(points0, valid, grid=GRID, cell=8)
        return local_magnification(points0, points1, valid, matches)

    points = jax.ShapeDtypeStruct((k, 2), jnp.float32)
    given = points, points, jax.ShapeDtypeStruct((k,), bool)
    compiled = jax.jit(magnification).lower(*given).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < k * k * 4 / 4


def test_near_a_step_of_the_field_each_side_keeps_its_own_magnification():
    points0 = cells_of(1.0)
    far = points0[:, :1] < 320
    points1 = jnp.asarray(np.where(far, points0, 1.5 * points0 + [40, 0]), jnp.float32)
    valid = jnp.ones(len(points0), bool)
    matches = MatchGrid.of(points0, valid, grid=GRID, cell=8)
    ratio = np.asarray(local_magnification(jnp.asarray(points0), points1, valid, matches))
    beyond = np.abs(points0[:, 0] - 320) > 16
    truth = np.where(far[:, 0], 1.0, 1.5)
    right = np.abs(ratio / truth - 1) < 0.02
    assert right[beyond].mean() > 0.99  # all but some at the borders


@pytest.mark.parametrize("marked", [1.0, 0.5, 0.0])
def test_the_median_is_the_lower_one_of_the_marked_values(rng, marked):
    values = (10 ** rng.uniform(-6, 6, (69, 200))).astype(np.float32)
    mask = rng.random(values.shape) < marked
    ordered = np.sort(np.where(mask, values, np.inf), axis=0)
    middle = (np.maximum(mask.sum(axis=0), 1) - 1) // 2
    expected = np.where(mask.any(axis=0), ordered[middle, np.arange(200)], 0.0)
    np.testing.assert_array_equal(lower_median(values, mask), expected)
    rounded = lower_median(values, mask, bits=14)
    np.testing.assert_allclose(rounded, expected, rtol=2.0**-6)
    assert (np.asarray(rounded) <= expected).all()


def test_no_match_but_the_valid_ones_is_fitted():
    points0 = jnp.asarray(cells_of(1.0))
    for count in (0, 10, 300):
        valid = jnp.arange(len(points0)) < count
        matches = MatchGrid.of(points0, valid, grid=GRID, cell=8)
        affine, known = map(np.asarray, local_affine(points0, 2 * points0, valid, matches))
        fitted = -(-count // 256) * 256  # by chunks
        assert known.sum() == 0 if count < 100 else known[:count].mean() > 0.5
        expected = np.tile(2 * np.eye(2), (known.sum(), 1, 1))
        np.testing.assert_allclose(affine[known], expected, atol=1e-4)
        np.testing.assert_array_equal(affine[fitted:], 0.0)
        assert not known[fitted:].any()


def test_mild_maps_neither_mirror_nor_magnify_too_much():
    turned = np.array([[0.0, -1.5], [1.5, 0.0]])
    maps = [np.eye(2), turned, np.diag([1.0, -1.0]), np.diag([6.0, 1.0]), np.diag([1.0, 0.1])]
    assert is_mild(np.float32(maps)).tolist() == [True, True, False, False, False]
