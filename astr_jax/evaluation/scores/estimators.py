"""Robust estimation of the pose or the homography behind a set of matches.

PairKind.find_estimator finds them by `name@threshold`, the threshold in pixels: "poselib@1".
Every estimator returns None where it finds nothing, and gives the same answer at every call with
the same `seed`. PoseLib draws its samples by the seed. OpenCV's samplers start from a state of
their own, so seeds other than 0 shuffle the matches beforehand, which draws other samples.
"""

import functools

import cv2
import numpy as np
from jaxtyping import Float

EstimatedPose = Float[np.ndarray, "4 4"]  # cam1_from_cam0, |t| = 1
EstimatedHomography = Float[np.ndarray, "3 3"]  # image 0 to image 1, pixels
Points = Float[np.ndarray, "k 2"]
Intrinsics = Float[np.ndarray, "3 3"]


def _shuffled(points0: Points, points1: Points, seed: int) -> tuple[Points, Points]:
    """Both lists in float64, in another order for every seed but 0."""
    points0, points1 = np.asarray(points0, np.float64), np.asarray(points1, np.float64)
    if seed == 0:
        return points0, points1
    order = np.random.default_rng(seed).permutation(len(points0))
    return points0[order], points1[order]


def _pose(rotation: Float[np.ndarray, "3 3"], translation: Float[np.ndarray, "3"]) -> EstimatedPose:
    cam1_from_cam0 = np.eye(4)
    cam1_from_cam0[:3, :3], cam1_from_cam0[:3, 3] = rotation, translation
    return cam1_from_cam0


def _pinhole(K: Intrinsics, points: Points) -> dict:
    """A PoseLib camera. The image size is not used by the estimation."""
    width, height = (int(side) + 1 for side in points.max(axis=0))
    params = [K[0, 0], K[1, 1], K[0, 2], K[1, 2]]
    return {"model": "PINHOLE", "width": width, "height": height, "params": params}


def poselib_pose(
    points0: Points,
    points1: Points,
    K0: Intrinsics,
    K1: Intrinsics,
    *,
    threshold: float,
    confidence: float,
    max_iterations: int,
    seed: int = 0,
) -> EstimatedPose | None:
    """PoseLib's LO-RANSAC over the five-point solver; `threshold` in pixels (Sampson)."""
    import poselib  # of the extra `eval`; training goes without it

    if len(points0) < 5:
        return None
    points0, points1 = np.asarray(points0, np.float64), np.asarray(points1, np.float64)
    options = {
        "max_epipolar_error": threshold,
        "success_prob": confidence,
        "max_iterations": max_iterations,
        "seed": seed,
    }
    pose, report = poselib.estimate_relative_pose(
        points0, points1, _pinhole(K0, points0), _pinhole(K1, points1), options, {}
    )
    return _pose(pose.R, pose.t) if report["num_inliers"] >= 5 else None


def opencv_pose(
    points0: Points,
    points1: Points,
    K0: Intrinsics,
    K1: Intrinsics,
    *,
    method: int,
    threshold: float,
    confidence: float,
    max_iterations: int,
    seed: int = 0,
) -> EstimatedPose | None:
    """A pose by an essential matrix of OpenCV, by a method of findEssentialMat.

    Points go to the pixels of one camera without skew, of the mean focal length of both. There the
    threshold holds; on the plane at depth 1 USAC's local optimisation does not work. Of several
    essential matrices the one with most points in front wins.
    """
    if len(points0) < 5:
        return None
    points0, points1 = _shuffled(points0, points1, seed)
    x0, x1 = ((p - K[:2, 2]) / K[(0, 1), (0, 1)] for p, K in ((points0, K0), (points1, K1)))
    focal = np.mean([K0[0, 0], K0[1, 1], K1[0, 0], K1[1, 1]])
    cv2.setRNGSeed(0)
    stacked, mask = cv2.findEssentialMat(
        focal * x0,
        focal * x1,
        np.diag([focal, focal, 1.0]),
        method=method,
        prob=confidence,
        threshold=threshold,
        maxIters=max_iterations,
    )
    best, best_count = None, 0
    for essential in np.split(stacked, len(stacked) // 3) if stacked is not None else ():
        count, rotation, translation, _ = cv2.recoverPose(
            essential, x0, x1, np.eye(3), 1e9, mask=mask.copy()
        )
        if count > best_count:
            best, best_count = _pose(rotation, translation[:, 0]), count
    return best


def opencv_homography(
    points0: Points,
    points1: Points,
    *,
    method: int,
    threshold: float,
    confidence: float,
    max_iterations: int,
    seed: int = 0,
) -> EstimatedHomography | None:
    """OpenCV's homography from image 0 to image 1, by a method of findHomography; `threshold` in
    pixels."""
    if len(points0) < 4:
        return None
    points0, points1 = _shuffled(points0, points1, seed)
    cv2.setRNGSeed(0)
    homography, _ = cv2.findHomography(
        points0,
        points1,
        method,
        threshold,
        maxIters=max_iterations,
        confidence=confidence,
    )
    return homography


def poselib_homography(
    points0: Points,
    points1: Points,
    *,
    threshold: float,
    confidence: float,
    max_iterations: int,
    seed: int = 0,
) -> EstimatedHomography | None:
    """PoseLib's LO-RANSAC homography from image 0 to image 1; `threshold` in pixels."""
    import poselib

    if len(points0) < 4:
        return None
    options = {
        "max_reproj_error": threshold,
        "success_prob": confidence,
        "max_iterations": max_iterations,
        "seed": seed,
    }
    homography, report = poselib.estimate_homography(
        np.asarray(points0, np.float64), np.asarray(points1, np.float64), options, {}
    )
    return homography if report["num_inliers"] >= 4 else None


LONG_POSE = {"confidence": 0.99999, "max_iterations": 10_000}
PLAIN_POSE = LONG_POSE | {"max_iterations": 1_000}  # as LoFTR calls it: OpenCV's own number
LONG_HOMOGRAPHY = {"confidence": 0.9999, "max_iterations": 10_000}
PLAIN_HOMOGRAPHY = {"confidence": 0.995, "max_iterations": 2_000}  # OpenCV's own, as in the papers

POSE_ESTIMATORS = {  # estimate(points0, points1, K0, K1, threshold=, seed=0)
    "poselib": functools.partial(poselib_pose, **LONG_POSE),
    "ransac": functools.partial(opencv_pose, method=cv2.RANSAC, **PLAIN_POSE),
    "magsac": functools.partial(opencv_pose, method=cv2.USAC_MAGSAC, **LONG_POSE),
}
HOMOGRAPHY_ESTIMATORS = {  # estimate(points0, points1, threshold=, seed=0)
    "magsac": functools.partial(opencv_homography, method=cv2.USAC_MAGSAC, **LONG_HOMOGRAPHY),
    "ransac": functools.partial(opencv_homography, method=cv2.RANSAC, **PLAIN_HOMOGRAPHY),
    "poselib": functools.partial(poselib_homography, **LONG_HOMOGRAPHY),
}
