"""Pairs with known pose to try a run's weights on, and the scores of their matches."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from astr_jax.data.worlds import atlas_of_some, render_pairs
from astr_jax.evaluation.scores import metrics
from astr_jax.evaluation.scores.estimators import find_estimator
from astr_jax.training.experiment import Experiment, Stage
from astr_jax.types import Matches

NAMES = ("image0", "image1", "mask0", "mask1", "K0", "K1", "T_0to1")  # what the scores need
SEED = 12345  # of the worlds
DIFFICULTY = 0.5
TEXTURES, TEXTURE_SIDE = 64, 256  # photographs in the atlas, pixels
RENDERED_AT_ONCE = 16  # pairs, at most
ESTIMATOR = "magsac@1"  # of OpenCV, which making the pairs needs anyway
EPIPOLAR_THRESHOLD = 5e-4  # squared, on the plane at depth 1

Batch = dict[str, np.ndarray]


def world_batches(
    experiment: Experiment, stage: Stage, photos: Sequence[np.ndarray], count: int, size: int
) -> list[Batch]:
    """At least `count` pairs, in batches of `size`, of worlds that show the photographs."""
    atlas = atlas_of_some(photos, SEED, most=TEXTURES, side=TEXTURE_SIDE)
    config = experiment.worlds_config(stage)
    batch = min(stage.batch_size, RENDERED_AT_ONCE)
    batches = -(-count // size)
    rendered = [
        jax.device_get(
            render_pairs(key, atlas, jnp.float32(DIFFICULTY), config=config, batch=batch)
        )
        for key in jax.random.split(jax.random.key(SEED), -(-batches * size // batch))
    ]
    pairs = {n: np.concatenate([r[n] for r in rendered]) for n in NAMES if n in rendered[0]}
    pairs |= {f"mask{i}": np.ones(pairs[f"image{i}"].shape, bool) for i in (0, 1)}
    return [
        {name: rows[i * size : (i + 1) * size] for name, rows in pairs.items()}
        for i in range(batches)
    ]


def posed_batches(posed, count: int, size: int) -> list[Batch]:
    """At least `count` pairs, in batches of `size`, the first ones of a data set."""
    batches = (posed.stack(range(first, first + size)) for first in range(0, count, size))
    return [{name: batch[name] for name in NAMES} for batch in batches]


def pose_scores(found: Sequence[Matches], batches: Sequence[Batch]) -> dict[str, float]:
    """The area under the curve of pose errors up to 5, 10 and 20 degrees, the share of matches
    near their epipolar line, and how many there are, all as means over pairs; found: the matches
    of each batch, in pixels of its images."""
    errors, precision, counts = [], [], []
    for matches, batch in zip(found, batches, strict=True):
        for i, (K0, K1, T_0to1) in enumerate(
            zip(batch["K0"], batch["K1"], batch["T_0to1"], strict=True)
        ):
            pair = matches[i].compact()
            given = pair.keypoints0, pair.keypoints1, K0.astype(float), K1.astype(float)
            errors.append(metrics.pose_error(find_estimator(ESTIMATOR)(*given), T_0to1))
            precision.append(
                metrics.epipolar_precision(
                    *given[:2], T_0to1, *given[2:], threshold=EPIPOLAR_THRESHOLD
                )
            )
            counts.append(len(pair))
    areas = metrics.error_auc(errors, metrics.POSE_THRESHOLDS)
    return {
        **{f"pose_auc@{t:g}": a for t, a in zip(metrics.POSE_THRESHOLDS, areas, strict=True)},
        f"pose_precision@{EPIPOLAR_THRESHOLD:g}": float(np.mean(precision)),
        "pose_matches": float(np.mean(counts)),
    }
