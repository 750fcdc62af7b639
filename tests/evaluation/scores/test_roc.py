"""The area under an ROC, its interval, and what is found at a share of false ones."""

import numpy as np
import pytest

from astr_jax.evaluation.scores.roc import area_interval, roc_of


def test_the_area_is_the_chance_that_a_pair_of_one_place_has_more():
    rng = np.random.default_rng(0)
    values, same = 1.0 * rng.integers(0, 6, 60), rng.integers(0, 2, 60) > 0
    chances = [(a > b) + 0.5 * (a == b) for a in values[same] for b in values[~same]]
    roc = roc_of(values, same)
    assert roc.area == pytest.approx(np.mean(chances))
    assert roc_of(-values, same).area == pytest.approx(1 - roc.area)
    low, high = area_interval(values, same)
    assert low < roc.area < high
    with pytest.raises(ValueError, match="needs pairs of one place and"):
        roc_of(values, values < 9)


def test_what_is_found_allows_so_many_false_ones():
    same = np.arange(20) % 2 == 0
    values = np.where(same, 10.0, 0.0) + np.arange(20) % 5  # all of one place above all others
    roc = roc_of(values, same)
    assert (roc.area, roc.true_at(0.0)) == (1.0, 1.0)
    values[1] = 99  # one of the ten others is above all
    assert roc_of(values, same).true_at(0.0) == 0.0
    assert roc_of(values, same).true_at(0.1) == 1.0
