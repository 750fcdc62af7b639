"""Pairs with known pose to try a run's weights on, and the scores of their matches."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from astr_jax.data.readers import PosedPairs
from astr_jax.data.worlds import atlas_of_some, render_pairs
from astr_jax.evaluation.scores import metrics
from astr_jax.evaluation.scores.poses import POSE
from astr_jax.supervision import DepthTruth, PairBatch
from astr_jax.training.experiment import Experiment, Stage
from astr_jax.types import Matches

SEED = 12345  # of the worlds
DIFFICULTY = 0.5
TEXTURES, TEXTURE_SIDE = 64, 256  # photographs in the atlas, pixels
RENDERED_AT_ONCE = 16  # pairs, at most
ESTIMATOR = "magsac@1"  # of OpenCV, which making the pairs needs anyway
EPIPOLAR_THRESHOLD = 5e-4  # squared, on the plane at depth 1


def world_batches(
    experiment: Experiment, stage: Stage, photos: Sequence[np.ndarray], count: int, size: int
) -> list[PairBatch]:
    """At least `count` pairs, in batches of `size`, of worlds that show the photographs."""
    atlas = atlas_of_some(photos, SEED, most=TEXTURES, side=TEXTURE_SIDE)
    config = experiment.worlds_config(stage)
    batch = min(stage.batch_size, RENDERED_AT_ONCE)
    batches = -(-count // size)
    rendered = [
        jax.device_get(
            render_pairs(key, atlas, jnp.float32(DIFFICULTY), config=config, batch=batch)[0]
        )
        for key in jax.random.split(jax.random.key(SEED), -(-batches * size // batch))
    ]
    pairs = jax.tree.map(lambda *rows: np.concatenate(rows), *rendered)
    return [pairs[i * size : (i + 1) * size] for i in range(batches)]


def posed_batches(posed: PosedPairs, count: int, size: int) -> list[PairBatch]:
    """At least `count` pairs, in batches of `size`, the first ones of a data set."""
    return [posed.stack(range(first, first + size)) for first in range(0, count, size)]


def pose_scores(found: Sequence[Matches], truths: Sequence[DepthTruth]) -> dict[str, float]:
    """The area under the curve of pose errors up to 5, 10 and 20 degrees, the share of matches
    near their epipolar line, and how many there are, all as means over pairs; found: the matches
    of each batch, in pixels of its images."""
    errors, precision, counts = [], [], []
    for matches, truth in zip(found, truths, strict=True):
        cameras = zip(truth.K0, truth.K1, truth.cam1_from_cam0, strict=True)
        for i, (K0, K1, cam1_from_cam0) in enumerate(cameras):
            pair = matches[i].compact()
            given = pair.keypoints0, pair.keypoints1, K0.astype(float), K1.astype(float)
            estimate = POSE.find_estimator(ESTIMATOR)(*given)
            errors.append(metrics.pose_error(estimate, cam1_from_cam0))
            precision.append(
                metrics.epipolar_precision(
                    *given[:2], cam1_from_cam0, *given[2:], threshold=EPIPOLAR_THRESHOLD
                )
            )
            counts.append(len(pair))
    areas = metrics.error_auc(errors, POSE.thresholds)
    return {
        **{f"pose_auc@{t:g}": a for t, a in zip(POSE.thresholds, areas, strict=True)},
        f"pose_precision@{EPIPOLAR_THRESHOLD:g}": float(np.mean(precision)),
        "pose_matches": float(np.mean(counts)),
    }
