"""The pair score tells matches that keep together from matches that scatter."""

import jax
import numpy as np
import pytest

from astr_jax import pair_score
from astr_jax.types import Matches


def matches_of(points0, points1, confidence=0.97):
    k = len(points0)
    confidence = np.broadcast_to(np.float32(confidence), k)
    covariance = np.broadcast_to(np.eye(2, dtype=np.float32), (k, 2, 2))
    cells = np.arange(k, dtype=np.int32)
    points = (np.asarray(p, np.float32) for p in (points0, points1))
    return Matches(*points, confidence, covariance, confidence, cells, cells, np.ones(k, bool))


def grid(across, down, step=8.0):
    y, x = np.mgrid[:down, :across]
    return step * np.stack([x, y], axis=-1).reshape(-1, 2)


def bent(points):
    """As a steep plane is seen from elsewhere: turned, sheared and smaller towards one side."""
    moved = points @ np.array([[0.8, 0.5], [-0.5, 1.1]]) + 40
    return moved / (1 + points[:, :1] / 900)


@pytest.fixture
def right(rng):
    points = grid(18, 12)
    return matches_of(points, bent(points) + rng.normal(0, 0.7, points.shape))


@pytest.fixture
def wrong(rng):
    points = grid(18, 12)[rng.permutation(216)[:70]]
    return matches_of(points, rng.uniform(0, 200, points.shape), 0.93)


def test_one_place_is_told_from_two(right, wrong):
    assert 0 <= wrong.pair_score < 0.5
    assert 0.9 < right.pair_score <= 1
    assert type(right.pair_score) is float


def test_no_match_scores_nothing_and_few_little(right):
    assert Matches.none().pair_score == 0.0
    assert right[:0].pair_score == 0.0
    for few in (1, 2, 5, pair_score.FEWEST - 1):
        assert 0 < right[:few].pair_score < 0.1


def test_all_matches_on_one_point_or_on_a_line_are_none_of_a_place():
    line = np.stack([np.arange(100.0), np.zeros(100)], axis=-1)
    for points in (np.zeros((100, 2)), line):
        assert matches_of(points, points).pair_score < 0.5


def test_padding_and_order_do_not_count(right, wrong, rng):
    both = right.replace(confidence=np.linspace(0.99, 0.91, len(right), dtype=np.float32))
    padded = both[np.append(rng.permutation(len(both)), [0, 0, 0])]
    padded = padded.replace(valid=np.arange(len(padded)) < len(both))
    assert padded.pair_score == both.pair_score


def test_a_batch_has_a_score_a_pair(right, wrong):
    batch = jax.tree.map(lambda *x: np.stack(x), right[: len(wrong)], wrong)
    np.testing.assert_array_equal(
        batch.pair_score, [right[: len(wrong)].pair_score, wrong.pair_score]
    )


@pytest.mark.parametrize("turned", [np.eye(2), [[0, 1], [-1, 0]], [[-3, 0], [0, -3]]])
def test_unit_and_turn_of_either_picture_do_not_matter(right, turned):
    matrix = np.asarray(turned, np.float32)
    expected = right.pair_score
    for side in ("keypoints0", "keypoints1"):
        moved = right.replace(**{side: getattr(right, side) @ matrix})
        assert moved.pair_score == pytest.approx(expected, abs=0.02)


def test_neighbours_that_are_mirrored_or_laid_flat_do_not_fit():
    points = grid(10, 10)
    assert pair_score.fitting(points, bent(points)).mean() > 0.95
    for matrix in ([[-1, 0], [0, 1]], [[1, 0], [0, 0.001]]):
        assert pair_score.fitting(points, points @ np.array(matrix)).sum() == 0


def test_the_evidence_is_that_of_the_surest_matches(right, wrong):
    """Unsure ones beyond MOST change their number alone."""
    points = grid(25, 20)
    sure = matches_of(points, bent(points), 0.99)
    more = matches_of(np.tile(points, (2, 1)), np.concatenate([bent(points), points[::-1]]))
    more = more.replace(confidence=np.repeat(np.float32([0.99, 0.91]), len(points)))
    names = dict(zip(pair_score.EVIDENCE, range(9), strict=False))
    alone, both = (
        pair_score.evidence(x.keypoints0, x.keypoints1, x.confidence) for x in (sure, more)
    )
    assert both[names["fitting"]] == alone[names["fitting"]]
    assert both[names["number"]] > alone[names["number"]]
