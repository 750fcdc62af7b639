"""Covariances of matches: the measures know errors that are drawn from them."""

import argparse

import numpy as np
import pytest

from astr_jax.cli.eval.covariance import add_arguments, run, table_of
from astr_jax.data import cameras
from astr_jax.evaluation.studies.covariance import (
    RightMatches,
    gain_of_shape,
    mean_over,
    seen_again,
    variance_factor,
    within_sigma,
)


def drawn(rng, *, claimed=1.0, true=((4.0, 1.5), (1.5, 1.0)), k=400):
    """Matches with errors of one covariance that claim another: a factor of it, or a matrix."""
    true = np.asarray(true) / 100
    error = rng.multivariate_normal((0, 0), true, k)
    covariance = claimed * true if np.isscalar(claimed) else np.asarray(claimed) / 100
    return RightMatches(error=error, covariance=np.tile(covariance, (k, 1, 1)))


def test_errors_of_round_covariances_lie_within_sigma_as_often_as_normal_ones(rng):
    pairs = [drawn(rng, true=np.eye(2)) for _ in range(30)]
    value, low, high = mean_over(pairs, within_sigma)
    assert low < value < high
    assert value == pytest.approx(0.683, abs=0.01)
    assert variance_factor(pairs) == pytest.approx(1, abs=0.05)
    assert gain_of_shape(pairs[0]) == pytest.approx(0, abs=1e-9)


def test_a_covariance_too_small_is_known_by_its_factor(rng):
    pairs = [drawn(rng, claimed=0.25, true=np.eye(2)) for _ in range(30)]
    assert variance_factor(pairs) == pytest.approx(4, rel=0.05)


def test_the_true_shape_is_likelier_than_a_round_one_and_a_false_one_is_not(rng):
    true = [drawn(rng) for _ in range(10)]
    value, low, _ = mean_over(true, gain_of_shape)
    # Half the logarithm of the determinants' ratio, as the means of both squares are equal.
    assert value == pytest.approx(0.5 * np.log(2.5**2 / 1.75), abs=0.03)
    assert low > 0
    false = [drawn(rng, claimed=((1.0, -1.5), (-1.5, 4.0))) for _ in range(10)]
    assert mean_over(false, gain_of_shape)[2] < 0


def test_the_table_has_a_row_for_each_set_even_without_matches(rng):
    nothing = RightMatches(error=np.zeros((0, 2)), covariance=np.zeros((0, 2, 2)))
    assert table_of({"some": [drawn(rng), nothing], "none": [nothing]}).row_count == 2


def test_a_photograph_seen_again_lies_where_the_homography_says(make_images):
    photos = [np.uint8(255 * make_images(k, (1, 96, 128))[0, ..., 0]) for k in range(3)]
    drawn = list(seen_again(photos, seed=3))
    again = list(seen_again(photos, seed=3))
    for photo, (image0, image1, homography), same in zip(photos, drawn, again, strict=True):
        assert image0.shape == image1.shape == photo.shape
        np.testing.assert_array_equal(image1, same[1])
        assert 0 < np.abs(image0.astype(int) - photo).mean() < 2.5
        back = cameras.render(image1, np.linalg.inv(homography), photo.shape)
        both = cameras.inside_photo(np.linalg.inv(homography), photo.shape, photo.shape)
        alike = np.corrcoef(back[both], photo[both])[0, 1]
        aside = np.corrcoef(np.roll(back, 8, 1)[both], photo[both])[0, 1]
        assert alike > 0.85 > aside
    assert not np.array_equal(drawn[0][2], drawn[1][2])


def test_without_pairs_of_a_homography_it_says_what_to_give():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(ValueError, match="or --photos"):
        run(parser.parse_args([]))
