"""Grey pictures between their pixels, at their edges, and smoothed where they are usable."""

import jax
import numpy as np
import pytest

from astr_jax.ops.sampling import places_in, sampled, smoothed, taken

sample = jax.jit(sampled)
take = jax.jit(lambda picture, x, y: taken(picture, places_in(picture, x, y)))


@pytest.fixture
def picture():
    return np.random.default_rng(0).random((7, 9)).astype(np.float32)


def test_samples_lie_between_four_pixels(picture):
    x, y = np.float32([0, 2.25, 7.5, 3]), np.float32([0, 4.75, 0.5, 5])
    column, row = x.astype(int), y.astype(int)
    p, q = x - column, y - row
    upper = picture[row, column] * (1 - p) + picture[row, column + 1] * p
    lower = picture[row + 1, column] * (1 - p) + picture[row + 1, column + 1] * p
    expected = upper * (1 - q) + lower * q
    np.testing.assert_allclose(sample(picture, x, y), expected, atol=1e-6)
    np.testing.assert_allclose(take(picture, x, y), expected, atol=1e-6)


def test_beyond_the_picture_lies_its_edge(picture):
    x, y = np.float32([-5, 20, 4, 1e9]), np.float32([3, 3, 40, -1e9])
    expected = picture[3, 0], picture[3, 8], picture[6, 4], picture[0, 8]
    np.testing.assert_allclose(sample(picture, x, y), expected, atol=2e-3)


def test_what_is_not_usable_does_not_smear(picture):
    mask = np.ones(picture.shape, bool)
    mask[:, 6:] = False
    found = smoothed(np.where(mask, 0.25, 9.0).astype(np.float32), mask, 1.0)
    np.testing.assert_allclose(np.asarray(found)[:, :6], 0.25, atol=1e-6)
