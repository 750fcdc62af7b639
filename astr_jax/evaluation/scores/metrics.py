"""Errors and scores of matches, poses and homographies; plain numpy, no robust estimation here.

Points are (x, y) in pixels, pixel centres at whole numbers. `cam1_from_cam0` [4 4] takes camera-0
coordinates to camera-1 coordinates. Angles come out in degrees, shares and areas under curves in
[0, 1]. A missing estimate is an error of infinity, never a pair left out.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from astr_jax.geometry import essential_matrix, warp_points

MIN_BASELINE = 1e-9  # length of a translation, in the truth's units, below which it is none


def rotation_error(
    rotation: Float[np.ndarray, "3 3"], true_rotation: Float[np.ndarray, "3 3"]
) -> float:
    """Angle in degrees of the rotation between an estimate and the truth."""
    relative = np.asarray(rotation, np.float64).T @ np.asarray(true_rotation, np.float64)
    # sin from the skew part, cos from the trace: exact at both 0 and 180 degrees.
    skew = np.array([relative[2, 1], relative[0, 2], relative[1, 0]]) - np.array(
        [relative[1, 2], relative[2, 0], relative[0, 1]]
    )
    return float(np.degrees(np.arctan2(np.linalg.norm(skew) / 2, (np.trace(relative) - 1) / 2)))


def translation_error(
    translation: Float[np.ndarray, "3"],
    true_translation: Float[np.ndarray, "3"],
    *,
    min_baseline: float = MIN_BASELINE,
) -> float:
    """Angle in degrees between the two directions, in [0, 90].

    An essential matrix does not fix the sign of t, so t and -t count the same. Where the true
    baseline is at most `min_baseline` there is no direction to miss: the error is 0. An estimate
    without a direction, where there is one, counts 90.
    """
    if np.linalg.norm(true_translation) <= min_baseline:
        return 0.0
    if np.linalg.norm(translation) == 0.0:
        return 90.0
    a = np.asarray(translation, np.float64) / np.linalg.norm(translation)
    b = np.asarray(true_translation, np.float64) / np.linalg.norm(true_translation)
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), abs(a @ b))))


def pose_error(
    cam1_from_cam0: Float[np.ndarray, "4 4"] | None,
    true_cam1_from_cam0: Float[np.ndarray, "4 4"],
    *,
    min_baseline: float = MIN_BASELINE,
) -> float:
    """The larger of the rotation and the translation error, in degrees; inf without a pose."""
    if cam1_from_cam0 is None or not np.isfinite(cam1_from_cam0).all():
        return float("inf")
    return max(
        rotation_error(cam1_from_cam0[:3, :3], true_cam1_from_cam0[:3, :3]),
        translation_error(
            cam1_from_cam0[:3, 3], true_cam1_from_cam0[:3, 3], min_baseline=min_baseline
        ),
    )


def corner_error(
    homography: Float[np.ndarray, "3 3"] | None,
    true_homography: Float[np.ndarray, "3 3"],
    *,
    size: tuple[int, int],
) -> float:
    """Mean distance in pixels of image 0's four corners under both homographies.

    `size` is (height, width) of image 0; its corners are the centres of its corner pixels.
    inf without a homography, or where a corner leaves for infinity.
    """
    if homography is None or not np.isfinite(homography).all():
        return float("inf")
    bottom, right = size[0] - 1.0, size[1] - 1.0
    corners = np.array([[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]])
    here, there = warp_points(homography, corners), warp_points(true_homography, corners)
    if not (np.isfinite(here).all() and np.isfinite(there).all()):
        return float("inf")
    return float(np.linalg.norm(here - there, axis=1).mean())


def error_auc(
    errors: Sequence[float] | Float[np.ndarray, " n"], thresholds: Sequence[float]
) -> list[float]:
    """Area under the cumulative error curve up to each threshold, over the threshold.

    LoFTR's definition, by the trapezoid rule: recall rises from (0, 0) by 1/n at each sorted error,
    linearly between them. It is level from the last error below the threshold on. Exact to n
    errors: a pair counts as failed by an error of inf.
    """
    errors = np.sort(np.asarray(errors, np.float64))
    if errors.size == 0:
        raise ValueError("error_auc needs at least one error; got none.")
    if np.isnan(errors).any() or (errors < 0).any():
        raise ValueError("errors must be numbers of at least 0 (inf for a failure).")
    errors = np.concatenate([[0.0], errors])
    recall = np.arange(errors.size) / (errors.size - 1)
    areas = []
    for threshold in thresholds:
        last = np.searchsorted(errors, threshold)  # the first error at or past the threshold
        x = np.concatenate([errors[:last], [threshold]])
        y = np.concatenate([recall[:last], [recall[last - 1]]])
        areas.append(float(np.trapezoid(y, x) / threshold))
    return areas


def normalised_points(
    points: Float[np.ndarray, "k 2"], K: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "k 2"]:
    """Pixels to the plane at depth 1: K^-1 (x, y, 1)."""
    return warp_points(np.linalg.inv(K), points)


def _epipolar_terms(points0, points1, matrix):
    """(x1^T M x0)^2 [k], and the squared normals of the lines in image 1 and in image 0 [k]."""
    lines1 = np.asarray(points0, np.float64) @ matrix[:, :2].T + matrix[:, 2]  # M x0
    lines0 = np.asarray(points1, np.float64) @ matrix[:2] + matrix[2]  # M^T x1
    algebraic = (np.asarray(points1) * lines1[:, :2]).sum(axis=1) + lines1[:, 2]
    tiny = np.finfo(np.float64).tiny
    normal1 = np.maximum((lines1[:, :2] ** 2).sum(axis=1), tiny)
    normal0 = np.maximum((lines0[:, :2] ** 2).sum(axis=1), tiny)
    return algebraic**2, normal1, normal0


def sampson_error(
    points0: Float[np.ndarray, "k 2"],
    points1: Float[np.ndarray, "k 2"],
    matrix: Float[np.ndarray, "3 3"],
) -> Float[np.ndarray, " k"]:
    """Squared Sampson distance of each match: (x1^T M x0)^2 over the sum of both normals.

    In the squared units of the points: pixels with a fundamental matrix, the plane at depth 1
    with an essential matrix.
    """
    algebraic, normal1, normal0 = _epipolar_terms(points0, points1, matrix)
    return algebraic / (normal0 + normal1)


def symmetric_epipolar_error(
    points0: Float[np.ndarray, "k 2"],
    points1: Float[np.ndarray, "k 2"],
    matrix: Float[np.ndarray, "3 3"],
) -> Float[np.ndarray, " k"]:
    """Sum of the squared distances of each point to the line of the other one [k]."""
    algebraic, normal1, normal0 = _epipolar_terms(points0, points1, matrix)
    return algebraic * (1.0 / normal0 + 1.0 / normal1)


def line_distances(
    points0: Float[np.ndarray, "k 2"],
    points1: Float[np.ndarray, "k 2"],
    matrix: Float[np.ndarray, "3 3"],
) -> Float[np.ndarray, " k"]:
    """How far each point of image 1 lies from the epipolar line of its partner, in its units [k].

    matrix: the fundamental matrix for pixels, the essential one for the plane at depth 1.
    """
    algebraic, normal1, _ = _epipolar_terms(points0, points1, matrix)
    return np.sqrt(algebraic / normal1)


def epipolar_errors(
    points0: Float[np.ndarray, "k 2"],
    points1: Float[np.ndarray, "k 2"],
    cam1_from_cam0: Float[np.ndarray, "4 4"],
    K0: Float[np.ndarray, "3 3"],
    K1: Float[np.ndarray, "3 3"],
) -> Float[np.ndarray, " k"]:
    """Squared symmetric epipolar errors on the plane at depth 1 [k].

    Without a baseline there are no epipolar lines: then the squared distances to where the rotation
    takes the other point, summed likewise.
    """
    x0, x1 = normalised_points(points0, K0), normalised_points(points1, K1)
    if has_baseline(cam1_from_cam0):
        return symmetric_epipolar_error(x0, x1, essential_matrix(cam1_from_cam0))
    rotation = cam1_from_cam0[:3, :3]
    there, back = warp_points(rotation, x0) - x1, warp_points(rotation.T, x1) - x0
    return (there**2).sum(axis=1) + (back**2).sum(axis=1)


def has_baseline(cam1_from_cam0: Float[np.ndarray, "4 4"]) -> bool:
    """Whether the cameras stand apart, so that the translation has a direction."""
    return bool(np.linalg.norm(cam1_from_cam0[:3, 3]) > MIN_BASELINE)


def epipolar_precision(
    points0: Float[np.ndarray, "k 2"],
    points1: Float[np.ndarray, "k 2"],
    cam1_from_cam0: Float[np.ndarray, "4 4"],
    K0: Float[np.ndarray, "3 3"],
    K1: Float[np.ndarray, "3 3"],
    *,
    threshold: float,
) -> float:
    """Share of matches whose symmetric epipolar error on the plane at depth 1 is below threshold.

    The error is the squared one, as in SuperGlue and LoFTR, whose thresholds are 5e-4 and 1e-4.
    0 without matches.
    """
    if len(points0) == 0:
        return 0.0
    error = epipolar_errors(points0, points1, cam1_from_cam0, K0, K1)
    return float((error < threshold).mean())


def transfer_errors(
    points0: Float[np.ndarray, "k 2"],
    points1: Float[np.ndarray, "k 2"],
    homography: Float[np.ndarray, "3 3"],
) -> Float[np.ndarray, " k"]:
    """Pixels of image 1 between a match and where the homography takes its point of image 0.

    inf where that goes to or behind the line at infinity.
    """
    return np.linalg.norm(warp_points(homography, points0) - points1, axis=1)
