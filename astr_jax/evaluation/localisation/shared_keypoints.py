"""Keypoints for a matcher that has none: what many pairs found in one picture, made common.

Structure from motion follows a point through pictures by its number. So the points that different
pairs find in a picture have to become one list. A picture is cut into cells, and each cell's
keypoint is where the pairs agree most. Then a match belongs to the nearest keypoints, if they are
near.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

NONE = -1  # no keypoint


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantisation:
    """How points become keypoints; in pixels of the picture's file."""

    cell: float  # side of the squares that hold one keypoint each; 0: every point is a keypoint
    max_error: float  # a match further than this from a keypoint is dropped
    max_keypoints: int | None = None  # of a picture, those of most confidence; None: all

    def __post_init__(self):
        if self.max_error <= 0 or not (self.cell == 0 or self.cell >= self.max_error):
            raise ValueError(
                "max_error must be above 0, and cell 0 or at least max_error; got "
                f"{self.max_error} and {self.cell}."
            )


def choose_keypoints(
    points: Float[np.ndarray, "n 2"], confidence: Float[np.ndarray, " n"], rule: Quantisation
) -> tuple[Float[np.ndarray, "k 2"], Float[np.ndarray, " k"]]:
    """The keypoints of a picture, and the confidence that speaks for each, the largest first.

    A cell is cut into bins of side max_error. The bin with the largest sum of confidence gives the
    keypoint: the mean of its points, weighted by confidence.
    """
    if rule.cell == 0:
        keypoints, inverse = np.unique(points, axis=0, return_inverse=True)
        weight = np.bincount(inverse.ravel(), confidence, len(keypoints))
    else:
        sides = (rule.cell, rule.max_error)
        key = np.concatenate([np.floor((points + 0.5) / side) for side in sides], axis=1)
        bins, inverse = np.unique(key, axis=0, return_inverse=True)
        inverse, count = inverse.ravel(), len(bins)
        share = np.maximum(confidence, 1e-6)  # so that a mean exists
        weight = np.bincount(inverse, share, count)
        sums = [np.bincount(inverse, share * x, count) for x in points.T]
        keypoints = np.stack(sums, axis=1) / weight[:, None]
        order = np.lexsort([-weight, bins[:, 1], bins[:, 0]])  # cell by cell, the best bin first
        _, first = np.unique(bins[order, :2], axis=0, return_index=True)
        keypoints, weight = keypoints[order[first]], weight[order[first]]
    order = np.argsort(-weight, kind="stable")[: rule.max_keypoints]
    return keypoints[order].astype(np.float32), weight[order].astype(np.float32)


def nearest_keypoints(
    points: Float[np.ndarray, "n 2"], keypoints: KDTree, max_error: float
) -> Int[np.ndarray, " n"]:
    """The number of the nearest keypoint of each point; NONE where it is beyond max_error."""
    distance, number = keypoints.query(points)
    return np.where(distance <= max_error, number, NONE)


def one_to_one(
    numbers0: Int[np.ndarray, " n"],
    numbers1: Int[np.ndarray, " n"],
    confidence: Float[np.ndarray, " n"],
    count0: int,
) -> tuple[Int[np.ndarray, " count0"], Float[np.ndarray, " count0"]]:
    """For each keypoint of image 0 its partner's number, NONE without, and the confidence.

    Of several matches of one keypoint the most confident stays, first in image 0, then in image 1.
    """
    kept = np.flatnonzero((numbers0 != NONE) & (numbers1 != NONE))
    kept = kept[np.argsort(-confidence[kept], kind="stable")]
    for numbers in (numbers0, numbers1):
        _, first = np.unique(numbers[kept], return_index=True)
        kept = kept[np.sort(first)]  # still the most confident first
    partner, score = np.full(count0, NONE, np.int32), np.zeros(count0, np.float32)
    partner[numbers0[kept]], score[numbers0[kept]] = numbers1[kept], confidence[kept]
    return partner, score
