"""Estimators by name, threshold and seed, on matches of which half are wrong."""

import cv2
import numpy as np
import poselib
import pytest

from astr_jax.evaluation.scores import metrics
from astr_jax.evaluation.scores.homographies import HOMOGRAPHY
from astr_jax.evaluation.scores.poses import POSE
from astr_jax.geometry import warp_points

K = np.array([[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]])
POSES = ("poselib@1", "ransac@0.5", "magsac@1")
HOMOGRAPHIES = ("ransac@3", "magsac@3", "poselib@3")


def posed_matches(noise=0.0):
    """120 points, 60 of them right, and the true pose."""
    rng = np.random.default_rng(1)
    X, step = rng.uniform([-2, -2, 4], [2, 2, 8], (120, 3)), np.array([0.5, 0.1, 0.2])
    points0, points1 = ((Y @ K.T)[:, :2] / Y[:, 2:] for Y in (X, X + step))
    points1 = points1 + rng.normal(0, 1, points1.shape) * noise
    points1 = np.where(np.arange(120)[:, None] < 60, points1, rng.uniform(0, 480, (120, 2)))
    truth = np.eye(4)
    truth[:3, 3] = step
    return points0, points1, truth


def flat_matches(noise=0.0):
    rng = np.random.default_rng(2)
    truth = np.array([[1.1, 0.1, -20], [-0.1, 0.9, 30], [1e-4, 2e-4, 1.0]])
    points0 = rng.uniform(0, [639, 479], (120, 2))
    points1 = warp_points(truth, points0) + rng.normal(0, 1, (120, 2)) * noise
    points1 = np.where(np.arange(120)[:, None] < 60, points1, rng.uniform(0, 480, (120, 2)))
    return points0, points1, truth


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("name", POSES)
def test_the_pose_is_found_among_wrong_matches(name, seed):
    points0, points1, truth = posed_matches()
    pose = POSE.find_estimator(name)(points0, points1, K, K, seed=seed)
    # Some wrong matches lie near their line by chance, and pull.
    assert metrics.pose_error(pose, truth) < 5.0
    assert np.linalg.norm(pose[:3, 3]) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", ["poselib@1", "magsac@1"])
def test_noise_of_half_a_pixel_costs_a_pose_about_a_degree(name):
    rng, errors = np.random.default_rng(5), []
    for _ in range(15):
        X, step = rng.uniform([-2, -2, 4], [2, 2, 8], (300, 3)), rng.normal(0, 0.4, 3)
        points0, points1 = (
            (Y @ K.T)[:, :2] / Y[:, 2:] + rng.normal(0, 0.5, (300, 2)) for Y in (X, X + step)
        )
        points1[:90] = rng.uniform(0, 480, (90, 2))
        truth = np.eye(4)
        truth[:3, 3] = step
        errors.append(metrics.pose_error(POSE.find_estimator(name)(points0, points1, K, K), truth))
    assert np.median(errors) < 1.5  # plain RANSAC at 0.5 px: 2.3


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("name", HOMOGRAPHIES)
def test_the_homography_is_found_among_wrong_matches(name, seed):
    points0, points1, truth = flat_matches()
    found = HOMOGRAPHY.find_estimator(name)(points0, points1, seed=seed)
    assert metrics.corner_error(found, truth, size=(480, 640)) < 0.1


@pytest.mark.parametrize("name", POSES)
def test_a_pose_is_the_same_at_every_call_and_another_by_another_seed(name):
    points0, points1, _ = posed_matches(noise=1.5)
    estimate = POSE.find_estimator(name)
    first = estimate(points0, points1, K, K)
    cv2.setRNGSeed(123)
    np.testing.assert_array_equal(first, estimate(points0, points1, K, K, seed=0))
    seeds = [estimate(points0, points1, K, K, seed=seed) for seed in range(1, 5)]
    assert any(not np.array_equal(first, other) for other in seeds)


@pytest.mark.parametrize("name", HOMOGRAPHIES)
def test_a_homography_is_the_same_at_every_call(name):
    points0, points1, _ = flat_matches(noise=1.0)
    estimate = HOMOGRAPHY.find_estimator(name)
    for seed in (0, 5):
        first = estimate(points0, points1, seed=seed)
        cv2.setRNGSeed(123)
        np.testing.assert_array_equal(first, estimate(points0, points1, seed=seed))


def test_the_name_carries_the_threshold():
    points0, points1, _ = posed_matches(noise=1.0)
    camera = {"model": "PINHOLE", "width": 640, "height": 480, "params": [500, 500, 320, 240]}
    options = {"max_epipolar_error": 2.5, "success_prob": 0.99999, "max_iterations": 10_000}
    pose, _ = poselib.estimate_relative_pose(points0, points1, camera, camera, options, {})
    by_name = POSE.find_estimator("poselib@2.5")(points0, points1, K, K)
    np.testing.assert_array_equal(by_name[:3], np.c_[pose.R, pose.t])
    points0, points1, _ = flat_matches(noise=1.0)
    by_name = HOMOGRAPHY.find_estimator("magsac@2")(points0, points1)
    cv2.setRNGSeed(0)
    options = {"maxIters": 10_000, "confidence": 0.9999}
    direct, _ = cv2.findHomography(points0, points1, cv2.USAC_MAGSAC, 2.0, **options)
    np.testing.assert_array_equal(by_name, direct)


def test_plain_ransac_is_opencv_as_the_papers_call_it():
    points0, points1, _ = flat_matches(noise=1.0)
    cv2.setRNGSeed(0)
    direct, _ = cv2.findHomography(points0, points1, cv2.RANSAC, 3.0)
    found = HOMOGRAPHY.find_estimator("ransac@3")(points0, points1)
    np.testing.assert_array_equal(found, direct)
    points0, points1, _ = posed_matches(noise=1.0)
    x0, x1 = ((p - K[:2, 2]) / 500 for p in (points0, points1))
    cv2.setRNGSeed(0)
    essential, mask = cv2.findEssentialMat(x0, x1, np.eye(3), cv2.RANSAC, 0.99999, 0.5 / 500)
    _, R, t, _ = cv2.recoverPose(essential, x0, x1, np.eye(3), 1e9, mask=mask)
    found = POSE.find_estimator("ransac@0.5")(points0, points1, K, K)
    np.testing.assert_allclose(found[:3], np.c_[R, t], atol=1e-12)


def test_the_limits_of_a_search_are_stated():
    assert POSE.stated_limits("ransac@0.5") == {"confidence": 0.99999, "max_iterations": 1_000}
    assert HOMOGRAPHY.stated_limits("ransac@3")["max_iterations"] == 2_000
    assert HOMOGRAPHY.stated_limits("magsac@3")["confidence"] == 0.9999


@pytest.mark.parametrize(
    "name", ["poselib", "poselib@", "poselib@0", "poselib@inf", "usac@1", "@1"]
)
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match=r"no pose estimator .*poselib, ransac, magsac"):
        POSE.find_estimator(name)


def test_too_few_matches_give_nothing():
    few = np.random.default_rng(0).uniform(0, 100, (4, 2))
    assert all(POSE.find_estimator(name)(few, few, K, K) is None for name in POSES)
    few = few[:3]
    assert all(HOMOGRAPHY.find_estimator(name)(few, few) is None for name in HOMOGRAPHIES)
