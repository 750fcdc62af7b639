"""What trains the fine stage: which points, from which estimates, and what their errors cost."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.config import FineConfig
from astr_jax.supervision import GroundTruth, PlaneTruth
from astr_jax.training.experiment import TrainConfig
from astr_jax.training.fine_losses import fine_part, starting_points
from astr_jax.types import Refined

N, WIDTH = 10, 5  # cells: two rows of five


def moved_by(x):
    """A plane seen again, `x` pixels to the right, all of it seen; of a batch of one."""
    homography = jnp.eye(3).at[0, 2].set(x)[None]
    seen = jnp.ones((1, 16, 40), bool)
    return PlaneTruth(homography, seen, seen)


def given(*, usable=N, cell1=None):
    """The features, the coarse output and the ground truth of ten cells that did not move."""
    grid = SimpleNamespace(mask8=jnp.ones((1, 2, WIDTH), bool))
    mask = jnp.arange(N)[None] < usable
    coarse = SimpleNamespace(mask0=mask, mask1=jnp.ones((1, N), bool), maps=(None, None))
    cells = jnp.arange(N)[None] if cell1 is None else cell1
    points, ones = jnp.zeros((1, N, 2)), jnp.ones((1, N))
    truth = GroundTruth(cells, points, ones > 0, ones, points, ones > 0, ones > 0)
    return (grid, grid), coarse, jnp.full((1, N), -1), truth


def keys():
    return {name: jax.random.split(jax.random.key(0), 1) for name in ("fine", "ratio")}


class Model:
    """Answers with the estimate, moved by so much; remembers what it was asked."""

    def __init__(self, move=(0.0, 0.0), variance=1.0, zooms=(1.0,)):
        self.move, self.variance, self.asked = jnp.array(move), variance, []
        self.config = SimpleNamespace(fine=FineConfig(zooms=zooms))

    def apply(self, variables, f0, f1, map0, map1, points0, points1, ratio, zoom, method):
        self.asked.append((points0, points1, ratio))
        reach = 4.0 * zoom * jnp.ones(ratio.shape)
        move = jnp.broadcast_to(self.move[None, None], points1.shape)
        covariance = jnp.broadcast_to(self.variance * jnp.eye(2), (*ratio.shape, 2, 2))
        delta = move / reach[..., None]
        return Refined(points1 + move, points1, delta, reach, covariance)


def config(**changes):
    quiet = {"ratio_jitter": 0.0, "fine_share": 1.0, "fine_loss": "likelihood"}
    return TrainConfig(**(quiet | changes))


@pytest.mark.parametrize(("usable", "filled"), [(10, 2), (5, 1), (4, 0)])
def test_a_share_of_the_cells_trains_the_fine_stage(usable, filled):
    """Of ten cells a fifth is room for two; a fifth of the usable ones is filled.

    Fails where the capacity or the limit is that of all cells.
    """
    model = Model(move=(100.0, 0.0))
    parts = fine_part(model, {}, *given(usable=usable), moved_by(0), keys(), config(fine_share=0.2))
    assert model.asked[0][2].shape == (1, 2)
    # In the crop, whatever the model answers; without any row there is nothing to be wrong.
    assert (parts["fine"] > 10) == (filled > 0)


def test_the_loss_is_in_reaches_of_a_crop_and_counts_every_step():
    """Points start where they belong and are moved by 1 px at each of two steps."""
    model = Model(move=(1.0, 0.0), variance=4.0, zooms=(1.0, 0.5))
    parts = fine_part(model, {}, *given(), moved_by(0), keys(), config())
    each = []
    for error in (1 / 4, 2 / 4):  # of the first and the second step
        square = error**2 / (4 / 16)
        each.append(
            np.hypot(error, 0.05) - 0.05 + 0.05 * (np.log(4 / 16) + 3 * np.log1p(square / 4))
        )
    np.testing.assert_allclose(parts["fine"], np.mean(each), rtol=1e-5)
    np.testing.assert_allclose(parts["fine_px"], 2, rtol=1e-6)
    np.testing.assert_allclose(parts["in_sigma"], 0.5)  # y is; x, at the sigma, is not


def test_truth_beyond_a_step_does_not_supervise_it():
    """The truth lies 3 px off: within the crop of the first step, beyond that of the second."""
    model = Model(move=(0.0, 0.0), zooms=(1.0, 0.5))
    first = fine_part(model, {}, *given(), moved_by(3), keys(), config())
    alone = fine_part(Model(zooms=(1.0,)), {}, *given(), moved_by(3), keys(), config())
    # Ten of twenty rows count, so the mean is that of the first step alone.
    np.testing.assert_allclose(first["fine"], alone["fine"], rtol=1e-6)
    assert np.isnan(first["fine_px"])
    assert first["in_sigma"] == 0


@pytest.mark.parametrize("uncertainty", [True, False])
def test_the_papers_loss_weighs_by_the_inverse_deviation_unless_told_otherwise(uncertainty):
    """Two steps of the reaches 4 and 2, moved by 1 px each, of the deviations 3 / 4 and 3 / 2."""
    model = Model(move=(1.0, 0.0), variance=9.0, zooms=(1.0, 0.5))
    chosen = config(fine_loss="paper", fine_uncertainty=uncertainty)
    parts = fine_part(model, {}, *given(), moved_by(0), keys(), chosen)
    weights = np.array([4 / 3, 2 / 3]) if uncertainty else np.ones(2)
    # The errors in reaches: what is left of 0 after 1 px, and of 1 px after another one.
    expected = np.array([(1 / 4) ** 2, (2 / 2) ** 2])
    np.testing.assert_allclose(
        parts["fine"], np.mean(expected * weights / weights.mean()), rtol=1e-4
    )


def test_a_loss_that_is_none_is_refused():
    with pytest.raises(ValueError, match="fine_loss must be one of paper, likelihood; got 'mean'"):
        TrainConfig(fine_loss="mean")


def test_points_lie_in_their_cells_and_estimates_about_their_partners():
    """Fails where an estimate does not move with its point, or by the wrong ratio."""
    k = 4000
    cell0, cell1 = jnp.full(k, 6), jnp.full(k, 8)  # centres (8, 8) and (24, 8)
    seen = jnp.ones((24, 40), bool)
    everywhere = PlaneTruth(jnp.eye(3), seen, seen)
    draw = starting_points(
        jax.random.key(1), cell0, cell1, jnp.full(k, 2.0), everywhere, width0=5, width1=5,
        config=config(anywhere=0.5, start_jitter=3.0),
    )  # fmt: skip
    points0, points1, ratio = map(np.asarray, draw)
    beside = points0 - (8, 8)
    assert np.abs(beside).max() <= 4
    still = (beside == 0).all(axis=1)
    assert abs(still.mean() - 0.5) < 0.05
    assert np.abs(beside[~still].std(axis=0) - 8 / 12**0.5).max() < 0.15
    off = points1 - (24, 8) - 2 * beside
    assert np.abs(off.mean(axis=0)).max() < 0.2
    assert np.abs(off.std(axis=0) - 2.9).max() < 0.2  # cut off at 2.5 deviations
    assert np.abs(off).max() <= 7.5
    np.testing.assert_allclose(ratio, 2)
