"""What calibrates a matcher is found, where its fault is known."""

import dataclasses
import pathlib

import numpy as np
import pytest
from made_up import MadeUp
from miniatures import K as CAMERA
from miniatures import Scene

from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.resizing import LoadedPair
from astr_jax.evaluation.benchmarks.truths import HomographyTruth, PoseTruth
from astr_jax.evaluation.scores.found import checked_matches
from astr_jax.evaluation.studies.calibration_fit import (
    TEMPERATURES,
    JudgedCandidates,
    Score,
    best_threshold,
    fit_sigma,
    fit_temperature,
    interpolated,
    records_at,
)

SIZE = 192, 256  # (h, w)


def candidates_of(made_up):
    """All its matches of one pair, judged by the truth that nothing moved."""
    pixels, eye, path = np.zeros(SIZE, np.uint8), np.eye(3), pathlib.Path("none.png")
    truth = HomographyTruth(homography=eye)
    given = LoadedPair(image0=pixels, image1=pixels, truth=truth, resize0=eye, resize1=eye)
    pair = Pair(set="s", name=f"{made_up.seed}", image0=path, image1=path, truth=truth)
    returned, log_confidence = made_up.all_found()
    return JudgedCandidates.of(pair, given, checked_matches(returned), log_confidence)


@pytest.mark.parametrize("fault", [0.4, 1.0, 2.5])
def test_the_temperature_that_undoes_a_known_distortion_is_found(fault):
    candidates = [candidates_of(MadeUp(fault, 1.0, seed)) for seed in range(2)]
    assert fit_temperature(candidates) == pytest.approx(fault, rel=0.1)


@pytest.mark.parametrize("too_large", [0.5, 1.0, 3.0])
def test_the_factor_that_undoes_wrong_sigmas_is_found(too_large):
    records = records_at([candidates_of(MadeUp(1.0, too_large))], 1.0, 0.3, seeds=(0,))
    assert fit_sigma(records) == pytest.approx(1 / too_large, rel=0.1)


def test_between_two_temperatures_log_p_is_interpolated():
    log_confidence = np.array([-2.0, -0.1]) / TEMPERATURES[:, None]
    np.testing.assert_allclose(interpolated(log_confidence, 0.25), [-8, -0.4])
    np.testing.assert_allclose(interpolated(log_confidence, 4.0), [-0.5, -0.025])
    np.testing.assert_allclose(
        interpolated(log_confidence, 0.77), [-2 / 0.77, -0.1 / 0.77], rtol=5e-3
    )


def test_a_threshold_keeps_what_is_above_it_at_the_new_temperature():
    candidates = candidates_of(MadeUp(0.5, 1.0))
    found = candidates.at(0.5, 0.4)
    p = MadeUp(0.5, 1.0).drawn()[0]
    np.testing.assert_allclose(found.confidence, p[p > 0.4], rtol=1e-2)
    assert len(found.points0) == len(found.points1) == len(found.sigma) == (p > 0.4).sum()


def test_without_a_wrong_match_there_is_no_temperature():
    candidates = candidates_of(MadeUp(1.0, 1.0))
    with pytest.raises(ValueError, match="right: a temperature needs right and wrong ones"):
        fit_temperature([dataclasses.replace(candidates, right=np.ones(4000, bool))])


def test_the_threshold_is_best_with_its_neighbours_not_by_a_lucky_peak():
    def best(*areas):
        return best_threshold(
            {
                (i + 1) / 20: Score(
                    calibration_error=0.1, sigma_fit=1.0, num_matches=9, auc=auc, precision=0.9
                )
                for i, auc in enumerate(areas)
            }
        )

    assert best(0.70, 0.80, 0.80, 0.80, 0.70, 0.60, 0.60, 0.88, 0.60) == 0.15
    assert best(*[0.8] * 9) == 0.45  # of equals the most precise
    assert best(*[0.8] * 6, 0.7, 0.6, 0.5) == 0.2
    assert best(*[0.809] * 5, *[0.801] * 5, 0.6, 0.6, 0.6) == 0.4  # a point is no difference


def test_matches_of_a_pose_are_right_near_their_lines(rng):
    scene = Scene(rng, 2)
    pixels = [np.full((72, 96), grey, np.uint8) for grey in (5, 10)]
    points0, points1, confidence = scene.match(*pixels)
    points1[:50] += [0.0, 5.0]  # 1e-4 is less than a pixel at this focal length of 80 px
    eye, path = np.eye(3), pathlib.Path("none.png")
    truth = PoseTruth(K0=CAMERA, K1=CAMERA, cam1_from_cam0=scene.pose(0, 1))
    images = {"image0": pixels[0], "image1": pixels[1]}
    given = LoadedPair(**images, truth=truth, resize0=eye, resize1=eye)
    pair = Pair(set="s", name="p", image0=path, image1=path, truth=truth)
    found = checked_matches((points0, points1, confidence))
    log_confidence = np.log(np.where(np.arange(150) < 50, 0.2, 0.9)) / TEMPERATURES[:, None]
    candidates = JudgedCandidates.of(pair, given, found, log_confidence)
    assert candidates.right[50:].all()
    assert candidates.right[:50].mean() < 0.1
    (all_of_them,) = records_at([candidates], 1.0, 0.1, seeds=(0, 1))
    (best,) = records_at([candidates], 1.0, 0.5, seeds=(0, 1))
    assert all_of_them.num_matches == 150
    assert best.num_matches == 100
    assert max(best.errors["poselib@1"]) < 0.1
    assert len(best.errors["poselib@1"]) == 2
