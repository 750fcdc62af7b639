"""Truths of pairs: what is refused, and that they follow their images to another size."""

import pathlib

import numpy as np
import pytest

from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.truths import HomographyTruth, PoseTruth
from astr_jax.geometry import warp_points

K = np.array([[500.0, 0, 160], [0, 500.0, 120], [0, 0, 1]])
HALF = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]])
OTHER = np.diag([2.0, 3.0, 1.0])
POSE = np.array([[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])


def test_the_cameras_of_a_pose_follow_their_images_and_the_pose_stays():
    truth = PoseTruth(K0=K, K1=K, cam1_from_cam0=POSE).resized(HALF, OTHER)
    np.testing.assert_allclose(truth.K0, [[250, 0, 79.75], [0, 250, 59.75], [0, 0, 1]])
    np.testing.assert_allclose(truth.K1, [[1000, 0, 320], [0, 1500, 360], [0, 0, 1]])
    assert truth.cam1_from_cam0 is POSE
    assert truth.cameras == {"K0": truth.K0, "K1": truth.K1}


def test_a_homography_leads_to_the_same_places_at_another_size():
    homography = np.array([[1.0, 0.1, 8], [0, 1, -4], [1e-4, 0, 1]])
    truth = HomographyTruth(homography=homography).resized(HALF, OTHER)
    points = np.array([[10.0, 20], [300, 200]])
    there = warp_points(OTHER, warp_points(homography, points))
    np.testing.assert_allclose(warp_points(truth.homography, warp_points(HALF, points)), there)
    assert truth.cameras == {"K0": None, "K1": None}


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (PoseTruth(K0=K, K1=-K, cam1_from_cam0=POSE), "a b: K1 must have positive focal lengths"),
        (PoseTruth(K0=K, K1=K, cam1_from_cam0=2 * POSE), "a b: T_0to1 must be a rotation and"),
        (HomographyTruth(homography=np.zeros((3, 3))), "a b: H_0to1 must have an inverse"),
    ],
)
def test_a_pair_with_a_truth_that_is_none_is_refused_by_its_name(truth, message):
    path = pathlib.Path("none.png")
    with pytest.raises(ValueError, match=message):
        Pair(set="s", name="a b", image0=path, image1=path, truth=truth)
