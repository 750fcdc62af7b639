"""Metrics against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_jax.evaluation.scores import metrics
from astr_jax.geometry import essential_matrix, fundamental_matrix


def rotation_about_z(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def pose(rotation, translation):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix


def test_auc_of_one_error_is_a_triangle_and_a_plateau():
    # Recall climbs to 1 at 2 and stays: (2/2 + 3) / 5.
    assert metrics.error_auc([2.0], [5.0]) == pytest.approx([0.8], abs=1e-9)


def test_auc_follows_the_trapezoids_worked_out_by_hand():
    # Sorted 1, 3, 7, inf: recall 1/4, 2/4, 3/4. To 5: 1/8 + 2*3/8 + 2*1/2 = 15/8. To 10:
    # 1/8 + 2*3/8 + 4*5/8 + 3*3/4 = 45/8.
    areas = metrics.error_auc([7.0, np.inf, 1.0, 3.0], [5.0, 10.0])
    assert areas == pytest.approx([15 / 8 / 5, 45 / 8 / 10], abs=1e-9)


def test_auc_of_equal_errors_and_of_errors_below_at_and_past_the_threshold():
    # Sorted 2, 2, 5, 8, inf: recall 1/5 and 2/5 at 2, 3/5, 4/5. To 5, which is not below itself:
    # 2*1/10 + 3*2/5 = 7/5. To 10: 2*1/10 + 3*1/2 + 3*7/10 + 2*4/5 = 27/5.
    areas = metrics.error_auc([np.inf, 5.0, 2.0, 8.0, 2.0], [5.0, 10.0])
    assert areas == pytest.approx([7 / 5 / 5, 27 / 5 / 10], abs=1e-9)


def test_auc_has_the_values_that_the_tests_of_gtsfm_and_kornia_state():
    # GTSfM, tests/utils/test_metric_utils.py: five errors of 5 at 5, 10 and 20 degrees. The first
    # lifts a slope to 1/5, the others a step to 1: (5*1/10 + 5) / 10 and (5*1/10 + 15) / 20.
    areas = metrics.error_auc([5.0] * 5, [5.0, 10.0, 20.0])
    assert areas == pytest.approx([0.0, 0.55, 0.775], abs=1e-9)
    # kornia, tests/metrics/test_pose.py: one error of 2 at 2 and 4 degrees, 0 and 75 %.
    assert metrics.error_auc([2.0], [2.0, 4.0]) == pytest.approx([0.0, 0.75], abs=1e-9)


def test_auc_of_perfect_and_of_failed_pairs():
    assert metrics.error_auc([0.0, 0.0, 0.0], [5.0]) == pytest.approx([1.0], abs=1e-9)
    assert metrics.error_auc([np.inf, np.inf], [5.0, 20.0]) == pytest.approx([0.0, 0.0], abs=1e-9)


def test_an_error_at_the_threshold_counts_as_past_it():
    assert metrics.error_auc([5.0], [5.0]) == pytest.approx([0.0], abs=1e-9)


@settings(deadline=None)  # the machine may be busy
@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=20),
    st.floats(0.01, 50),
    st.floats(1.0, 3.0),
)
def test_auc_lies_in_the_unit_interval_and_falls_as_errors_grow(errors, threshold, factor):
    (area,) = metrics.error_auc(errors, [threshold])
    (worse,) = metrics.error_auc([error * factor for error in errors], [threshold])
    assert -1e-12 <= worse <= area + 1e-9 <= 1 + 2e-9


@pytest.mark.parametrize("errors", [[], [np.nan], [-1.0]])
def test_auc_refuses_what_is_no_list_of_errors(errors):
    with pytest.raises(ValueError, match="error"):
        metrics.error_auc(errors, [5.0])


@pytest.mark.parametrize("degrees", [0.0, 1e-6, 30.0, 179.0, 180.0])
def test_rotation_error_is_the_angle_at_both_ends_too(degrees):
    start = rotation_about_z(17.0)
    error = metrics.rotation_error(start @ rotation_about_z(degrees), start)
    assert error == pytest.approx(degrees, abs=1e-9)


def test_translation_error_does_not_mind_sign_nor_length():
    truth = np.array([1.0, 0.0, 0.0])
    for scale in (1.0, -1.0, 1e-3, -50.0):
        turned = scale * (rotation_about_z(25.0) @ truth)
        assert metrics.translation_error(turned, truth) == pytest.approx(25.0, abs=1e-9)


def test_translation_error_never_passes_90_degrees():
    error = metrics.translation_error(np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0]))
    assert error == pytest.approx(90.0, abs=1e-9)


def test_without_a_true_baseline_only_the_rotation_counts():
    truth = pose(rotation_about_z(0.0), [0.0, 0.0, 1e-12])
    estimate = pose(rotation_about_z(4.0), [0.6, 0.8, 0.0])
    assert metrics.pose_error(estimate, truth) == pytest.approx(4.0, abs=1e-9)
    # A baseline that is short but above the limit keeps its direction.
    truth[:3, 3] = [0.0, 0.0, 1e-6]
    assert metrics.pose_error(estimate, truth) == pytest.approx(90.0, abs=1e-9)


def test_an_estimate_without_direction_counts_90_where_there_is_one():
    assert metrics.translation_error(np.zeros(3), np.array([1.0, 0.0, 0.0])) == 90.0


def test_pose_error_is_the_larger_of_both_and_inf_without_a_pose():
    truth = pose(np.eye(3), [1.0, 0.0, 0.0])
    estimate = pose(rotation_about_z(3.0), rotation_about_z(8.0) @ [1.0, 0.0, 0.0])
    assert metrics.pose_error(estimate, truth) == pytest.approx(8.0, abs=1e-9)
    assert metrics.pose_error(None, truth) == np.inf
    assert metrics.pose_error(np.full((4, 4), np.nan), truth) == np.inf


def test_corner_error_of_a_shift_is_its_length():
    shift = np.array([[1.0, 0.0, 3.0], [0.0, 1.0, -4.0], [0.0, 0.0, 1.0]])
    assert metrics.corner_error(shift, np.eye(3), size=(10, 20)) == pytest.approx(5.0, abs=1e-9)
    # A homography is the same at any scale and sign.
    assert metrics.corner_error(-2 * shift, shift, size=(10, 20)) == pytest.approx(0.0, abs=1e-9)


def test_corner_error_of_a_zoom_is_measured_at_the_centres_of_the_corner_pixels():
    # Corners (0, 0), (3, 0), (3, 4), (0, 4) doubled move by 0, 3, 5, 4.
    zoom = np.diag([2.0, 2.0, 1.0])
    assert metrics.corner_error(zoom, np.eye(3), size=(5, 4)) == pytest.approx(3.0, abs=1e-9)


def test_corner_error_is_inf_without_a_homography_or_behind_the_line_at_infinity():
    assert metrics.corner_error(None, np.eye(3), size=(10, 10)) == np.inf
    beyond = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-0.2, 0.0, 1.0]])
    assert metrics.corner_error(beyond, np.eye(3), size=(10, 10)) == np.inf


def test_epipolar_errors_of_a_sideways_step_are_those_of_the_rows():
    # Both lines are horizontal: a match off by dy has distance |dy| to each.
    E = essential_matrix(pose(np.eye(3), [2.0, 0.0, 0.0]))
    points0, points1 = np.array([[0.1, 0.2], [0.3, -0.1]]), np.array([[0.5, 0.2], [0.0, 0.0]])
    np.testing.assert_allclose(
        metrics.symmetric_epipolar_error(points0, points1, E), [0.0, 0.02], atol=1e-12
    )
    np.testing.assert_allclose(metrics.sampson_error(points0, points1, E), [0.0, 0.005], atol=1e-12)


def test_the_fundamental_matrix_measures_in_pixels():
    K0, K1 = np.diag([500.0, 500.0, 1.0]), np.array([[300.0, 0, 7], [0, 300.0, 9], [0, 0, 1]])
    cam1_from_cam0 = pose(rotation_about_z(10.0), [1.0, 0.5, 0.2])
    X = np.random.default_rng(0).uniform([-1, -1, 3], [1, 1, 6], (50, 3))
    points0, points1 = (
        (Y @ K.T)[:, :2] / Y[:, 2:]
        for Y, K in ((X, K0), (X @ cam1_from_cam0[:3, :3].T + cam1_from_cam0[:3, 3], K1))
    )
    F = fundamental_matrix(cam1_from_cam0, K0, K1)
    np.testing.assert_allclose(metrics.sampson_error(points0, points1, F), 0.0, atol=1e-18)
    # One pixel off the line in image 1 is at most a pixel of Sampson distance.
    line = np.c_[points0, np.ones(50)] @ F.T
    moved = points1 + line[:, :2] / np.linalg.norm(line[:, :2], axis=1, keepdims=True)
    error = np.sqrt(metrics.sampson_error(points0, moved, F))
    assert ((error > 0.2) & (error <= 1.0)).all()


def test_epipolar_precision_counts_matches_below_the_threshold():
    K, truth = np.diag([100.0, 100.0, 1.0]), pose(np.eye(3), [1.0, 0.0, 0.0])
    points0 = np.zeros((4, 2))
    # Rows off by 0, 1, 1.5 and 2 px: squared errors of 0, 2e-4, 4.5e-4 and 8e-4.
    points1 = np.array([[9.0, 0.0], [5.0, 1.0], [5.0, -1.5], [5.0, 2.0]])
    shares = [
        metrics.epipolar_precision(points0, points1, truth, K, K, threshold=t) for t in (5e-4, 1e-4)
    ]
    assert shares == [0.75, 0.25]


@pytest.mark.parametrize("baseline", [0.0, 1e-12])
def test_without_a_baseline_a_match_is_right_where_the_rotation_takes_it(baseline):
    truth = pose(rotation_about_z(90), [0.0, 0.0, baseline])
    K = np.array([[100.0, 0, 50], [0, 100.0, 50], [0, 0, 1]])
    points0 = np.array([[60.0, 50], [50, 70], [80, 80]])
    points1 = np.array([[50.0, 60], [30, 50], [20, 81]])  # the last one is off by a pixel
    errors = metrics.epipolar_errors(points0, points1, truth, K, K)
    np.testing.assert_allclose(errors, [0, 0, 2e-4], atol=1e-12)
    wrong = np.random.default_rng(0).uniform(0, 100, (50, 2))
    share = metrics.epipolar_precision(wrong, wrong[::-1], truth, K, K, threshold=5e-4)
    assert share < 0.1


def test_transfer_errors_are_distances_from_where_the_homography_leads():
    points0 = np.zeros((4, 2))
    points1 = np.array([[5.0, 0.0], [7.9, 0.0], [5.0, 3.1], [5.0, -2.9]])
    shift = np.array([[1.0, 0.0, 5.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    errors = metrics.transfer_errors(points0, points1, shift)
    np.testing.assert_allclose(errors, [0.0, 2.9, 3.1, 2.9], atol=1e-12)


def test_precision_without_matches_is_zero():
    none, K, truth = np.zeros((0, 2)), np.eye(3), pose(np.eye(3), [1.0, 0.0, 0.0])
    assert metrics.epipolar_precision(none, none, truth, K, K, threshold=1.0) == 0.0
