import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.ops.geometry import seen_at, warp_by_depth, warp_by_homography
from astr_jax.supervision.ground_truth import (
    DEPTH_TOLERANCE,
    depth_ground_truth,
    homography_ground_truth,
)

SIZES = (64, 80), (72, 64)  # pixels of image 0 and 1


def make_homography(seed, perspective=1e-3):
    """A moderate change of view that keeps most of the picture inside."""
    rng = np.random.default_rng(seed)
    angle, scale = rng.uniform(-0.4, 0.4), rng.uniform(0.7, 1.3)
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    move = rng.uniform(-6, 10, 2)
    tilt = rng.uniform(-perspective, perspective, 2)
    return np.array([[c, -s, move[0]], [s, c, move[1]], [*tilt, 1]], np.float32)


def plain_warp(homography, point):
    u, v, w = homography.astype(float) @ [*point, 1]
    return np.array([u / w, v / w]) if w > 0 else None


def plain_seen(visible, point):
    if point is None:
        return False
    x, y = np.round(point).astype(int)
    return 0 <= y < visible.shape[0] and 0 <= x < visible.shape[1] and visible[y, x]


def plain_cell(visible, point):
    """The nearest cell (x, y) of an image's grid, or None outside."""
    x, y = np.round(point / 8).astype(int)
    inside = 0 <= y < visible.shape[0] // 8 and 0 <= x < visible.shape[1] // 8
    return (x, y) if inside else None


def plain_partner(homography, visible0, visible1, cell):
    """The mutual nearest cell of image 1, or None."""

    def look(homography, visible_here, visible_there, cell):
        centre = 8.0 * np.array(cell)
        point = plain_warp(homography, centre)
        if plain_seen(visible_here, centre) and plain_seen(visible_there, point):
            return plain_cell(visible_there, point)
        return None

    there = look(homography, visible0, visible1, cell)
    if there is None:
        return None
    back = look(np.linalg.inv(homography.astype(float)), visible1, visible0, there)
    return there if back == cell else None


