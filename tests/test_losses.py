import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.losses import (
    fine_loss,
    focal_loss,
    place_loss,
    refinement_loss,
    wrong_match_loss,
)
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


def test_the_place_loss_is_the_relative_entropy_among_the_keys(rng):
    """Fails where keys without weight take part, and where the mass of the keys counts."""
    weight = rng.random((2, 9, 4))
    weight[:, ::3, 0] = 0
    weight[0, 1] = 0  # no key at all
    weight = np.nan_to_num(weight / np.maximum(weight.sum(axis=-1, keepdims=True), 1e-9))
    share, used = rng.random((2, 9, 4)) / 7, rng.random((2, 9)) < 0.7
    used[0, 1] = True
    total = []
    for w, s in zip(weight[used], share[used], strict=True):
        if keys := np.flatnonzero(w).tolist():
            total.append(np.sum(w[keys] * np.log(w[keys] / (s[keys] / s[keys].sum()))))
    given = np.log(share).astype(np.float32), weight.astype(np.float32), used
    np.testing.assert_allclose(place_loss(*given), np.mean(total), rtol=1e-4)


def test_the_place_loss_is_least_where_the_shares_are_the_weights():
    weight = jnp.array([[0.5, 0.3, 0.2, 0.0]])
    exact = jnp.log(jnp.array([[0.1, 0.06, 0.04, 0.8]]))
    loss, slope = jax.value_and_grad(place_loss)(exact, weight, jnp.ones(1, bool))
    np.testing.assert_allclose(loss, 0, atol=1e-6)
    np.testing.assert_allclose(slope, 0, atol=1e-6)


def test_the_refinement_loss_is_a_robust_distance_and_a_likelihood(rng):
    error, valid = rng.normal(size=(7, 2)), rng.random(7) < 0.7
    root = rng.normal(size=(7, 2, 2))
    covariance = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(2)
    each = []
    for e, c in zip(error[valid], covariance[valid], strict=True):
        square = e @ np.linalg.inv(c) @ e
        unlikely = 0.5 * np.log(np.linalg.det(c)) + 3 * np.log1p(square / 4)
        each.append(np.sqrt(e @ e + 0.05**2) - 0.05 + 0.05 * unlikely)
    given = error.astype(np.float32), covariance.astype(np.float32), valid
    np.testing.assert_allclose(refinement_loss(*given), np.mean(each), rtol=1e-4)


def test_the_likelihood_makes_the_covariance_that_of_the_errors(rng):
    """Errors of a known covariance: the factor on it that the loss likes best is about 1."""
    root = np.array([[0.5, 0.0], [0.3, 0.2]])
    errors = (rng.standard_t(4, size=(4000, 2)) @ root.T).astype(np.float32)
    covariance = np.broadcast_to(root @ root.T, (4000, 2, 2)).astype(np.float32)
    factors = 1.3 ** np.arange(-6, 7)
    loss = [
        refinement_loss(errors, np.float32(f) * covariance, np.ones(4000, bool)) for f in factors
    ]
    assert abs(int(np.argmin(loss)) - 6) <= 2


@pytest.mark.parametrize("value", [0.0, 5.0, np.inf, np.nan])
def test_without_a_valid_row_the_refinement_loss_and_its_slope_are_zero(value):
    given = jnp.full((3, 2), value), jnp.full((3, 2, 2), value)
    of = jax.value_and_grad(refinement_loss, argnums=(0, 1))
    loss, slopes = of(*given, jnp.zeros(3, bool))
    assert loss == 0
    assert all((slope == 0).all() for slope in slopes)


def test_the_error_has_no_slope_in_the_likelihood():
    error, covariance = jnp.array([[0.3, 0.4]]), jnp.eye(2)[None] * 1e-4
    slope = jax.grad(refinement_loss)(error, covariance, jnp.ones(1, bool))
    np.testing.assert_allclose(jnp.linalg.norm(slope), 0.5 / np.hypot(0.5, 0.05), rtol=1e-5)
