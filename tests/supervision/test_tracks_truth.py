"""The truth of tracks: what some measured points say of cells, of matches and of other points."""

import jax
import numpy as np
import pytest

from astr_jax.data.stacking import stacked
from astr_jax.ops.per_pair import per_pair
from astr_jax.supervision import PairBatch, TracksTruth
from astr_jax.supervision.ground_truth import homography_ground_truth

SIZE = (64, 96)
K = np.array([[90, 0, 47.5], [0, 90, 31.5], [0, 0, 1]])


def tracks_of_a_plane(rng, count=400, capacity=512):
    """A slanted plane, two cameras, and points of it that both see."""
    angle = np.radians(8)
    pose = np.eye(4)
    pose[:3, :3] = [
        [np.cos(angle), 0, np.sin(angle)],
        [0, 1, 0],
        [-np.sin(angle), 0, np.cos(angle)],
    ]
    pose[:3, 3] = -0.6, 0.1, 0.3
    normal = np.array([0.2, 0.1, 1]) / 4  # normal . X = 1
    homography = K @ (pose[:3, :3] + np.outer(pose[:3, 3], normal)) @ np.linalg.inv(K)
    points0 = rng.uniform((0, 0), (SIZE[1] - 1, SIZE[0] - 1), (count, 2))
    moved = np.concatenate([points0, np.ones((count, 1))], axis=1) @ homography.T
    points1 = moved[:, :2] / moved[:, 2:]
    rows = homography[None, :2, :2] - points1[:, :, None] * homography[None, None, 2, :2]
    jacobian = rows / moved[:, 2, None, None]
    inside = ((points1 >= 0) & (points1 <= (SIZE[1] - 1, SIZE[0] - 1))).all(axis=1)
    points0, points1, jacobian = points0[inside], points1[inside], jacobian[inside]

    def filled(x):
        empty = np.zeros((capacity - len(x), *x.shape[1:]))
        return np.concatenate([x, empty]).astype(np.float32)

    truth = TracksTruth(
        points0=filled(points0),
        points1=filled(points1),
        ratio=filled(np.sqrt(np.linalg.det(jacobian))),
        jacobian=np.where(
            (np.arange(capacity) < len(points0))[:, None, None], filled(jacobian), np.eye(2)
        ).astype(np.float32),
        valid=np.arange(capacity) < len(points0),
        K0=K.astype(np.float32),
        K1=K.astype(np.float32),
        cam1_from_cam0=pose.astype(np.float32),
        size0=SIZE,
        size1=SIZE,
    )
    return truth, homography.astype(np.float32), len(points0)


def test_cells_with_tracks_get_the_partners_that_the_plane_says(rng):
    truth, homography, _ = tracks_of_a_plane(rng)
    seen = np.ones(SIZE, bool)
    exact = homography_ground_truth(homography, seen, seen)
    found = truth.ground_truth()
    at, back = np.asarray(found.visible), np.asarray(found.back_visible)
    assert at.sum() > 30
    assert back.sum() > 30
    assert not at.all()  # some cells lie outside of image 1
    np.testing.assert_allclose(found.points1[at], exact.points1[at], atol=0.3)
    np.testing.assert_allclose(found.points0[back], exact.points0[back], atol=0.3)
    np.testing.assert_allclose(found.ratio[at], exact.ratio[at], rtol=0.1)
    mutual = np.asarray(found.cell1) >= 0
    assert mutual.sum() > 20
    assert (np.asarray(found.cell1)[mutual] == np.asarray(exact.cell1)[mutual]).mean() > 0.9
    np.testing.assert_array_equal(found.known, at)


