import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.losses import fine_loss, focal_loss, wrong_match_loss
from astr_jax.ops.matching import EMPTY


def test_focal_loss_is_the_mean_over_the_positives():
    p = np.array([[0.9, 0.5], [0.01, 0.3]])
    positive = np.array([[True, True], [True, False]])
    expected = np.mean([-0.25 * (1 - q) ** 2 * np.log(q) for q in (0.9, 0.5, 0.01)])
    np.testing.assert_allclose(focal_loss(np.log(p), positive), expected, rtol=1e-5)


def test_focal_loss_clamps_the_value_at_one_in_a_million():
    worst = focal_loss(jnp.array([-40.0]), jnp.array([True]))
    np.testing.assert_allclose(worst, -0.25 * np.log(1e-6), rtol=1e-5)


def test_the_clamp_leaves_the_slope_so_that_a_hopeless_pair_still_learns():
    slope = jax.grad(lambda x: focal_loss(x, jnp.ones(2, bool)))(jnp.array([-40.0, -1.0]))
    np.testing.assert_allclose(slope[0], -0.25 / 2, rtol=1e-3)
    p = np.exp(-1.0)  # d/dx of -(1 - e^x)^2 x / 4, halved by the mean
    expected = -0.25 * ((1 - p) ** 2 - 2 * (1 - p) * p * -1.0) / 2
    np.testing.assert_allclose(slope[1], expected, rtol=1e-5)


def test_a_perfect_match_costs_nothing():
    assert focal_loss(jnp.zeros(3), jnp.ones(3, bool)) == 0


def test_wrong_matches_cost_by_their_probability():
    p = np.array([0.9, 0.5, 0.7])
    wrong = np.array([True, True, False])
    expected = sum(-0.75 * q**2 * np.log(1 - q) for q in (0.9, 0.5)) / 5
    np.testing.assert_allclose(wrong_match_loss(np.log(p), wrong, 5), expected, rtol=1e-5)


@pytest.mark.parametrize("log_prob", [EMPTY, 0.0, -3.0])
def test_the_loss_of_wrong_matches_pushes_them_alone_and_stays_finite(log_prob):
    wrong = jnp.array([True, False])
    value, slope = jax.value_and_grad(wrong_match_loss)(jnp.full(2, log_prob), wrong, 2)
    assert 0 <= value < 10
    assert np.isfinite(slope).all()
    assert slope[0] >= 0  # a step against it lowers P
    assert slope[1] == 0
    assert wrong_match_loss(jnp.full(2, log_prob), jnp.zeros(2, bool), 0) == 0


@pytest.mark.parametrize("log_prob", [EMPTY, 0.0, -3.0])
def test_without_positives_the_focal_loss_and_its_slope_are_zero(log_prob):
    value, slope = jax.value_and_grad(focal_loss)(jnp.full(4, log_prob), jnp.zeros(4, bool))
    assert value == 0
    assert (slope == 0).all()


def test_fine_loss_weighs_by_the_inverse_deviation(rng):
    """Fails where weights or the mean are taken over all valid rows, those outside the crop too."""
    delta, true = rng.uniform(-1, 1, (2, 16, 2)), rng.uniform(-1.4, 1.4, (2, 16, 2))
    deviation, valid = rng.uniform(0.1, 0.5, (2, 16)), rng.random((2, 16)) < 0.7
    given = (np.float32(x) for x in (delta, true, deviation))
    used = valid & (np.abs(true).max(axis=-1) < 1)
    assert 4 < used.sum() < valid.sum() - 4
    weight = 1 / deviation[used]
    weight /= weight.mean()
    expected = (((delta - true)[used] ** 2).sum(axis=-1) * weight).mean()
    np.testing.assert_allclose(fine_loss(*given, valid), expected, rtol=1e-5)


def test_truth_outside_the_crop_does_not_supervise():
    delta = jnp.array([[0.0, 0.0], [0.5, 0.5]])
    true = jnp.array([[0.3, 0.4], [0.0, -1.0]])  # the second lies on the crop's edge
    loss = fine_loss(delta, true, jnp.ones(2), jnp.ones(2, bool))
    np.testing.assert_allclose(loss, 0.25, rtol=1e-6)


def test_the_deviation_carries_no_gradient():
    delta, true = jnp.array([[0.1, 0.2], [0.5, 0.0]]), jnp.zeros((2, 2))
    slope = jax.grad(fine_loss, argnums=2)(delta, true, jnp.array([0.1, 0.4]), jnp.ones(2, bool))
    assert (slope == 0).all()


@pytest.mark.parametrize("value", [0.0, 5.0, np.inf, np.nan])
def test_without_a_valid_row_the_fine_loss_and_its_slope_are_zero(value):
    given = jnp.full((3, 2), 0.5), jnp.full((3, 2), value), jnp.zeros(3)
    loss, slope = jax.value_and_grad(fine_loss)(*given, jnp.zeros(3, bool))
    assert loss == 0
    assert (slope == 0).all()


def test_a_deviation_of_zero_stays_finite():
    loss = fine_loss(jnp.full((2, 2), 0.5), jnp.zeros((2, 2)), jnp.zeros(2), jnp.ones(2, bool))
    np.testing.assert_allclose(loss, 0.5, rtol=1e-5)
