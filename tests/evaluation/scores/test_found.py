"""What a matcher may return, and what is made of it."""

import numpy as np
import pytest

from astr_jax.evaluation.scores.found import checked_matches

POINTS = np.arange(8.0).reshape(4, 2)
CONFIDENCE = np.array([0.2, 0.9, 0.2, 0.5])


def test_arrays_and_lists_are_taken_with_and_without_sigma():
    found = checked_matches((POINTS, POINTS + 1, CONFIDENCE))
    assert len(found) == 4
    assert found.sigma is None
    assert checked_matches([POINTS, POINTS, CONFIDENCE, None]).sigma is None
    listed = checked_matches([POINTS.tolist(), POINTS.tolist(), [1, 1, 1, 1], [2, 2, 2, 2]])
    assert listed.points1.dtype == listed.sigma.dtype == np.float64
    assert len(checked_matches((np.zeros((0, 2)), np.zeros((0, 2)), []))) == 0


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "must return .*; got NoneType"),
        ((POINTS, POINTS), "must return .*; got tuple"),
        ((POINTS, POINTS[:3], CONFIDENCE), r"got the shapes \(4, 2\), \(3, 2\), \(4,\)"),
        ((POINTS, POINTS, CONFIDENCE, POINTS), r"got the shapes .*\(4,\), \(4, 2\)"),
        ((POINTS, POINTS, np.nan * CONFIDENCE), "not all finite"),
    ],
)
def test_what_is_no_list_of_matches_is_refused(returned, message):
    with pytest.raises(ValueError, match=message):
        checked_matches(returned)


def test_rows_are_taken_of_all_arrays():
    found = checked_matches((POINTS, POINTS + 1, CONFIDENCE, 2 * CONFIDENCE))
    some = found[CONFIDENCE > 0.3]
    np.testing.assert_array_equal(some.points0, POINTS[[1, 3]])
    np.testing.assert_array_equal(some.points1, POINTS[[1, 3]] + 1)
    np.testing.assert_array_equal(some.sigma, [1.8, 1.0])


def test_of_equal_confidence_the_first_is_kept():
    found = checked_matches((POINTS, POINTS, CONFIDENCE))
    np.testing.assert_array_equal(found.most_confident(3).points0, POINTS[[1, 3, 0]])
    assert found.most_confident(None) is found
    assert found.most_confident(4) is found
