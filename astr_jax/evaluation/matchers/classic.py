"""Classic matchers of OpenCV, to stand beside the model: SIFT, RootSIFT, ORB and AKAZE.

Each is a function `match(img0, img1, K0=None, K1=None)` of two uint8 grey images [h w]; it
returns keypoints0 [k 2], keypoints1 [k 2] in pixels and confidence [k] in [0, 1].
Intrinsics are taken and left unused, so that all matchers are called alike.
"""

import functools
from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from astr_jax.evaluation.scores.found import MatchArrays, MatchFunction

MAX_FEATURES = 4096
Descriptors = Float[np.ndarray, "_ _"] | Bool[np.ndarray, "_ _"]  # bool: compared by Hamming


def _detect(
    detector: cv2.Feature2D, image: UInt8[np.ndarray, "h w"]
) -> tuple[Float[np.ndarray, "n 2"], Descriptors]:
    """Keypoints and their descriptors; binary descriptors as one bool per bit."""
    keypoints, descriptors = detector.detectAndCompute(image, None)
    if descriptors is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 1), np.float32)
    if descriptors.dtype == np.uint8:
        descriptors = np.unpackbits(descriptors, axis=1).astype(bool)
    return cv2.KeyPoint.convert(keypoints), descriptors


def ratio_and_mutual(
    descriptors0: Descriptors, descriptors1: Descriptors, *, ratio: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mutual nearest neighbours that pass Lowe's ratio test from image 0 to image 1.

    Distances are Euclidean, or of Hamming between bools. Returns the indices into both lists [k]
    and the confidence 1 - nearest/second nearest [k], in the order of image 0's list.
    """
    if len(descriptors0) == 0 or len(descriptors1) < 2:
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0)
    a, b = descriptors0.astype(np.float32), descriptors1.astype(np.float32)
    # The squared Euclidean distance of zeros and ones is their Hamming distance.
    distance = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2.0 * a @ b.T
    nearest = distance.argmin(axis=1)
    mutual = distance.argmin(axis=0)[nearest] == np.arange(len(a))
    first, second = np.maximum(np.partition(distance, 1, axis=1)[:, :2].T, 0.0)
    if descriptors0.dtype != bool:
        first, second = np.sqrt(first), np.sqrt(second)
    index0 = np.flatnonzero(mutual & (first < ratio * second))
    confidence = 1.0 - first[index0] / second[index0]
    return index0, nearest[index0], confidence


def _make_matcher(
    make_detector: Callable[[], cv2.Feature2D], *, ratio: float, root: bool = False
) -> MatchFunction:
    """A matcher of one detector; `root` is RootSIFT: the square root of the L1-normalised."""

    def match(img0, img1, K0=None, K1=None) -> MatchArrays:
        (points0, first), (points1, second) = (
            _detect(make_detector(), np.ascontiguousarray(img)) for img in (img0, img1)
        )
        if root:
            first, second = (
                np.sqrt(d / np.maximum(d.sum(axis=1, keepdims=True), 1e-12))
                for d in (first, second)
            )
        index0, index1, confidence = ratio_and_mutual(first, second, ratio=ratio)
        return points0[index0], points1[index1], confidence

    return match


def sift_features(image: UInt8[np.ndarray, "h w"]) -> tuple[Float[np.ndarray, "n 2"], Descriptors]:
    """SIFT's keypoints of one image and their descriptors, for images that are in many pairs."""
    return _detect(cv2.SIFT_create(nfeatures=MAX_FEATURES), np.ascontiguousarray(image))


sift_matches = functools.partial(ratio_and_mutual, ratio=0.8)

sift = _make_matcher(lambda: cv2.SIFT_create(nfeatures=MAX_FEATURES), ratio=0.8)
rootsift = _make_matcher(
    lambda: cv2.SIFT_create(nfeatures=MAX_FEATURES, contrastThreshold=0.01), ratio=0.85, root=True
)
orb = _make_matcher(lambda: cv2.ORB_create(nfeatures=MAX_FEATURES), ratio=0.8)
akaze = _make_matcher(lambda: cv2.AKAZE_create(), ratio=0.8)

MATCHERS = {"sift": sift, "rootsift": rootsift, "orb": orb, "akaze": akaze}
