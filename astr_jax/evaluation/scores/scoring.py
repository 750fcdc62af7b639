"""The scores of one pair's matches: errors of every estimator and seed, shares of right ones."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.resizing import LoadedPair
from astr_jax.evaluation.scores import metrics
from astr_jax.evaluation.scores.calibration import confidence_histogram, sigma_histogram
from astr_jax.evaluation.scores.estimators import find_estimator

EPIPOLAR_THRESHOLDS = (5e-4, 1e-4)  # squared, on the plane at depth 1
PIXEL_THRESHOLDS = tuple(range(1, 11))  # off a homography: the mean matching accuracy
# What is right, where confidence is judged. At a focal length of 500 px 1e-4 is 5 px; 5e-4 would
# be 11 px, so wide that nearly every match near its line were right.
RIGHT = {"pose": 1e-4, "homography": 3}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """Checked matches of a pair, pixels of the images as the matcher was given them."""

    points0: Float[np.ndarray, "k 2"]
    points1: Float[np.ndarray, "k 2"]
    confidence: Float[np.ndarray, " k"]
    sigma: Float[np.ndarray, " k"] | None = None  # deviation of points1, per axis

    def most_confident(self, count: int | None) -> "Found":
        """At most `count` of them; None: all."""
        if count is None or len(self.confidence) <= count:
            return self
        keep = np.argsort(-self.confidence, kind="stable")[:count]
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Found(**{n: v if v is None else v[keep] for n, v in fields.items()})


def checked_matches(returned) -> Found:
    """What a matcher returned: keypoints0, keypoints1, confidence, and sigma if it has it."""
    if not isinstance(returned, tuple | list) or len(returned) not in (3, 4):
        raise ValueError(
            "a matcher must return (keypoints0, keypoints1, confidence) or, with sigma, four "
            f"arrays; got {type(returned).__name__}."
        )
    arrays = [np.asarray(array, np.float64) for array in returned if array is not None]
    shapes = [array.shape for array in arrays]
    k = len(arrays[0]) if arrays[0].ndim else 0
    if shapes not in ([(k, 2), (k, 2), (k,)], [(k, 2), (k, 2), (k,), (k,)]):
        raise ValueError(
            "a matcher must return keypoints0 [k 2], keypoints1 [k 2], confidence [k] and, if it "
            f"has it, sigma [k]; got the shapes {', '.join(map(str, shapes))}."
        )
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("the matcher returned keypoints, confidences or sigmas, not all finite.")
    return Found(**dict(zip(("points0", "points1", "confidence", "sigma"), arrays, strict=False)))


def kind_of(pair: Pair) -> str:
    return "pose" if pair.homography is None else "homography"


def estimators_of(benchmark: Benchmark, kind: str) -> tuple[str, ...]:
    """The names of the estimators that a benchmark wants for a kind of pair."""
    return benchmark.pose_estimators if kind == "pose" else benchmark.homography_estimators


def precision_names(kind: str) -> list[str]:
    if kind == "pose":
        return [f"epi@{t:g}" for t in EPIPOLAR_THRESHOLDS]
    return [f"{t:g}px" for t in PIXEL_THRESHOLDS]


def right_name(kind: str) -> str:
    """The share among the precisions that counts the right matches."""
    return f"epi@{RIGHT[kind]:g}" if kind == "pose" else f"{RIGHT[kind]:g}px"


def right_matches(found: Found, given: LoadedPair, pair: Pair) -> Bool[np.ndarray, " k"]:
    """Which matches are right, where confidence is judged."""
    points = found.points0, found.points1
    if pair.homography is None:
        cameras = pair.cam1_from_cam0, given.K0, given.K1
        return metrics.epipolar_errors(*points, *cameras) < RIGHT["pose"]
    return metrics.transfer_errors(*points, given.homography) < RIGHT["homography"]


def score_pair(
    found: Found, given: LoadedPair, pair: Pair, names, seeds, *, in_file_pixels: bool = False
) -> dict:
    """The scores of a pair by its kind; fields of a record."""
    if pair.homography is None:
        frame = {"in_file_pixels": in_file_pixels}
        return score_pose(found, given, pair.cam1_from_cam0, names, seeds, **frame)
    return score_homography(found, given, names, seeds)


def score_pose(
    found: Found, given: LoadedPair, truth, names, seeds, *, in_file_pixels: bool = False
) -> dict:
    """Pose errors in degrees, epipolar precision and calibration; fields of a record.

    truth: cam1_from_cam0. in_file_pixels: poses are estimated from the matches' places in the
    files, so that the estimators' thresholds are in their pixels.
    """
    points, K0, K1 = (found.points0, found.points1), given.K0, given.K1
    estimated_from = *points, K0, K1
    if in_file_pixels:
        back0, back1 = np.linalg.inv(given.resize0), np.linalg.inv(given.resize1)
        places = metrics.warp_points(back0, points[0]), metrics.warp_points(back1, points[1])
        estimated_from = *places, back0 @ K0, back1 @ K1
    squared = metrics.epipolar_errors(*points, truth, K0, K1)
    sampson = np.full(len(squared), np.nan)  # without a baseline there are no lines
    if metrics.has_baseline(truth):
        sampson = metrics.sampson_error(*points, metrics.fundamental_matrix(truth, K0, K1))
    errors = {
        name: tuple(
            metrics.pose_error(find_estimator(name)(*estimated_from, seed=seed), truth)
            for seed in seeds
        )
        for name in names
    }
    shares = [_share(squared < threshold) for threshold in EPIPOLAR_THRESHOLDS]
    return {
        "errors": errors,
        "precision": dict(zip(precision_names("pose"), shares, strict=True)),
        **_calibration(found, squared < RIGHT["pose"], np.sqrt(sampson)),
    }


def score_homography(found: Found, given: LoadedPair, names, seeds) -> dict:
    """Corner errors in pixels of the resized image 1, mean matching accuracy and calibration;
    fields of a record."""
    points, truth, size = (found.points0, found.points1), given.homography, given.img0.shape
    distance = metrics.transfer_errors(*points, truth)
    errors = {
        name: tuple(
            metrics.corner_error(
                find_estimator(name, "homography")(*points, seed=seed), truth, size=size
            )
            for seed in seeds
        )
        for name in names
    }
    shares = [_share(distance < threshold) for threshold in PIXEL_THRESHOLDS]
    return {
        "errors": errors,
        "precision": dict(zip(precision_names("homography"), shares, strict=True)),
        **_calibration(found, distance < RIGHT["homography"], distance),
    }


def _share(right) -> float:
    return float(right.mean()) if len(right) else 0.0


def _calibration(found: Found, right, error) -> dict:
    sigma = found.sigma
    return {
        "confidence_bins": confidence_histogram(found.confidence, right),
        "sigma_bins": None if sigma is None else sigma_histogram(sigma, error),
    }


def rotation_about_axis(matrix: Float[np.ndarray, "r c"]) -> float:
    """The part of a rotation [3 3] about its third axis, or of a Jacobian [2 2], in degrees."""
    return float(np.degrees(np.arctan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1])))


def geometry_of_homography(
    homography: Float[np.ndarray, "3 3"], size0: tuple[int, int], size1: tuple[int, int]
) -> dict[str, float | None]:
    """Overlap, the share of image 0 (h, w) that lies in image 1; scale ratio (larger in image 1:
    above 1) and rotation at the centre of image 0, None where that goes to infinity."""
    x, y = np.meshgrid(*(np.linspace(0, side - 1, 32) for side in size0[::-1]))
    there = metrics.warp_points(homography, np.stack([x.ravel(), y.ravel()], axis=1))
    inside = (there >= 0) & (there <= np.array(size1[::-1]) - 1)
    known = {"overlap": float(inside.all(axis=1).mean()), "scale_ratio": None, "rotation": None}
    x, y, depth = homography @ np.array([(size0[1] - 1) / 2, (size0[0] - 1) / 2, 1.0])
    if abs(depth) < 1e-9 * np.abs(homography).max():
        return known
    jacobian = (homography[:2, :2] - np.outer([x / depth, y / depth], homography[2, :2])) / depth
    scale = float(np.sqrt(abs(np.linalg.det(jacobian))))
    return known | {"scale_ratio": scale, "rotation": rotation_about_axis(jacobian)}
