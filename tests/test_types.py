"""What Matches offer: choosing rows for an estimator."""

import jax
import numpy as np
import pytest

from astr_jax.types import Matches


@pytest.fixture
def matches(rng):
    """300 valid rows and some padding, sorted by confidence."""
    k, valid = 320, np.arange(320) < 300
    confidence = np.where(valid, np.sort(rng.random(k))[::-1], 0).astype(np.float32)
    covariance = np.float32(rng.uniform(0.1, 2, (k, 1, 1)) * np.eye(2))
    points = rng.uniform(-3, 300, (k, 2)).astype(np.float32)
    cells = np.arange(k, dtype=np.int32)
    return Matches(points, points + 1, confidence, covariance, confidence, cells, cells, valid)


@pytest.mark.parametrize("most", [1, 3])
def test_spread_keeps_the_surest_of_each_block(matches, most):
    found = matches.spread(most, block=50)
    blocks = [tuple(x) for x in np.floor(matches.compact().keypoints0 / 50)]
    expected = []
    for block in set(blocks):
        rows = [row for row, of in enumerate(blocks) if of == block]  # by confidence
        expected += rows[:most]
    np.testing.assert_array_equal(found.cell0, sorted(expected))
    assert found.valid.all()


def test_all_are_kept_where_blocks_hold_fewer(matches):
    found = matches.spread(10_000)
    jax.tree.map(np.testing.assert_array_equal, found, matches.compact())


def test_spread_over_nothing_is_nothing(matches):
    none = matches.replace(valid=np.zeros(len(matches), bool))
    assert len(none.spread(2)) == 0
    assert len(none.finest_first()) == 0


@pytest.mark.parametrize("arguments", [{"most": 0}, {"most": 2, "block": 0}])
def test_no_matches_or_no_block_are_refused(matches, arguments):
    with pytest.raises(ValueError, match="most and block must be positive; got"):
        matches.spread(**arguments)


def test_the_finest_come_first(matches):
    found = matches.finest_first()
    assert len(found) == 300
    assert (np.diff(found.sigma) >= 0).all()
    np.testing.assert_array_equal(np.sort(found.cell0), np.arange(300))
