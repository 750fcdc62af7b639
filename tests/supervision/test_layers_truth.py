"""The truth of planes that move apart: of one that of a homography, of two what hides what."""

import jax
import numpy as np
import pytest

from astr_jax.supervision import NOTHING, LayersTruth, PlaneTruth

SIZE = (48, 64)
HOMOGRAPHY = np.array([[0.9, -0.1, 6], [0.12, 1.1, -4], [1e-4, 2e-4, 1]], np.float32)


@pytest.fixture(scope="module")
def two():
    """A background that stands still, and a square before it that moves 16 pixels to the right."""
    moves = np.tile(np.eye(3, dtype=np.float32), (3, 1, 1))
    moves[1, 0, 2] = 16
    layers = np.zeros((2, *SIZE), np.uint8)
    layers[0, 16:32, 16:32] = layers[1, 16:32, 32:48] = 1
    layers[1, 16:32, 16:32] = NOTHING  # what it uncovers
    return LayersTruth(moves, *layers)


def test_one_plane_is_the_truth_of_its_homography(rng):
    visible = rng.random((2, *SIZE)) < 0.9
    layers = np.where(visible, np.uint8(0), np.uint8(NOTHING))
    one = LayersTruth(np.stack([HOMOGRAPHY, np.eye(3, dtype=np.float32)]), *layers)
    plane = PlaneTruth(HOMOGRAPHY, *visible)
    points = rng.uniform(0, 60, (50, 2))
    for mine, true in zip(one.locate(points), plane.locate(points), strict=True):
        shown = np.asarray(plane.locate(points)[1])
        np.testing.assert_allclose(mine[shown], true[shown], atol=1e-4)
    np.testing.assert_array_equal(one.locate(points)[1], plane.locate(points)[1])
    mine, true = one.ground_truth(), plane.ground_truth()
    for name in ("cell1", "visible", "back_visible", "known"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(true, name))
    seen, back = np.asarray(true.visible), np.asarray(true.back_visible)
    assert seen.any()
    np.testing.assert_allclose(mine.points1[seen], true.points1[seen], atol=1e-4)
    np.testing.assert_allclose(mine.points0[back], true.points0[back], atol=1e-4)
    np.testing.assert_allclose(mine.ratio[seen], true.ratio[seen], atol=1e-5)


def test_what_a_thing_hides_or_uncovers_has_no_partner(two):
    points = np.array([[8, 8], [20, 20], [40, 20], [52, 20.0]])
    points1, seen = two.locate(points)
    np.testing.assert_allclose(points1, [[8, 8], [36, 20], [40, 20], [52, 20]])
    np.testing.assert_array_equal(seen, [True, True, False, True])
    wrong = two.refutes(points, np.asarray(points1) + np.array([3, 0]), 4.0)
    np.testing.assert_array_equal(wrong, [False, False, True, False])
    assert two.refutes(points, np.asarray(points1) + np.array([5, 0]), 4.0).all()
    truth = two.ground_truth()
    cell1 = np.asarray(truth.cell1).reshape(6, 8)
    still = np.arange(48).reshape(6, 8)
    np.testing.assert_array_equal(cell1[2:4, 2:4], still[2:4, 4:6])  # the square's cells
    np.testing.assert_array_equal(cell1[2:4, 4:6], -1)  # what it hides
    np.testing.assert_array_equal(cell1[:, :2], still[:, :2])
    assert not np.asarray(truth.back_visible).reshape(6, 8)[2:4, 2:4].any()  # what it uncovers


def test_both_ways_agree(two):
    there = two.ground_truth()
    inverse = np.linalg.inv(two.homographies)
    back = LayersTruth(inverse, two.layer1, two.layer0).ground_truth()
    found = np.flatnonzero(np.asarray(there.cell1) >= 0)
    np.testing.assert_array_equal(np.asarray(back.cell1)[np.asarray(there.cell1)[found]], found)
    np.testing.assert_allclose(there.points0, back.points1, atol=1e-4)
    np.testing.assert_array_equal(there.back_visible, back.visible)


def test_a_batch_of_them_is_a_pytree_with_unknown_cameras(two):
    batch = jax.tree.map(lambda x: np.stack([x, x]), two)
    assert [np.shape(K) for K in batch.intrinsics()] == [(2, 3, 3)] * 2
    assert np.isnan(batch.intrinsics()[0]).all()
