"""Scores of a run's averaged weights on held-back photographs."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from astr_jax.config import ModelConfig
from astr_jax.data.homography import HomographyPairs
from astr_jax.training.experiment import Experiment, Stage, TrainConfig
from astr_jax.training.step import TrainState, keys_for_step, loss_and_scores

PAIRS = 64
BATCH = 8


def make_validation(
    experiment: Experiment, stage: Stage, photos: Sequence[np.ndarray]
) -> Callable[[TrainState], dict[str, float]]:
    """Returns validate(state) -> scores of the averaged weights, on pairs that never change."""
    data = HomographyPairs(photos, experiment.data_config(stage), seed=12345)
    batches = [data.batch(i, BATCH, difficulty=0.5) for i in range(PAIRS // BATCH)]
    scores_of = functools.partial(
        validation_scores, model=experiment.model, config=experiment.train, fine=stage.fine
    )

    def validate(state: TrainState) -> dict[str, float]:
        return mean_scores([scores_of(state.ema, state.batch_stats, b) for b in batches])

    return validate


@functools.partial(jax.jit, static_argnames=("model", "config", "fine"))
def validation_scores(
    params, batch_stats, batch: dict, *, model: ModelConfig, config: TrainConfig, fine: bool
) -> dict:
    """The losses and scores of a batch, with the same random draws each time."""
    keys = keys_for_step(0, jnp.zeros((), jnp.int32), batch["image0"].shape[0])
    given = params, batch_stats, batch, keys, model, config
    _, (scores, _) = loss_and_scores(*given, fine=fine, train=False)
    return scores


def mean_scores(scores: list[dict]) -> dict[str, float]:
    """Means over steps of the scores that are numbers; a score that never is one is left out."""
    scores = jax.device_get(scores)
    values = {name: np.array([s[name] for s in scores]) for name in scores[0]}
    return {
        name: float(v[np.isfinite(v)].mean()) for name, v in values.items() if np.isfinite(v).any()
    }