@pytest.mark.parametrize("seed", range(4))
def test_ground_truth_is_the_mutual_nearest_visible_cell(seed):
    homography, rng = make_homography(seed), np.random.default_rng(seed)
    visible = [np.ones(size, bool) for size in SIZES]
    for v in visible:
        y, x = rng.integers(0, 40, 2)
        v[y : y + 20, x : x + 24] = False  # an occluder
    truth = jax.jit(homography_ground_truth)(homography, *visible)
    width0, width1 = SIZES[0][1] // 8, SIZES[1][1] // 8
    found = 0
    for i, j in enumerate(np.asarray(truth.cell1)):
        cell = (i % width0, i // width0)
        expected = plain_partner(homography, *visible, cell)
        assert j == (-1 if expected is None else expected[1] * width1 + expected[0])
        found += expected is not None
        point = plain_warp(homography, 8.0 * np.array(cell))
        np.testing.assert_allclose(truth.points1[i], point, atol=1e-3)
        seen = plain_seen(visible[0], 8.0 * np.array(cell)) and plain_seen(visible[1], point)
        assert truth.visible[i] == seen
    assert found > 5


def test_the_identity_pairs_every_cell_with_itself():
    visible = jnp.ones((64, 80), bool)
    truth = homography_ground_truth(jnp.eye(3), visible, visible)
    np.testing.assert_array_equal(truth.cell1, np.arange(80))
    np.testing.assert_allclose(truth.ratio, 1.0, rtol=1e-6)


def test_ratio_is_the_local_scale_of_image_1_against_image_0(rng):
    homography = make_homography(9).astype(float)
    points = rng.uniform(0, 60, (20, 2))
    _, ratio = warp_by_homography(jnp.float32(homography), jnp.float32(points))
    for point, actual in zip(points, ratio, strict=True):
        columns = [
            plain_warp(homography, point + step) - plain_warp(homography, point - step)
            for step in 1e-4 * np.eye(2)
        ]
        expected = math.sqrt(abs(np.linalg.det(np.array(columns) / 2e-4)))
        np.testing.assert_allclose(actual, expected, rtol=1e-4)


def plane_pair():
    """Two cameras of unlike focal lengths that see the plane n . X = 1 (camera 0): the depths,
    cameras and motion, and the homography that says the same."""
    K0 = np.array([[70.0, 0, 39], [0, 75, 33], [0, 0, 1]])
    K1 = np.array([[95.0, 0, 30], [0, 90, 37], [0, 0, 1]])
    angle = 0.25
    c, s = math.cos(angle), math.sin(angle)
    R = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    t, normal = np.array([-0.4, 0.1, 0.3]), np.array([0.1, -0.15, 0.45])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    H = K1 @ (R + np.outer(t, normal)) @ np.linalg.inv(K0)
    normal1 = R @ normal / (1 + normal @ R.T @ t)  # the same plane in camera 1
    depths = []
    for K, n, (height, width) in ((K0, normal, SIZES[0]), (K1, normal1, SIZES[1])):
        y, x = np.mgrid[:height, :width]
        rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(K).T
        depths.append(np.float32(1 / (rays @ n)))
    return depths, *(np.float32(x) for x in (K0, K1, T, H))


depth_truth = jax.jit(depth_ground_truth)


def test_depth_and_pose_of_a_plane_say_what_its_homography_says():
    depths, K0, K1, T, H = plane_pair()
    truth = depth_truth(*depths, K0, K1, T)
    expected = homography_ground_truth(H, *(np.ones(size, bool) for size in SIZES))
    np.testing.assert_array_equal(truth.visible, expected.visible)
    np.testing.assert_allclose(truth.points1, expected.points1, atol=1e-3)
    differs = np.asarray(truth.cell1) != np.asarray(expected.cell1)
    assert differs.sum() <= 1  # a centre half-way between two cells may round either way
    assert (np.asarray(truth.cell1) >= 0).sum() > 20


def test_the_ratio_of_depths_is_that_of_focal_lengths_in_a_zoom():
    depth = np.full(SIZES[0], 2.0, np.float32)
    K0 = np.array([[60, 0, 40], [0, 60, 32], [0, 0, 1]], np.float32)
    K1 = np.array([[90, 0, 40], [0, 90, 32], [0, 0, 1]], np.float32)
    truth = depth_truth(depth, depth, K0, K1, np.eye(4, dtype=np.float32))
    np.testing.assert_allclose(truth.ratio, 1.5, rtol=1e-5)
    forward = np.eye(4, dtype=np.float32)
    forward[2, 3] = -1.0  # camera 1 is half as far away
    truth = depth_truth(depth, depth / 2, K0, K0, forward)
    np.testing.assert_allclose(truth.ratio, 2.0, rtol=1e-5)


def test_what_is_hidden_has_no_partner():
    depths, K0, K1, T, _ = plane_pair()
    whole = depth_truth(*depths, K0, K1, T)
    hidden = depths[1].copy()
    hidden[:, :40] *= 0.5  # something stands in front of the left part of image 1
    truth = depth_truth(depths[0], hidden, K0, K1, T)
    behind = np.asarray(whole.points1)[:, 0] < 39
    assert (np.asarray(truth.cell1)[behind] == -1).all()
    assert not np.asarray(truth.visible)[behind].any()
    np.testing.assert_array_equal(truth.visible, np.asarray(whole.visible) & ~behind)


@pytest.mark.parametrize(
    ("factor", "seen"), [(0.9, True), (0.82, False), (0.8, False), (1.22, True), (1.3, False)]
)
def test_depths_agree_to_the_tolerance_of_the_depth_that_is_found(factor, seen):
    """Fails where the tolerance is a share of the computed depth: that takes 0.82, not 1.22."""
    assert DEPTH_TOLERANCE == 0.2
    depths, K0, K1, T, _ = plane_pair()
    truth = depth_truth(depths[0], np.float32(factor) * depths[1], K0, K1, T)
    assert np.asarray(truth.visible).any() == seen


def test_unknown_depth_is_no_truth_and_never_nan():
    depths, K0, K1, T, _ = plane_pair()
    for d0, d1 in ((0 * depths[0], depths[1]), (depths[0], 0 * depths[1])):
        truth = depth_truth(d0, d1, K0, K1, T)
        assert (np.asarray(truth.cell1) == -1).all()
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(truth))
    behind = np.diag([1, 1, -1, 1]).astype(np.float32)
    points, z = warp_by_depth(np.zeros((2, 2)), np.array([1.0, 2.0]), K0, K1, behind)
    assert (np.asarray(z) == 0).all()
    assert (np.asarray(points) < -1e5).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_points_behind_the_horizon_are_far_away_and_never_nan(sign):
    # w = 1 - x / 40: the line x = 40 goes to infinity, what is beyond it lies behind the camera.
    homography = sign * jnp.array([[1.0, 0, 0], [0, 1, 0], [-1 / 40, 0, 1]])
    points = jnp.array([[20.0, 5], [40, 5], [60, 5]])
    warped, ratio = warp_by_homography(homography, points)
    np.testing.assert_allclose(warped[0], [40, 10], rtol=1e-5)
    assert (warped[1:] == -1e6).all()
    assert np.isfinite(ratio).all()
    visible = jnp.ones((64, 80), bool)
    truth = homography_ground_truth(homography, visible, visible)
    behind = np.arange(80) % 10 >= 5
    assert (truth.cell1[behind] == -1).all()
    assert not truth.visible[behind].any()
    assert truth.visible[~behind].any()
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(truth))


def test_nothing_is_seen_outside_the_image():
    visible = jnp.ones((4, 5), bool).at[2, 3].set(False)
    points = jnp.array([[0, 0], [4.4, 3.4], [4.6, 0], [-0.6, 0], [3.2, 1.8], [1e9, 0]])
    np.testing.assert_array_equal(seen_at(visible, points), [1, 1, 0, 0, 0, 0])
