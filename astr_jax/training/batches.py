"""The batches of a run, step by step: homographies of photographs, synthetic worlds, or both."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from astr_jax.data.homography import HomographyPairs
from astr_jax.data.loader import Prefetch
from astr_jax.data.worlds import Atlas, make_atlas, render_pairs
from astr_jax.training.experiment import Experiment, Stage

TEXTURES = 256  # photographs in the atlas of the worlds
TEXTURE_SIDE = 256  # pixels


def make_batches(
    experiment: Experiment,
    stage: Stage,
    photos: Sequence[np.ndarray],
    start: int,
    difficulty: Callable[[int], float],
    *,
    num_threads: int,
) -> Prefetch:
    """Iterates over the batches of steps start, start + 1, ... of a stage without end.

    A batch is of one kind, drawn with `worlds_share`. It depends on the experiment's seed, its
    step and the difficulty alone, so that a run that goes on sees what it would have seen.
    """
    seed, share = experiment.train.seed, experiment.worlds_share
    homographies = HomographyPairs(photos, experiment.data_config(stage), seed)
    worlds = make_worlds(experiment, stage, photos) if share > 0 else None

    def make(step: int):
        if np.random.default_rng([seed, step, 1]).random() < share:
            return worlds(step, difficulty(step))
        return homographies.batch(step, stage.batch_size, difficulty(step))

    return Prefetch(make, start=start, num_threads=num_threads)


def make_worlds(experiment: Experiment, stage: Stage, photos: Sequence[np.ndarray]):
    """Returns (step, difficulty) -> a batch of world pairs."""
    atlas = atlas_of(photos, experiment.train.seed)
    root = jax.random.key(experiment.train.seed)
    config = experiment.worlds_config(stage)

    def make(step: int, difficulty: float) -> dict[str, jax.Array]:
        pairs = render_pairs(
            jax.random.fold_in(root, step),
            atlas,
            jnp.float32(difficulty),
            config=config,
            batch=stage.batch_size,
        )
        return {name: value for name, value in pairs.items() if name != "kind"}

    return make


def atlas_of(photos: Sequence[np.ndarray], seed: int) -> Atlas:
    """Textures of some of the photographs, drawn by the seed."""
    chosen = np.random.default_rng(seed).permutation(len(photos))[:TEXTURES]
    return make_atlas([photos[i] for i in chosen], seed, side=TEXTURE_SIDE)
