"""Points that many pairs find in a picture become one list of keypoints."""

import numpy as np
import pytest
from hloc_world import RULE
from scipy.spatial import KDTree

from astr_jax.evaluation.localisation.shared_keypoints import (
    Quantisation,
    choose_keypoints,
    nearest_keypoints,
    one_to_one,
)


def test_a_cells_keypoint_is_where_most_confidence_is():
    #       one cell of side 8: three points near (2, 2), one more confident near (6, 6)
    points = np.array([[2.0, 2.0], [2.2, 2.0], [2.0, 2.2], [6.0, 6.0], [20.0, 3.0]])
    confidence = np.array([0.4, 0.4, 0.4, 0.9, 0.1])
    keypoints, score = choose_keypoints(points, confidence, RULE)
    np.testing.assert_allclose(keypoints, [[6.2 / 3, 6.2 / 3], [20, 3]], atol=1e-6)
    np.testing.assert_allclose(score, [1.2, 0.1], atol=1e-6)
    few = Quantisation(cell=8, max_error=2, max_keypoints=1)
    assert len(choose_keypoints(points, confidence, few)[0]) == 1
    numbers = nearest_keypoints(points, KDTree(keypoints), 2.0)
    np.testing.assert_array_equal(numbers, [0, 0, 0, -1, 1])


def test_a_keypoint_keeps_its_best_match_alone():
    partner, score = one_to_one(
        np.array([0, 0, 1, 2, -1]), np.array([5, 6, 5, -1, 7]), np.array([0.5, 0.9, 0.7, 1, 1]), 4
    )
    np.testing.assert_array_equal(partner, [6, 5, -1, -1])
    np.testing.assert_allclose(score, [0.9, 0.7, 0, 0])
    with pytest.raises(ValueError, match="cell 0 or at least max_error"):
        Quantisation(cell=1, max_error=2)
