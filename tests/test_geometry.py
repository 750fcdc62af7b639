"""How pixels, cameras and poses follow an image that is resized or turned."""

import numpy as np
import pytest

from astr_jax.geometry import (
    camera_turn,
    enlarged_points,
    essential_matrix,
    fundamental_matrix,
    relative_pose,
    resize_matrix,
    shrunk_intrinsics,
    shrunk_points,
    turned_back,
    turned_camera,
    warp_points,
)

K = np.array([[310.0, 4, 127], [0, 290, 61], [0, 0, 1]])  # with skew


def projected(K, points):
    pixels = points @ K.T
    return pixels[:, :2] / pixels[:, 2:]


@pytest.fixture
def points(rng):
    """Points before a camera."""
    return rng.uniform([-1, -1, 3], [1, 1, 6], (20, 3))


def test_the_edges_of_an_image_stay_its_edges():
    matrix = resize_matrix((40, 60), (20, 90))
    corners = np.array([[-0.5, -0.5, 1], [59.5, 39.5, 1]])
    np.testing.assert_allclose(corners @ matrix.T, [[-0.5, -0.5, 1], [89.5, 19.5, 1]])


def test_a_resize_there_and_back_is_the_identity():
    there, back = resize_matrix((40, 60), (33, 77)), resize_matrix((33, 77), (40, 60))
    np.testing.assert_allclose(back @ there, np.eye(3), atol=1e-12)


def test_points_are_shrunk_as_the_matrix_says(rng):
    given, scale = rng.uniform(0, 60, (7, 2)), (60 / 20, 40 / 16)
    expected = warp_points(resize_matrix((40, 60), (16, 20)), given)
    np.testing.assert_allclose(shrunk_points(given, scale), expected)
    np.testing.assert_allclose(enlarged_points(expected, scale), given)


def test_a_shrunk_camera_sees_what_the_camera_sees(points):
    scale = (3.0, 2.5)
    expected = shrunk_points(projected(K, points), scale)
    np.testing.assert_allclose(projected(shrunk_intrinsics(K, scale), points), expected)
    batch = shrunk_intrinsics(np.stack([K, 2 * K]), scale)
    np.testing.assert_allclose(batch[0], shrunk_intrinsics(K, scale))


@pytest.mark.parametrize("turn", [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5])
def test_a_turned_camera_sees_what_the_camera_sees(points, turn):
    shape = (93, 126)
    turned = projected(turned_camera(K, shape, turn), points @ camera_turn(turn).T)
    back = warp_points(turned_back(shape, turn), turned, signed=True)
    np.testing.assert_allclose(back, projected(K, points), atol=1e-9)


def test_four_quarter_turns_are_none():
    back = np.eye(3)
    for turn in range(4):
        back = back @ turned_back((126, 93) if turn % 2 else (93, 126), 1)
    np.testing.assert_array_equal(back, np.eye(3))
    np.testing.assert_array_equal(camera_turn(1) @ camera_turn(3), np.eye(3))


@pytest.mark.parametrize("sign", [1, -1])
def test_what_lies_behind_the_horizon_is_beyond(sign):
    homography = sign * np.array([[1.0, 0, 0], [0, 1, 0], [-1 / 40, 0, 1]])  # x = 40 is infinite
    points = np.array([[20.0, 5], [40, 5], [60, 5]])
    found = warp_points(homography, points)
    np.testing.assert_allclose(found[0], [40, 10])
    assert (found[1:] == np.inf).all()
    signed = warp_points(homography, points, signed=True, beyond=np.nan)
    front = [0] if sign == 1 else [2]  # a negative depth is behind the camera
    assert np.isfinite(signed).all(axis=1).nonzero()[0].tolist() == front


def test_essential_and_fundamental_matrix_agree_with_the_pose(points):
    angle = 0.3
    cam0_from_world, cam1_from_world = np.eye(4), np.eye(4)
    cam0_from_world[:3, 3] = 0.1, 0.2, 0.4
    cam1_from_world[:3, :3] = [
        [np.cos(angle), 0, np.sin(angle)],
        [0, 1, 0],
        [-np.sin(angle), 0, np.cos(angle)],
    ]
    cam1_from_world[:3, 3] = -0.7, 0.1, 0.2
    seen0 = points @ cam0_from_world[:3, :3].T + cam0_from_world[:3, 3]
    seen1 = points @ cam1_from_world[:3, :3].T + cam1_from_world[:3, 3]
    pose = relative_pose(cam0_from_world, cam1_from_world)
    np.testing.assert_allclose(seen0 @ pose[:3, :3].T + pose[:3, 3], seen1)
    E = essential_matrix(pose)
    assert np.linalg.norm(E) == pytest.approx(2**0.5)
    np.testing.assert_allclose(np.einsum("ki,ij,kj->k", seen1, E, seen0), 0, atol=1e-12)
    K1 = 2 * K
    K1[2, 2] = 1
    F = fundamental_matrix(pose, K, K1)
    pixels0, pixels1 = (
        np.c_[projected(K, seen0), np.ones(20)],
        np.c_[projected(K1, seen1), np.ones(20)],
    )
    np.testing.assert_allclose(np.einsum("ki,ij,kj->k", pixels1, F, pixels0), 0, atol=1e-12)
    assert not essential_matrix(np.eye(4)).any()
