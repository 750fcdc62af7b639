"""Scores of drawn pairs are those of the pairs repeated, and pairs of a cluster stay together."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from astr_jax.evaluation.reports import bootstrap
from astr_jax.evaluation.reports.bootstrap import (
    draw_weights,
    number_clusters,
    weighted_auc,
    weighted_mean,
)
from astr_jax.evaluation.scores import metrics
from astr_jax.evaluation.scores.poses import POSE

ERRORS = st.one_of(st.floats(0, 50), st.sampled_from([0.0, 5.0, 10.0, 20.0, math.inf]))


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(ERRORS, st.integers(0, 4)), min_size=1, max_size=30))
def test_weighted_areas_are_those_of_the_errors_repeated(drawn):
    errors, weights = map(np.array, zip(*drawn, strict=True))
    assume(weights.any())
    (areas,) = weighted_auc(errors, POSE.thresholds, weights[None].astype(float))
    expected = metrics.error_auc(np.repeat(errors, weights), POSE.thresholds)
    np.testing.assert_allclose(areas, expected, rtol=0, atol=1e-9)


def test_every_row_of_weights_is_a_draw_of_its_own():
    rng = np.random.default_rng(1)
    errors = rng.exponential(8, 60).round(1)  # with ties
    errors[:9] = [math.inf, math.inf, 0, 0, 5, 5, 10, 20, 20]
    weights = rng.integers(0, 4, (200, 60))
    weights[:3] = 0
    weights[0, :2] = weights[1, 2:4] = weights[2, 4:6] = 1  # all failed, perfect, at a threshold
    areas = weighted_auc(errors, POSE.thresholds, weights.astype(float))
    expected = [metrics.error_auc(np.repeat(errors, w), POSE.thresholds) for w in weights]
    np.testing.assert_allclose(areas, expected, rtol=0, atol=1e-12)


def test_weighted_means_are_those_of_the_values_repeated():
    values = np.array([[0.0, 1.0], [0.5, 0.25], [1.0, 0.0]])
    means = weighted_mean(values, np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]]))
    np.testing.assert_allclose(means, [[1 / 3, 0.5], [1.0, 0.0]], atol=1e-12)


def test_pairs_without_a_cluster_stand_alone():
    names = ["", "hall", "", "attic", "hall"]
    np.testing.assert_array_equal(number_clusters(names), [0, 1, 2, 3, 1])


def test_all_pairs_of_a_drawn_cluster_come_along():
    clusters = number_clusters(["a", "", "b", "a", "a", "b"])
    (weights,) = draw_weights(clusters, 4000, np.random.default_rng(0))
    assert weights.shape == (4000, 6)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 3])
    np.testing.assert_array_equal(weights[:, 0], weights[:, 4])
    np.testing.assert_array_equal(weights[:, 2], weights[:, 5])
    by_cluster = weights[:, :3]  # one pair of each
    np.testing.assert_array_equal(by_cluster.sum(axis=1), 3)
    # Each of three draws takes a cluster with chance 1/3: mean 1, variance 3 * 1/3 * 2/3.
    np.testing.assert_allclose(by_cluster.mean(axis=0), 1, atol=0.05)
    np.testing.assert_allclose(by_cluster.var(axis=0), 2 / 3, atol=0.05)


def test_draws_in_blocks_are_those_of_one_piece(monkeypatch):
    clusters = number_clusters(["a", "a", *[""] * 8])
    (whole,) = draw_weights(clusters, 95, np.random.default_rng(3))
    monkeypatch.setattr(bootstrap, "BLOCK", 200)  # 20 draws of 10 pairs
    blocks = list(draw_weights(clusters, 95, np.random.default_rng(3)))
    assert [len(block) for block in blocks] == [20, 20, 20, 20, 15]
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


@pytest.mark.parametrize("errors", [[5.0], [math.inf], [7.0, math.inf]])
def test_errors_at_or_past_the_threshold_have_no_area(errors):
    weights = np.ones((2, len(errors)))
    np.testing.assert_array_equal(weighted_auc(np.array(errors), [5.0], weights), [[0.0], [0.0]])
