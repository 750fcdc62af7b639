"""Batches of pairs and their truths: one pair or many, NumPy or JAX, one device or several."""

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from astr_jax.data.stacking import stacked
from astr_jax.ops.per_pair import DATA_AXIS, per_pair
from astr_jax.supervision import DEPTH_TOLERANCE, DepthTruth, PairBatch, PlaneTruth
from astr_jax.supervision.ground_truth import depth_ground_truth, homography_ground_truth

SIZE = (32, 40)
K = np.array([[50, 0, 20], [0, 50, 16], [0, 0, 1]], np.float32)


def shifted(x):
    """A plane seen again, `x` pixels to the left."""
    homography = np.eye(3, dtype=np.float32)
    homography[0, 2] = -x
    seen = np.ones(SIZE, bool)
    return PlaneTruth(homography, seen, seen)


def wall(way):
    """A wall at depth 4, and again after `way` to the right."""
    pose = np.eye(4, dtype=np.float32)
    pose[0, 3] = -way
    depth = np.full(SIZE, 4, np.float32)
    return DepthTruth(depth, depth, K, K, pose, np.array(DEPTH_TOLERANCE, np.float32))


def pair(truth, grey=0, mask=None):
    image = np.full(SIZE, grey, np.uint8)
    return PairBatch(image, image, mask, mask, truth)


@pytest.mark.parametrize("make", [shifted, wall])
def test_pairs_are_stacked_and_taken_apart_again(make):
    pairs = [pair(make(k), grey=k, mask=np.ones(SIZE, bool)) for k in range(3)]
    batch = stacked(pairs)
    assert len(batch) == 3
    assert all(x.shape[0] == 3 for x in jax.tree.leaves(batch))
    for k in range(3):
        jax.tree.map(np.testing.assert_array_equal, batch[k], pairs[k])
    assert len(batch[1:]) == 2


def test_an_image_without_a_mask_counts_whole():
    whole = stacked([pair(shifted(0))] * 2)
    assert whole.mask0 is None
    assert all(mask.shape == (2, *SIZE) and mask.all() for mask in whole.masks)
    mask = np.zeros(SIZE, bool)
    assert not pair(shifted(0), mask=mask).masks[0].any()


def test_a_batch_goes_through_a_compiled_function_split_over_devices():
    batch = stacked([pair(shifted(8 * k)) for k in range(4)])
    mesh = Mesh(np.array(jax.devices()[:2]), (DATA_AXIS,))
    split = NamedSharding(mesh, PartitionSpec(DATA_AXIS))
    there = jax.device_put(batch, split)
    found = jax.jit(lambda b: per_pair(PlaneTruth.ground_truth)(b.truth), in_shardings=split)(there)
    for k in range(4):
        expected = batch[k].truth.ground_truth()
        np.testing.assert_array_equal(found.cell1[k], expected.cell1)
    assert (np.asarray(found.cell1)[0] == np.arange(20)).all()


def test_a_truth_gives_the_ground_truth_of_its_kind():
    plane, depth = shifted(8), wall(0.32)
    given = plane.homography, plane.visible0, plane.visible1
    expected = homography_ground_truth(*given)
    jax.tree.map(np.testing.assert_array_equal, plane.ground_truth(), expected)
    cameras = depth.K0, depth.K1, depth.cam1_from_cam0
    expected = depth_ground_truth(depth.depth0, depth.depth1, *cameras, depth.tolerance)
    jax.tree.map(np.testing.assert_array_equal, depth.ground_truth(), expected)


@pytest.mark.parametrize(("truth", "move"), [(shifted(8), 8), (wall(0.32), 4)])
def test_points_are_located_and_said_to_be_seen_or_not(truth, move):
    points1, seen = truth.locate(np.array([[20.0, 10], [2, 10]]))
    np.testing.assert_allclose(points1, [[20 - move, 10], [2 - move, 10]], atol=1e-4)
    assert seen.tolist() == [True, False]  # the second leaves the image


def test_a_plane_says_nothing_of_the_cameras():
    truth = stacked([pair(shifted(0))] * 2).truth
    assert all(np.isnan(K).all() and K.shape == (2, 3, 3) for K in truth.intrinsics())
    np.testing.assert_array_equal(wall(1).intrinsics()[0], K)


def test_a_plane_refutes_what_is_off_and_what_is_hidden():
    points0 = np.array([[20.0, 10], [20, 10], [20, 10], [2, 10]])
    points1 = np.array([[12.0, 10], [15, 10], [12, 14], [0, 10]])
    refuted = shifted(8).refutes(points0, points1, 3.0)
    assert refuted.tolist() == [False, True, True, True]  # the last leaves the image


def test_depth_refutes_what_lies_elsewhere_and_leaves_the_unknown_alone():
    """A wall that moved by 4 pixels along x. Where no depth is known, the epipolar line is left."""
    truth = wall(0.32)
    points0 = np.array([[20.0, 10], [20, 10], [20, 10]])
    points1 = np.array([[16.0, 10], [8, 10], [16, 20]])
    assert truth.refutes(points0, points1, 3.0).tolist() == [False, True, True]
    depth = truth.depth0.copy()
    depth[10, 20] = 0
    assert truth.replace(depth0=depth).refutes(points0, points1, 3.0).tolist() == [
        False,
        False,
        True,
    ]


def test_without_a_baseline_no_epipolar_line_refutes():
    truth = wall(1e-3)  # a thousandth, at a depth of 4
    unknown = truth.depth0.copy()
    unknown[10, 20] = 0
    points0, points1 = np.array([[20.0, 10]]), np.array([[20.0, 25]])
    assert not truth.replace(depth0=unknown).refutes(points0, points1, 3.0).any()