def test_a_cell_without_a_track_is_unknown_and_its_matches_are_judged_by_the_epipolar_line(rng):
    truth, _, count = tracks_of_a_plane(rng)
    one = truth.replace(valid=np.arange(len(truth.valid)) < 1)
    found = one.ground_truth()
    assert found.visible.sum() == 1
    assert found.known.sum() == 1
    points0, points1 = truth.points0[1:count], truth.points1[1:count]
    far = np.abs(points0 - truth.points0[0]).max(axis=1) > 4
    assert not np.asarray(one.refutes(points0[far], points1[far], 3.0)).any()
    # Off the line wrong; along the line it cannot be told.
    lifted = np.concatenate([points0, np.ones((count - 1, 1))], axis=1)
    t, rotation = truth.cam1_from_cam0[:3, 3], truth.cam1_from_cam0[:3, :3]
    cross = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]])
    lines = lifted @ (np.linalg.inv(K).T @ cross @ rotation @ np.linalg.inv(K)).T
    across = lines[:, :2] / np.linalg.norm(lines[:, :2], axis=1, keepdims=True)
    along = across[:, ::-1] * (1, -1)
    off = np.asarray(one.refutes(points0[far], (points1 + 5 * across)[far], 3.0))
    on = np.asarray(one.refutes(points0[far], (points1 + 9 * along)[far], 3.0))
    assert off.all()
    assert not on.any()


def test_a_match_beside_the_track_of_its_own_cell_is_wrong(rng):
    truth, _, count = tracks_of_a_plane(rng)
    points0, points1 = truth.points0[:count], truth.points1[:count]
    beside = np.float32([1.5, -1.0])
    there = points1 + np.einsum("kij,j->ki", truth.jacobian[:count], beside)
    assert not np.asarray(truth.refutes(points0 + beside, there, 3.0)).any()
    assert np.asarray(truth.refutes(points0, points1 + np.float32([0, 14]), 12.0)).all()


def test_only_measured_points_are_located(rng):
    truth, _, count = tracks_of_a_plane(rng)
    points1, seen = truth.locate(truth.points0[:count])
    assert np.asarray(seen).all()
    np.testing.assert_allclose(points1, truth.points1[:count], atol=1e-4)
    assert not np.asarray(truth.locate(truth.points0[:count] + 0.5)[1]).all()
    near = truth.near(truth.points0[:count] + np.float32(0.01))
    np.testing.assert_allclose(near, truth.points0[:count], atol=1e-4)
    alone = truth.replace(valid=np.zeros_like(truth.valid))
    np.testing.assert_array_equal(alone.near(truth.points0[:3]), truth.points0[:3])
    assert not np.asarray(alone.locate(truth.points0[:3])[1]).any()
    assert not np.asarray(alone.ground_truth().visible).any()


def test_batches_keep_the_sizes_of_the_images(rng):
    image = np.zeros(SIZE, np.uint8)
    pairs = [PairBatch(image, image, None, None, tracks_of_a_plane(rng)[0]) for _ in range(2)]
    batch = stacked(pairs)
    assert batch.truth.size0 == SIZE
    assert len(batch) == 2
    found = jax.jit(per_pair(lambda truth: truth.ground_truth()))(batch.truth)
    one = pairs[1].truth.ground_truth()
    np.testing.assert_array_equal(found.cell1[1], one.cell1)
    assert not batch.truth.DENSE


@pytest.mark.parametrize("axis", [0, 1])
def test_turning_the_pair_round_turns_the_truth_round(rng, axis):
    truth, _, _ = tracks_of_a_plane(rng)
    turned = TracksTruth(
        points0=truth.points1,
        points1=truth.points0,
        ratio=1 / np.where(truth.valid, truth.ratio, 1),
        jacobian=np.linalg.inv(truth.jacobian),
        valid=truth.valid,
        K0=truth.K1,
        K1=truth.K0,
        cam1_from_cam0=np.linalg.inv(truth.cam1_from_cam0),
        size0=truth.size1,
        size1=truth.size0,
    )
    there, back = truth.ground_truth(), turned.ground_truth()
    np.testing.assert_array_equal(there.back_visible, back.visible)
    seen = np.asarray(back.visible)
    np.testing.assert_allclose(
        np.asarray(there.points0)[seen, axis], np.asarray(back.points1)[seen, axis], atol=1e-3
    )
