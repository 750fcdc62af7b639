"""What makes a pair hard, on homographies and rotations whose answer is known."""

import numpy as np
import pytest

from astr_jax.evaluation.scores.difficulty import geometry_of_homography, rotation_about_axis


def turned(degrees, axis):
    """A rotation [3 3] about the first, second or third axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    a, b = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = c
    matrix[a, b], matrix[b, a] = -s, s
    return matrix


def test_the_rotation_about_the_axis_leaves_other_turns_alone():
    assert rotation_about_axis(turned(30, 1) @ turned(25, 2)) == pytest.approx(25)
    zoom = np.diag([2.0, 2.0, 1.0]) @ turned(-70, 2)
    found = geometry_of_homography(zoom, (100, 200), (100, 200))
    assert (found["scale_ratio"], found["rotation"]) == pytest.approx((2.0, -70.0))


def test_the_overlap_of_a_homography_is_the_share_that_stays_inside():
    moved = np.array([[1.0, 0, 60], [0, 1, 0], [0, 0, 1]])
    found = geometry_of_homography(moved, (101, 201), (101, 201))
    assert found == pytest.approx({"overlap": 0.7, "scale_ratio": 1.0, "rotation": 0.0}, abs=0.02)
    horizon = np.array([[1.0, 0, 0], [0, 1, 0], [-0.01, 0, 1]])  # through the centre
    found = geometry_of_homography(horizon, (101, 201), (101, 201))
    assert (found["scale_ratio"], found["rotation"]) == (None, None)
