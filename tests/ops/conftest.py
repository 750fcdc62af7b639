"""A synthetic scene: random points seen by two cameras, with everything about them known."""

import types

import numpy as np
import pytest


def turn(axis_angle):
    """The rotation matrix about an axis by its length in radians (Rodrigues)."""
    x, y, z = axis_angle
    angle = max(np.linalg.norm(axis_angle), 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) / angle
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _intrinsics(focal):
    return np.array([[focal, 0, 320], [0, focal, 240], [0, 0, 1]])


def _project(points, focal):
    return points[:, :2] / points[:, 2:] * focal + [320, 240]


def _scene(
    seed, axis_angle, translation, *, k=600, focals=(500, 500), depths=(4, 8), cell=0, outliers=0
):
    """k points seen by both cameras of 640x480; `cell` > 0 moves them to cell centres."""
    rng = np.random.default_rng(seed)
    rotation, translation = turn(axis_angle), np.asarray(translation, float)
    pixels = rng.uniform([0, 0], [640, 480], (20 * k, 2))
    depth0 = rng.uniform(*depths, 20 * k)
    rays = np.concatenate([(pixels - [320, 240]) / focals[0], np.ones((20 * k, 1))], axis=1)
    in1 = rays * depth0[:, None] @ rotation.T + translation
    pixels1, depth1 = _project(in1, focals[1]), in1[:, 2]
    seen = (depth1 > 0.5) & (pixels1 >= 0).all(axis=1) & (pixels1 < [640, 480]).all(axis=1)
    rows = np.flatnonzero(seen)[:k]
    assert len(rows) == k, "the cameras of this test do not see enough in common"
    points0, points1, depth0, depth1 = pixels[rows], pixels1[rows], depth0[rows], depth1[rows]
    if cell:
        points0, points1 = np.round(points0 / cell) * cell, np.round(points1 / cell) * cell
    wrong = rng.random(k) < outliers
    points1 = np.where(wrong[:, None], rng.uniform([0, 0], [640, 480], (k, 2)), points1)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation
    arrays = {
        "points0": points0,
        "points1": points1,
        "K0": _intrinsics(focals[0]),
        "K1": _intrinsics(focals[1]),
        "cam1_from_cam0": pose,
        "depth0": depth0,
        "depth1": depth1,
        "ratio": (depth0 / focals[0]) / (depth1 / focals[1]),
    }
    arrays = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    return types.SimpleNamespace(**arrays, valid=np.ones(k, bool), true=~wrong)


@pytest.fixture(scope="session")
def make_scene():
    """make_scene(seed, axis_angle, translation, ...) -> points, cameras, depths, ratio."""
    return _scene
