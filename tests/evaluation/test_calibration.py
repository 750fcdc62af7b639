"""Histograms of confidence and sigma against counts made by hand."""

import numpy as np
import pytest

from astr_jax.evaluation.calibration import (
    confidence_histogram,
    expected_calibration_error,
    pooled,
    sigma_histogram,
)


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
    assert sigma_histogram(np.array([-1.0]), np.array([0.0]), np.array([True])) is None


def test_a_sigma_that_is_true_gives_as_large_errors(rng):
    sigma = rng.choice([0.6, 2.5], 20_000)
    errors = rng.normal(0, 1, sigma.shape) * sigma
    bins = sigma_histogram(sigma, errors**2, np.ones(sigma.shape, bool))
    for row in (2, 6):  # [0.5, 0.75) and [2, 3)
        assert bins["squares"][row] == pytest.approx(bins["claimed"][row], rel=0.05)


def test_wrong_matches_are_counted_but_not_summed():
    right = np.array([True, False])
    bins = sigma_histogram(np.array([1.0, 1.0]), np.array([0.25, np.inf]), right)
    row = bins["matches"].index(2)
    assert (bins["right"][row], bins["claimed"][row], bins["squares"][row]) == (1, 1.0, 0.25)


def test_histograms_of_pairs_add_up_and_missing_ones_are_skipped():
    one = confidence_histogram(np.array([0.35]), np.array([True]))
    total = pooled([one, None, one])
    assert total["matches"][3] == total["right"][3] == 2
    assert pooled([None]) is None


def test_no_matches_make_an_empty_histogram():
    empty = confidence_histogram(np.zeros(0), np.zeros(0, bool))
    assert sum(empty["matches"]) == 0
    assert expected_calibration_error(pooled([empty])) == 0.0
