"""Histograms of confidence and sigma against counts made by hand."""

import numpy as np
import pytest

from astr_jax.evaluation.scores.calibration import (
    SIGMA_EDGES,
    confidence_histogram,
    expected_calibration_error,
    median_errors,
    pooled,
    sigma_factor,
    sigma_histogram,
)
from astr_jax.evaluation.scores.homographies import HOMOGRAPHY
from astr_jax.evaluation.scores.kinds import KINDS
from astr_jax.evaluation.scores.poses import POSE


def test_matches_are_counted_in_the_bin_of_their_confidence():
    confidence = np.array([0.0, 0.05, 0.1, 0.95, 1.0])
    bins = confidence_histogram(confidence, np.array([True, False, True, True, False]))
    assert bins["matches"] == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert bins["right"] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert bins["claimed"] == pytest.approx([0.05, 0.1, 0, 0, 0, 0, 0, 0, 0, 1.95])


def test_the_expected_calibration_error_is_the_mean_gap_over_matches():
    # Bin 0.2: three matches that claim 0.6 in all, one right. Bin 0.9: one, which is right.
    confidence, right = np.array([0.2, 0.2, 0.2, 0.9]), np.array([True, False, False, True])
    total = pooled([confidence_histogram(confidence, right)])
    assert expected_calibration_error(total) == pytest.approx((0.4 + 0.1) / 4)


def test_a_score_that_is_no_probability_has_no_histogram():
    assert confidence_histogram(np.array([0.5, 7.0]), np.array([True, True])) is None
    assert sigma_histogram(np.array([-1.0]), np.array([0.0])) is None
    assert sigma_histogram(np.array([np.nan]), np.array([0.0])) is None


def drawn_errors(rng, kind, sigma):
    """The true errors of matches whose points in image 1 are off by sigma on either axis."""
    if kind == HOMOGRAPHY:
        return np.linalg.norm(rng.normal(0, 1, (len(sigma), 2)) * sigma[:, None], axis=1)
    return np.abs(rng.normal(0, 1, sigma.shape)) * sigma / np.sqrt(2)


def with_wrong_ones(rng, error, share):
    """Some matches lie anywhere: up to 400 px away."""
    return np.where(rng.random(error.shape) < share, rng.uniform(0, 400, error.shape), error)


SIGMAS = {
    "from 0.2 to 7 px": lambda rng, k: np.exp(rng.uniform(np.log(0.2), np.log(7), k)),
    "all 6 px": lambda rng, k: np.full(k, 6.0),
    "all 1 px": lambda rng, k: np.full(k, 1.0),
}


@pytest.mark.parametrize("sigmas", SIGMAS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("true", [0.25, 0.5, 1.0, 1.5])
def test_the_factor_that_sigma_lacks_is_found_among_wrong_matches(rng, kind, sigmas, true):
    sigma = SIGMAS[sigmas](rng, 20_000)
    error = with_wrong_ones(rng, drawn_errors(rng, kind, true * sigma), 0.3)
    histogram = pooled([sigma_histogram(sigma, error)])
    assert sigma_factor(histogram, kind.median_of_sigma_1) == pytest.approx(true, rel=0.1)


def test_medians_of_every_bin_are_those_of_the_matches(rng):
    sigma = rng.choice([0.6, 2.5], 20_000)
    error = with_wrong_ones(rng, drawn_errors(rng, HOMOGRAPHY, sigma), 0.2)
    found, median, near = median_errors(pooled([sigma_histogram(sigma, error)]))
    kept = error < 24
    assert found == pytest.approx([0.6, 2.5])
    assert median == pytest.approx([np.median(error[kept & (sigma == s)]) for s in found], rel=0.03)
    assert near.tolist() == [np.sum(kept & (sigma == s)) for s in found]


def test_every_match_is_counted_by_its_sigma_and_its_error():
    sigma = np.array([0.0, 1.0, 1.2, 100.0, 100.0, 5.0])
    error = np.array([0.01, 1.0, 23.0, np.inf, np.nan, 24.0])
    bins = sigma_histogram(sigma, error)
    counts = np.array(bins["counts"])
    edges = SIGMA_EDGES.tolist()
    one, five, last = edges.index(1), edges.index(4), len(edges) - 2
    where = {(0, 0): 1, (one, one): 1, (one, edges.index(16)): 1, (last, last): 2, (five, last): 1}
    assert {tuple(cell): counts[tuple(cell)] for cell in np.argwhere(counts)} == where
    assert bins["sigma"][one] == pytest.approx(2.2)
    assert bins["sigma"][last] == 200.0


def test_histograms_of_sigma_add_up_to_that_of_all_matches(rng):
    sigma, error = rng.uniform(0, 30, 500), rng.uniform(0, 50, 500)
    parts = [sigma_histogram(sigma[part], error[part]) for part in np.split(np.arange(500), 5)]
    total, whole = pooled([*parts, None]), sigma_histogram(sigma, error)
    np.testing.assert_array_equal(total["counts"], whole["counts"])
    np.testing.assert_allclose(total["sigma"], whole["sigma"], atol=1e-5)
    assert pooled([None]) is None


def test_sigmas_that_no_match_can_judge_have_no_factor():
    for sigma, error in ((1.0, np.inf), (100.0, 1.0), (0.0, 0.0)):
        histogram = pooled([sigma_histogram(np.array([sigma]), np.array([error]))])
        assert sigma_factor(histogram, POSE.median_of_sigma_1) is None


def test_histograms_of_pairs_add_up_and_missing_ones_are_skipped():
    one = confidence_histogram(np.array([0.35]), np.array([True]))
    total = pooled([one, None, one])
    assert total["matches"][3] == total["right"][3] == 2
    assert pooled([None]) is None


def test_no_matches_make_an_empty_histogram():
    empty = confidence_histogram(np.zeros(0), np.zeros(0, bool))
    assert sum(empty["matches"]) == 0
    assert expected_calibration_error(pooled([empty])) == 0.0
