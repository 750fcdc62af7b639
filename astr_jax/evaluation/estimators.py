"""Robust estimation of the pose or the homography behind a set of matches.

Every estimator returns None where it finds nothing, and gives the same answer at every call: the
random number generators of OpenCV and PoseLib are seeded anew inside each call.
"""

from collections.abc import Callable

import cv2
import numpy as np
import poselib
from jaxtyping import Float

POSE_CONFIDENCE = 0.99999  # that a sample without outliers was drawn
HOMOGRAPHY_CONFIDENCE = 0.9999
MAX_ITERATIONS = 10_000  # of PoseLib and of the homography; more gains points on hard pairs

Pose = Float[np.ndarray, "4 4"]  # cam1_from_cam0, |t| = 1
PoseEstimator = Callable[..., Pose | None]


def _pose(rotation: Float[np.ndarray, "3 3"], translation: Float[np.ndarray, "3"]) -> Pose:
    cam1_from_cam0 = np.eye(4)
    cam1_from_cam0[:3, :3], cam1_from_cam0[:3, 3] = rotation, translation
    return cam1_from_cam0


def _pinhole(K: Float[np.ndarray, "3 3"], points: Float[np.ndarray, "k 2"]) -> dict:
    """A PoseLib camera. The image size is not used by the estimation."""
    width, height = (int(side) + 1 for side in points.max(axis=0))
    params = [K[0, 0], K[1, 1], K[0, 2], K[1, 2]]
    return {"model": "PINHOLE", "width": width, "height": height, "params": params}


def poselib_pose(
    points0: Float[np.ndarray, "k 2"],
    points1: Float[np.ndarray, "k 2"],
    K0: Float[np.ndarray, "3 3"],
    K1: Float[np.ndarray, "3 3"],
    *,
    threshold: float = 1.0,
) -> Pose | None:
    """PoseLib's LO-RANSAC over the five-point solver; `threshold` in pixels (Sampson)."""
    if len(points0) < 5:
        return None
    points0, points1 = np.asarray(points0, np.float64), np.asarray(points1, np.float64)
    options = {
        "max_epipolar_error": threshold,
        "success_prob": POSE_CONFIDENCE,
        "max_iterations": MAX_ITERATIONS,
        "seed": 0,
    }
    pose, report = poselib.estimate_relative_pose(
        points0, points1, _pinhole(K0, points0), _pinhole(K1, points1), options, {}
    )
    return _pose(pose.R, pose.t) if report["num_inliers"] >= 5 else None


def opencv_pose(
    points0: Float[np.ndarray, "k 2"],
    points1: Float[np.ndarray, "k 2"],
    K0: Float[np.ndarray, "3 3"],
    K1: Float[np.ndarray, "3 3"],
    *,
    threshold: float = 0.5,
) -> Pose | None:
    """OpenCV's plain RANSAC of the essential matrix, as LoFTR uses it.

    Points go to the plane at depth 1 and the threshold, in pixels, is divided by the mean focal
    length of both images. Of several essential matrices the one with most points in front wins.
    """
    if len(points0) < 5:
        return None
    x0, x1 = ((p - K[:2, 2]) / K[(0, 1), (0, 1)] for p, K in ((points0, K0), (points1, K1)))
    focal = np.mean([K0[0, 0], K0[1, 1], K1[0, 0], K1[1, 1]])
    cv2.setRNGSeed(0)
    stacked, mask = cv2.findEssentialMat(
        x0, x1, np.eye(3), method=cv2.RANSAC, prob=POSE_CONFIDENCE, threshold=threshold / focal
    )
    best, best_count = None, 0
    for essential in np.split(stacked, len(stacked) // 3) if stacked is not None else ():
        count, rotation, translation, _ = cv2.recoverPose(
            essential, x0, x1, np.eye(3), 1e9, mask=mask.copy()
        )
        if count > best_count:
            best, best_count = _pose(rotation, translation[:, 0]), count
    return best


def magsac_homography(
    points0: Float[np.ndarray, "k 2"], points1: Float[np.ndarray, "k 2"], *, threshold: float = 3.0
) -> Float[np.ndarray, "3 3"] | None:
    """OpenCV's MAGSAC++ homography from image 0 to image 1; `threshold` in pixels."""
    if len(points0) < 4:
        return None
    cv2.setRNGSeed(0)
    homography, _ = cv2.findHomography(
        np.asarray(points0, np.float64),
        np.asarray(points1, np.float64),
        cv2.USAC_MAGSAC,
        threshold,
        maxIters=MAX_ITERATIONS,
        confidence=HOMOGRAPHY_CONFIDENCE,
    )
    return homography


# Name in tables and files -> estimator. The thresholds stand in the names.
POSE_ESTIMATORS: dict[str, PoseEstimator] = {
    "poselib_1px": poselib_pose,
    "ransac_0.5px": opencv_pose,
}
HOMOGRAPHY_ESTIMATORS = {"magsac_3px": magsac_homography}
