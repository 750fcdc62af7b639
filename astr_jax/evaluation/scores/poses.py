"""Pairs whose truth is a pose: errors are angles, matches are judged by epipolar lines."""

import numpy as np
from jaxtyping import Float

from astr_jax.evaluation.benchmarks.resizing import LoadedPair
from astr_jax.evaluation.benchmarks.truths import PoseTruth
from astr_jax.evaluation.scores import metrics
from astr_jax.evaluation.scores.difficulty import rotation_about_axis
from astr_jax.evaluation.scores.estimators import POSE_ESTIMATORS, EstimatedPose
from astr_jax.evaluation.scores.found import FoundMatches
from astr_jax.evaluation.scores.pair_kind import PairKind
from astr_jax.geometry import fundamental_matrix, warp_points

# Squared epipolar errors on the plane at depth 1. At a focal length of 500 px 1e-4 is 5 px. 5e-4
# would be 11 px, so wide that nearly every match near its line were right.
THRESHOLDS = (5e-4, 1e-4)
RIGHT = 1e-4


class PoseKind(PairKind):
    """How pairs with a pose are scored. Offsets are squared epipolar errors at depth 1."""

    def estimator_inputs(
        self, found: FoundMatches, given: LoadedPair, *, poses_in_file_pixels: bool = False
    ) -> tuple[np.ndarray, ...]:
        """points0, points1, K0, K1; poses_in_file_pixels: in pixels of the files, where the
        thresholds then hold."""
        if not poses_in_file_pixels:
            return found.points0, found.points1, given.truth.K0, given.truth.K1
        back0, back1 = np.linalg.inv(given.resize0), np.linalg.inv(given.resize1)
        truth = given.truth.resized(back0, back1)
        places0 = warp_points(back0, found.points0)
        places1 = warp_points(back1, found.points1)
        return places0, places1, truth.K0, truth.K1

    def error(self, estimate: EstimatedPose | None, given: LoadedPair) -> float:
        return metrics.pose_error(estimate, given.truth.cam1_from_cam0)

    def offsets(self, found: FoundMatches, given: LoadedPair) -> Float[np.ndarray, " k"]:
        truth = given.truth
        cameras = truth.cam1_from_cam0, truth.K0, truth.K1
        return metrics.epipolar_errors(found.points0, found.points1, *cameras)

    def pixel_errors(self, found: FoundMatches, given: LoadedPair) -> Float[np.ndarray, " k"]:
        """Sampson distances; nan without a baseline, as there are no lines."""
        truth = given.truth
        if not metrics.has_baseline(truth.cam1_from_cam0):
            return np.full(len(found), np.nan)
        matrix = fundamental_matrix(truth.cam1_from_cam0, truth.K0, truth.K1)
        return np.sqrt(metrics.sampson_error(found.points0, found.points1, matrix))

    def drawn_errors(
        self, found: FoundMatches, given: LoadedPair
    ) -> tuple[Float[np.ndarray, " k"], str]:
        """Sampson distances. Without a baseline they would be 0 whatever the match; but then the
        rotation alone says where a point goes."""
        truth = given.truth
        if metrics.has_baseline(truth.cam1_from_cam0):
            return self.pixel_errors(found, given), self.pixel_words
        rays = metrics.normalised_points(found.points0, truth.K0)
        rotated = truth.K1 @ truth.cam1_from_cam0[:3, :3]
        words = "distance from the truth, a rotation without a baseline and so without epipolar"
        return metrics.transfer_errors(rays, found.points1, rotated), f"{words} lines"

    def difficulty(self, given: LoadedPair) -> dict[str, float]:
        return {"rotation": rotation_about_axis(given.truth.cam1_from_cam0[:3, :3])}


POSE = PoseKind(
    name="pose",
    truth=PoseTruth,
    unit="degrees",
    short_unit="°",
    error_words="pose error",
    area_words="pose",
    thresholds=(5.0, 10.0, 20.0),
    solved=10.0,
    largest_error=180.0,
    estimators=POSE_ESTIMATORS,
    judge="poselib@1",
    share_format="epi@{:g}",
    share_thresholds=THRESHOLDS,
    shown_thresholds=THRESHOLDS,
    shown_words=f"squared epipolar error below {' / '.join(map('{:g}'.format, THRESHOLDS))}",
    right=RIGHT,
    right_words=f"squared epipolar error below {RIGHT:g}",
    # Sampson shares a deviation between both images: |N(0, sigma^2 / 2)|, both views alike.
    median_of_sigma_1=0.6745 / 2**0.5,
    claim_words="as claimed, both views alike",
    pixel_words="Sampson distance",
)
