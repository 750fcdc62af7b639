"""Keypoints of the caller's own: a row each, in their order, wherever they lie."""

import jax.extend
import numpy as np
import pytest
from pictures import darker, picture

import astr_jax
from astr_jax.matching import Matcher, MatchOptions
from astr_jax.params import Calibration, Params, fold_params

RESIZE = 128


@pytest.fixture(scope="module")
def params(nano_config, nano_variables):
    return fold_params(Params(nano_variables, nano_config, Calibration(threshold=0.0)))


@pytest.fixture(scope="module")
def images():
    image = picture(192, 256)
    return image, darker(image)


def find(params, images, **options):
    return astr_jax.match(params, *images, resize=RESIZE, **options)


@pytest.mark.parametrize("estimator", ["none", "affine"])
def test_the_centre_of_a_cell_is_found_where_the_match_of_the_cell_is(params, images, estimator):
    """Images twice as large as they are matched. Fails where points are not shrunk, or scaled back,
    and where the ratio is not that of the place."""
    matches = find(params, images, estimator=estimator, polish="all").compact()
    order = np.random.default_rng(0).permutation(len(matches))
    found = find(params, images, estimator=estimator, keypoints0=matches.keypoints0[order])
    assert len(matches) > 20
    assert found.valid.all()
    np.testing.assert_array_equal(found.cell0, matches.cell0[order])
    np.testing.assert_array_equal(found.cell1, matches.cell1[order])
    np.testing.assert_allclose(found.keypoints0, matches.keypoints0[order], atol=1e-3)
    # Polishing stops where a step is small, so that rounding moves it by a little.
    np.testing.assert_allclose(found.keypoints1, matches.keypoints1[order], atol=5e-2)
    np.testing.assert_allclose(found.confidence, matches.confidence[order], rtol=1e-4)
    np.testing.assert_allclose(found.sigma, matches.sigma[order], rtol=5e-2, atol=1e-3)


def test_points_between_cells_keep_their_place_and_start_beside_the_centre(params, images):
    matches = find(params, images, estimator="none").compact()
    beside = np.array([3.0, -2.5])
    moved = find(params, images, estimator="none", keypoints0=matches.keypoints0 + beside)
    np.testing.assert_allclose(moved.keypoints0, matches.keypoints0 + beside, atol=1e-3)
    np.testing.assert_array_equal(moved.cell0, matches.cell0)
    # A step reaches 16 px of the images as given: the start is what is moved alike.
    assert np.median(np.abs(moved.keypoints1 - matches.keypoints1 - beside)) < 12


def test_points_outside_and_unsure_ones_are_not_valid(params, images):
    points = np.array([[100.0, 100], [-50, 100], [300, 20]])
    found = find(params, images, keypoints0=points)
    assert found.valid.tolist() == [True, False, False]
    assert (found.cell0[1:] == -1).all()
    assert not find(params, images, keypoints0=points, threshold=0.999999).valid.any()


def test_another_number_of_points_compiles_nothing(params, images):
    """Programs that pile up with every number are a leak. Fails where JAX cuts the rows."""
    points = np.random.default_rng(0).uniform(0, 190, (20, 2))
    find(params, images, keypoints0=points[:7])
    before = len(jax.extend.backend.get_backend().live_executables())
    for k in (1, 8, 19):
        assert len(find(params, images, keypoints0=points[:k]).valid) == k
    assert len(jax.extend.backend.get_backend().live_executables()) == before


def test_no_points_give_no_rows(params, images):
    assert len(find(params, images, keypoints0=np.zeros((0, 2)))) == 0


def test_each_pair_of_a_batch_has_points_of_its_own(params, images):
    batch = [np.stack([image] * 2) for image in images]
    points = np.random.default_rng(1).uniform(30, 160, (2, 5, 2))
    both = find(params, batch, keypoints0=points)
    one = find(params, images, keypoints0=points[1])
    np.testing.assert_allclose(both.keypoints1[1], one.keypoints1, atol=1e-2)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (np.zeros((4, 3)), r"\[k 2\]; got \(4, 3\)"),
        (np.zeros((1, 4, 2)), r"\[k 2\]; got"),
        (np.full((4, 2), np.nan), "must be finite"),
    ],
)
def test_points_that_are_none_are_refused(params, images, points, words):
    with pytest.raises(ValueError, match=words):
        find(params, images, keypoints0=points)


def test_turned_images_keep_the_points_of_image_0(params, images):
    matcher = Matcher(params, MatchOptions(resize=RESIZE, upright=False))
    image0, image1 = map(matcher.encode, images)
    points = np.array([[100.0, 90.5], [60.25, 130]])
    found = matcher.match(image0, image1, keypoints0=points)
    np.testing.assert_allclose(found.keypoints0[found.valid], points[found.valid], atol=1e-3)
