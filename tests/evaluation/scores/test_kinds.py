"""The two kinds of pairs: told by their truth, and the words and limits that hang together."""

import dataclasses

import numpy as np
import pytest

from astr_jax.evaluation.benchmarks.resizing import LoadedPair
from astr_jax.evaluation.benchmarks.truths import HomographyTruth, PoseTruth
from astr_jax.evaluation.scores.found import FoundMatches
from astr_jax.evaluation.scores.homographies import HOMOGRAPHY
from astr_jax.evaluation.scores.kinds import KINDS, kind_named, kind_of
from astr_jax.evaluation.scores.poses import POSE
from astr_jax.evaluation.scores.scoring import right_matches, score_pair

K = np.array([[500.0, 0, 160], [0, 500.0, 120], [0, 0, 1]])
STEP = np.array([[1.0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # sideways
SHIFT = np.array([[1.0, 0, 8], [0, 1, 0], [0, 0, 1]])
HALF = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]])  # pixels of the file to half of it
POSED = PoseTruth(K0=K, K1=K, cam1_from_cam0=STEP)
FLAT = HomographyTruth(homography=SHIFT)
POINTS = np.array([[50.0, 60], [90, 70], [130, 100], [200, 150]])


def loaded(truth):
    """A pair as a matcher is given it; truth: in pixels of the small images."""
    image = np.zeros((240, 320), np.uint8)
    return LoadedPair(image0=image, image1=image, truth=truth, resize0=HALF, resize1=HALF)


def moved_by(x, y):
    """Matches of POINTS with themselves moved."""
    points1 = POINTS + np.stack(np.broadcast_arrays(x, y, np.zeros(4))[:2], axis=1)
    return FoundMatches(points0=POINTS, points1=points1, confidence=np.full(4, 0.5))


def test_a_pair_is_of_the_kind_of_its_truth_and_a_file_names_it():
    assert kind_of(loaded(POSED)) is kind_named("pose") is POSE
    assert kind_of(loaded(FLAT)) is kind_named("homography") is HOMOGRAPHY
    with pytest.raises(ValueError, match="no kind of pairs 'essential'; there are: pose, homo"):
        kind_named("essential")


@pytest.mark.parametrize("kind", KINDS)
def test_the_limits_of_a_kind_are_among_those_that_are_measured(kind):
    assert kind.solved in kind.thresholds
    assert kind.right_share in kind.share_names
    assert set(kind.shown_shares) <= set(kind.share_names)
    assert kind.find_estimator(kind.judge)


def test_reports_and_tables_have_the_words_that_they_always_had():
    assert POSE.area_name == "pose AUC@5/10/20 degrees"
    assert HOMOGRAPHY.area_name == "corner AUC@1/3/5/10 px"
    assert POSE.share_names == ["epi@0.0005", "epi@0.0001"]
    assert HOMOGRAPHY.share_names == [f"{n}px" for n in range(1, 11)]
    assert POSE.shown_words == "squared epipolar error below 0.0005 / 0.0001"
    assert HOMOGRAPHY.shown_words == "within 1px / 3px / 5px / 10px"
    assert (POSE.solved_area, HOMOGRAPHY.solved_words) == ("AUC@10", "5 px")


def test_matches_of_a_pose_are_right_near_their_lines():
    # Lines are rows. At 500 px of focal length a squared error of 1e-4 is off by sqrt(12.5) px.
    off = np.array([0.0, 3.53, -3.54, 20.0])
    found = moved_by([-20, -30, -15, -25], off)
    assert right_matches(found, loaded(POSED)).tolist() == [True, True, False, False]
    errors = POSE.pixel_errors(found, loaded(POSED))
    np.testing.assert_allclose(errors, np.abs(off) / 2**0.5, atol=1e-9)


def test_without_a_baseline_sigma_has_no_error_to_be_held_against():
    still = loaded(dataclasses.replace(POSED, cam1_from_cam0=np.eye(4)))
    found = moved_by(3.0, 4.0)
    assert np.isnan(POSE.pixel_errors(found, still)).all()
    np.testing.assert_allclose(POSE.drawn_errors(found, still)[0], 5.0)


def test_matches_of_a_homography_are_right_near_their_place():
    found = moved_by(8.0, np.array([0.0, 2.9, -3.1, 40.0]))
    assert right_matches(found, loaded(FLAT)).tolist() == [True, True, False, False]
    np.testing.assert_allclose(HOMOGRAPHY.pixel_errors(found, loaded(FLAT)), [0, 2.9, 3.1, 40])


def test_estimators_of_poses_may_be_given_pixels_of_the_files_and_others_never_are():
    small, found = loaded(POSED.resized(HALF, HALF)), moved_by(-20.0, 0.0)
    points0, points1, K0, K1 = POSE.estimator_inputs(found, small, poses_in_file_pixels=True)
    np.testing.assert_allclose(points0, 2 * found.points0 + 0.5)
    np.testing.assert_allclose(points1, 2 * found.points1 + 0.5)
    np.testing.assert_allclose((K0, K1), (K, K))
    as_matched = POSE.estimator_inputs(found, small)
    assert as_matched == (found.points0, found.points1, small.truth.K0, small.truth.K1)
    never = HOMOGRAPHY.estimator_inputs(found, loaded(FLAT), poses_in_file_pixels=True)
    assert never == (found.points0, found.points1)


@pytest.mark.parametrize("truth", [POSED, FLAT])
def test_the_scores_of_no_matches_are_infinite_errors_and_empty_shares(truth):
    given, none = loaded(truth), moved_by(0.0, 0.0)[:0]
    kind = kind_of(given)
    scores = score_pair(none, given, (kind.judge,), (0, 1))
    assert scores["errors"] == {kind.judge: (np.inf, np.inf)}
    assert scores["precision"] == dict.fromkeys(kind.share_names, 0.0)
    assert scores["sigma_bins"] is None
