"""The learning rate: warm-up, cosine, and the halvings of the paper's schedule."""

import numpy as np
import pytest

from astr_jax.training.experiment import TrainConfig
from astr_jax.training.optimiser import make_schedule


def rates(pairs, **changes):
    """The rate before each of some numbers of pairs, in steps of two pairs."""
    config = TrainConfig(learning_rate=1.0, warmup_pairs=10, warmup_from=0.1, **changes)
    schedule = make_schedule(config, 40, lambda step: 2 * step)
    return [float(schedule(n // 2)) for n in pairs]


def test_the_rate_rises_linearly_and_is_halved_at_the_given_pairs():
    """Fails where a halving is left out, comes early or late, or counts from the warm-up's end."""
    found = rates([0, 4, 10, 18, 20, 28, 30, 38], halve_at=(20, 30))
    np.testing.assert_allclose(found, [0.1, 0.46, 1, 1, 0.5, 0.5, 0.25, 0.25], rtol=1e-6)


def test_without_halvings_it_falls_as_a_cosine_to_the_least():
    found = rates([10, 24, 26, 40, 60], least_learning_rate=0.2)
    middle = 0.2 + 0.8 * (1 + np.cos(np.pi * np.array([14, 16]) / 30)) / 2
    np.testing.assert_allclose(found, [1, *middle, 0.2, 0.2], rtol=1e-5)


def test_a_run_that_goes_on_from_weights_warms_up_again():
    found = rates([20, 24, 30, 34], halve_at=(32,), start_pairs=20)
    np.testing.assert_allclose(found, [0.1, 0.46, 1, 0.5], rtol=1e-5)


@pytest.mark.parametrize("halve_at", [(), (20,)])
def test_the_rate_is_never_above_the_peak(halve_at):
    assert max(rates(range(0, 60, 2), halve_at=halve_at)) <= 1 + 1e-6
