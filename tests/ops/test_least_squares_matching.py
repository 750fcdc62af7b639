"""Least-squares matching finds a known affine map, and knows where it cannot."""

import cv2
import jax
import numpy as np
import pytest

from astr_jax.ops.least_squares_matching import FARTHEST, fit_patches, usable_about

SIZE = (200, 240)
AFFINE = np.array([[1.1, 0.25], [-0.2, 0.9]], np.float32)
MOVE = np.array([10.3, 40.7], np.float32)
fit = jax.jit(fit_patches)


@pytest.fixture(scope="module")
def texture():
    noise = np.random.default_rng(0).random(SIZE).astype(np.float32)
    image = cv2.GaussianBlur(noise, (0, 0), 2)
    return (image - image.min()) / (image.max() - image.min())


@pytest.fixture(scope="module")
def points0():
    return np.random.default_rng(1).uniform(40, 140, (128, 2)).astype(np.float32)


def warped(image, affine=AFFINE, move=MOVE):
    matrix = np.concatenate([affine, move[:, None]], axis=1)
    return cv2.warpAffine(image, matrix, SIZE[::-1], flags=cv2.INTER_CUBIC)


def fitted(image0, image1, points0, points1, affine=AFFINE, *, mask0=None, mask1=None):
    """Of all points at once, each from the same affine map."""
    masks = [np.ones(SIZE, bool) if mask is None else mask for mask in (mask0, mask1)]
    affine = np.tile(affine, (len(points0), 1, 1))
    found = fit(image0, image1, *masks, points0, points1, affine, np.ones(len(points0), bool))
    return jax.tree.map(np.asarray, found)


def test_it_finds_an_affine_map_under_another_light(texture, points0, rng):
    true = points0 @ AFFINE.T + MOVE
    estimate = true + rng.normal(0, 0.8, true.shape).astype(np.float32)
    about = AFFINE + rng.normal(0, 0.05, (2, 2)).astype(np.float32)
    found = fitted(texture, 0.6 * warped(texture) + 0.3, points0, estimate, about)
    assert found.settled.mean() > 0.95
    error = np.linalg.norm(found.points1 - true, axis=1)[found.settled]
    assert np.median(error) < 0.03
    assert error.max() < 0.2


@pytest.mark.parametrize("zoom", [0.5, 2.0])
def test_it_holds_where_either_image_shows_more(texture, points0, zoom):
    """The samples lie a pixel apart in the picture that shows less."""
    affine, move = np.float32(zoom * np.eye(2)), np.float32([5.25, 3.5])
    points0 = points0 / 2 + 20 if zoom > 1 else points0
    true = points0 * zoom + move
    found = fitted(texture, warped(texture, affine, move), points0, true + 0.7, affine)
    inside = ((true > 25) & (true < np.array(SIZE[::-1]) - 25)).all(axis=1)
    assert found.settled[inside].mean() > 0.9
    error = np.linalg.norm(found.points1 - true, axis=1)[found.settled]
    assert np.median(error) < 0.1


@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_its_covariance_is_that_of_the_errors_under_sensor_noise(texture, points0, rng, noise):
    image0, image1 = (
        np.float32(image + rng.normal(0, noise, SIZE)) for image in (texture, warped(texture))
    )
    true = points0 @ AFFINE.T + MOVE
    found = fitted(image0, image1, points0, true + 0.5)
    covariance, errors = (x[found.settled] for x in (found.covariance, found.points1 - true))
    sigma = np.sqrt(np.trace(covariance, axis1=1, axis2=2) / 2)
    assert found.settled.mean() > 0.8
    assert 0.55 < (np.abs(errors) < sigma[:, None]).mean() < 0.8
    np.testing.assert_allclose(covariance, covariance.swapaxes(1, 2), rtol=1e-4)


def test_its_covariance_is_longest_along_a_stripe(points0, rng):
    """Weak texture along x, strong along y: x is known less well."""
    x, y = np.meshgrid(*(np.arange(n) for n in SIZE[::-1]))
    wave = 0.5 + 0.06 * np.sin(x / 2.5) + 0.2 * np.sin(y / 2)
    images = (np.float32(wave + rng.normal(0, 0.02, SIZE)) for _ in range(2))
    found = fitted(*images, points0, points0 + 0.2, np.eye(2, dtype=np.float32))
    assert found.settled.mean() > 0.8
    claimed = np.diagonal(found.covariance[found.settled], axis1=1, axis2=2).mean(axis=0)
    errors = ((found.points1 - points0)[found.settled] ** 2).mean(axis=0)
    assert claimed[0] > 2 * claimed[1]  # half of the shape
    assert errors[0] > 4 * errors[1]


def test_what_holds_on_to_nothing_stays_where_it_was(texture, points0):
    flat = np.full(SIZE, 0.5, np.float32)
    stripes = np.broadcast_to(texture[:1], SIZE)  # the same along every column
    other = texture[::-1, ::-1]
    for image0, image1 in ((flat, flat), (stripes, stripes), (texture, other)):
        found = fitted(image0, image1, points0, points0 + 0.5, np.eye(2, dtype=np.float32))
        assert found.settled.mean() < 0.05
        left = ~found.settled
        np.testing.assert_array_equal(found.points1[left], (points0 + np.float32(0.5))[left])
        np.testing.assert_array_equal(found.covariance[left], 0.0)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))


def test_nothing_settles_far_from_its_estimate(texture, points0, rng):
    true = points0 @ AFFINE.T + MOVE
    estimate = true + rng.normal(0, 3.0, true.shape).astype(np.float32)
    found = fitted(texture, warped(texture), points0, estimate)
    moved = np.linalg.norm(found.points1 - estimate, axis=1)
    assert moved.max() < FARTHEST * np.sqrt(np.linalg.det(AFFINE)) + 1e-3
    assert 0.2 < found.settled.mean() < 0.9


def test_patches_that_reach_what_is_not_usable_do_not_settle(texture, points0):
    """Whatever lies there, and in either image; those further away settle all the same."""
    mask = np.ones(SIZE, bool)
    mask[:90] = False
    same = np.eye(2, dtype=np.float32)
    for masks in ({"mask0": mask}, {"mask1": mask}):
        found = fitted(texture, texture, points0, points0 + 0.3, same, **masks)
        assert not found.settled[points0[:, 1] < 97].any()
        assert found.settled[points0[:, 1] > 110].mean() > 0.95


def test_what_a_mask_hides_has_no_influence(texture, points0):
    mask = np.ones(SIZE, bool)
    mask[:90] = False
    spoiled = np.where(mask, texture, 1.0)
    same = np.eye(2, dtype=np.float32)
    first, second = (
        fitted(image, image, points0, points0 + 0.3, same, mask0=mask, mask1=mask)
        for image in (texture, spoiled)
    )
    np.testing.assert_array_equal(first.points1, second.points1)


def test_a_square_is_usable_if_all_of_it_lies_in_the_mask():
    mask = np.ones((20, 30), bool)
    mask[10, 20] = False
    points = np.float32([[5, 5], [4.9, 5], [14, 5], [14.1, 5], [24, 14], [25, 15], [-40, 5]])
    usable = usable_about(mask, points, np.full(len(points), 5.0, np.float32))
    assert usable.tolist() == [True, False, True, False, False, False, False]
