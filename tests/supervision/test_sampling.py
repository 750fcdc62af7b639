"""Which cells supervise a step, and which pairs train the fine stage."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.supervision.sampling import random_share, sample_fine


@pytest.mark.parametrize("share", [0.5, 0.2, 1.0])
def test_a_random_share_is_exact_and_rounded_up(share):
    keep = jax.jit(functools.partial(random_share, share=share))
    for count in range(12):
        candidates = np.zeros(30, bool)
        candidates[np.random.default_rng(count).permutation(30)[:count]] = True
        kept = np.asarray(keep(jax.random.key(count), candidates))
        assert kept.sum() == math.ceil(round(share * count, 9))
        assert (candidates | ~kept).all()


def test_every_candidate_has_the_same_chance():
    candidates = np.arange(30) % 3 > 0
    keys = jax.random.split(jax.random.key(0), 400)
    kept = jax.vmap(lambda key: random_share(key, jnp.asarray(candidates), 0.5))(keys)
    chance = np.asarray(kept).mean(axis=0)
    assert (chance[~candidates] == 0).all()
    assert (np.abs(chance[candidates] - 0.5) < 0.12).all()  # nearly five standard deviations


TRUE = np.where(np.arange(60) < 40, np.arange(60), -1)  # cell i lies at i, for the first 40
PREDICTED = np.where(np.arange(60) >= 35, 100 + np.arange(60), -1)  # 25 predictions


@functools.partial(jax.jit, static_argnames=("capacity", "least_true"))
def draw(seed, true, predicted, *, capacity, limit, least_true):
    return sample_fine(
        jax.random.key(seed), true, predicted, capacity=capacity, limit=limit, least_true=least_true
    )


def sampled(seed, true=TRUE, predicted=PREDICTED, *, capacity=50, limit=50, least_true=8):
    """The sampled pairs, as those of the truth and those predicted."""
    cell0, cell1 = draw(
        seed, true, predicted, capacity=capacity, limit=limit, least_true=least_true
    )
    assert len(cell0) == len(cell1) == capacity
    filled = np.asarray(cell0) >= 0
    np.testing.assert_array_equal(filled, np.asarray(cell1) >= 0)
    assert (np.diff(filled.astype(int)) <= 0).all()  # padding comes last
    rows = list(zip(np.asarray(cell0)[filled], np.asarray(cell1)[filled], strict=True))
    assert len(set(rows)) == len(rows)
    from_truth = [(i, j) for i, j in rows if j < 100]
    assert all(true[i] == j for i, j in from_truth)
    assert all(predicted[i] == j for i, j in rows if j >= 100)
    return from_truth, [row for row in rows if row[1] >= 100]


def test_the_least_truth_comes_first_then_predictions():
    from_truth, from_predictions = sampled(0, limit=20)
    assert (len(from_truth), len(from_predictions)) == (8, 12)


def test_truth_fills_what_predictions_leave():
    from_truth, from_predictions = sampled(0, limit=45)
    assert (len(from_truth), len(from_predictions)) == (20, 25)


def test_no_more_than_the_limit_is_sampled_and_truth_has_the_way():
    from_truth, from_predictions = sampled(0, limit=5)
    assert (len(from_truth), len(from_predictions)) == (5, 0)
    assert sampled(0, limit=0) == ([], [])


def test_where_truth_is_scarce_predictions_fill_the_rest():
    scarce = np.where(np.arange(60) < 3, TRUE, -1)
    from_truth, from_predictions = sampled(0, scarce, limit=20)
    assert (len(from_truth), len(from_predictions)) == (3, 17)
    nothing = np.full(60, -1)
    assert sampled(0, nothing, nothing, limit=20) == ([], [])
    assert len(sampled(0, nothing, limit=50)[1]) == 25


def test_the_sample_is_random():
    chosen = [{i for i, _ in sampled(seed, limit=20)[0]} for seed in range(30)]
    assert len(set().union(*chosen)) > 36  # of 40: every true pair has its turn
    assert chosen[0] != chosen[1]
    assert sampled(3, limit=20) == sampled(3, limit=20)


@pytest.mark.parametrize("least_true", [8, 60])
def test_a_true_pair_that_is_predicted_too_is_drawn_once(least_true):
    """Fails where truth and predictions are listed side by side: pairs then come twice."""
    predicted = np.where(np.arange(60) < 30, TRUE, PREDICTED)  # 30 of the 40 true pairs are found
    rows, others = sampled(3, TRUE, predicted, capacity=70, limit=70, least_true=least_true)
    assert len(rows) == 40
    assert len(others) == 25


def test_a_true_pair_that_is_predicted_comes_with_the_predictions():
    predicted = np.where(np.arange(60) < 30, TRUE, -1)
    from_truth, _ = sampled(0, TRUE, predicted, limit=32, least_true=2)
    assert len({i for i, _ in from_truth} & set(range(30))) == 30 - (32 - len(from_truth))
    assert sum(i >= 30 for i, _ in from_truth) <= 2 + 2  # what is not predicted comes last
