"""Pairs whose truth is a homography: errors and matches are judged by distances in image 1."""

import numpy as np
from jaxtyping import Float

from astr_jax.evaluation.benchmarks.resizing import LoadedPair
from astr_jax.evaluation.benchmarks.truths import HomographyTruth
from astr_jax.evaluation.scores import metrics
from astr_jax.evaluation.scores.difficulty import geometry_of_homography
from astr_jax.evaluation.scores.estimators import HOMOGRAPHY_ESTIMATORS, EstimatedHomography
from astr_jax.evaluation.scores.found import FoundMatches
from astr_jax.evaluation.scores.pair_kind import PairKind

RIGHT = 3.0  # pixels
SHOWN = (1.0, 3.0, 5.0, 10.0)  # of the ten radii of the matching accuracy


class HomographyKind(PairKind):
    """How pairs with a homography are scored. Offsets are pixels of the resized image 1."""

    def estimator_inputs(
        self, found: FoundMatches, given: LoadedPair, *, poses_in_file_pixels: bool = False
    ) -> tuple[np.ndarray, ...]:
        """points0, points1; always in pixels of the resized images."""
        return found.points0, found.points1

    def error(self, estimate: EstimatedHomography | None, given: LoadedPair) -> float:
        size = given.image0.shape
        return metrics.corner_error(estimate, given.truth.homography, size=size)

    def offsets(self, found: FoundMatches, given: LoadedPair) -> Float[np.ndarray, " k"]:
        return metrics.transfer_errors(found.points0, found.points1, given.truth.homography)

    def pixel_errors(self, found: FoundMatches, given: LoadedPair) -> Float[np.ndarray, " k"]:
        return self.offsets(found, given)

    def drawn_errors(
        self, found: FoundMatches, given: LoadedPair
    ) -> tuple[Float[np.ndarray, " k"], str]:
        return self.offsets(found, given), self.pixel_words

    def difficulty(self, given: LoadedPair) -> dict[str, float | None]:
        sizes = given.image0.shape, given.image1.shape
        return geometry_of_homography(given.truth.homography, *sizes)


HOMOGRAPHY = HomographyKind(
    name="homography",
    truth=HomographyTruth,
    unit="px",
    short_unit=" px",
    error_words="mean corner error",
    area_words="corner",
    thresholds=(1.0, 3.0, 5.0, 10.0),
    solved=5.0,
    largest_error=100.0,
    estimators=HOMOGRAPHY_ESTIMATORS,
    judge="magsac@3",
    share_format="{:g}px",
    share_thresholds=tuple(map(float, range(1, 11))),  # the mean matching accuracy
    shown_thresholds=SHOWN,
    shown_words=f"within {' / '.join(map('{:g}px'.format, SHOWN))}",
    right=RIGHT,
    right_words=f"within {RIGHT:g} px of the truth",
    median_of_sigma_1=1.1774,  # of the length of a deviation on either axis: sqrt(2 ln 2)
    claim_words="as claimed",
    pixel_words="distance from the truth",
)
