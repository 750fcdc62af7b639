"""Pairs of real scenes: what is cut, turned and mirrored must fit its points and cameras."""

import dataclasses

import cv2
import jax
import numpy as np
import pytest

from astr_jax.data.photometry import PhotometricConfig
from astr_jax.data.scenes import Scene
from astr_jax.data.shots import upper_triangular
from astr_jax.data.track_pairs import TrackPairs, TracksConfig, make_track_pair
from astr_jax.geometry import fundamental_matrix
from astr_jax.ops.geometry import epipolar_distance

SIZE = (180, 240)
CONFIG = TracksConfig(height=128, width=160, least=4)
PLAIN = PhotometricConfig(
    **{
        f.name: 0.0
        for f in dataclasses.fields(PhotometricConfig)
        if f.name.endswith("_probability")
    }
)


@pytest.fixture(scope="module")
def scene():
    """A textured wall, slanted, seen by four cameras."""
    rng = np.random.default_rng(3)
    texture = rng.integers(0, 255, (60, 80), dtype=np.uint8)
    texture = cv2.resize(texture, (640, 480), interpolation=cv2.INTER_CUBIC)
    to_wall = np.array([[200.0, 0, 320], [0, 200, 240], [0, 0, 1]])  # wall to texture
    xyz = np.concatenate([rng.uniform((-1.3, -1), (1.3, 1), (300, 2)), np.zeros((300, 1))], axis=1)
    K = np.array([[260.0, 0, 119.5], [0, 260, 89.5], [0, 0, 1]])
    images, poses, rows, keypoints = [], [], [], []
    for angle, x, z in ((-0.3, 0.9, 3.0), (0.0, 0.0, 3.2), (0.25, -0.8, 2.6), (0.5, -1.6, 3.4)):
        rotation = cv2.Rodrigues(np.array([0.05, angle, 0.03]))[0]
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation, (0.2 * x, 0.05, z)
        from_wall = K @ np.stack([rotation[:, 0], rotation[:, 1], pose[:3, 3]], axis=1)
        view = from_wall @ np.linalg.inv(to_wall)
        images.append(cv2.warpPerspective(texture, view, SIZE[::-1], flags=cv2.INTER_AREA))
        at = (xyz @ rotation.T + pose[:3, 3]) @ K.T
        points = at[:, :2] / at[:, 2:]
        inside = ((points > 4) & (points < (SIZE[1] - 5, SIZE[0] - 5))).all(axis=1)
        rows.append(np.flatnonzero(inside))
        keypoints.append(points[inside])
        poses.append(pose)
    return Scene(
        name="wall",
        images=tuple(images),
        K=np.stack([K] * 4),
        cam_from_world=np.array(poses),
        rows=tuple(rows),
        keypoints=tuple(keypoints),
        xyz=xyz,
    )


def test_points_cameras_and_pictures_fit_after_all_that_is_done(scene):
    plain = dataclasses.replace(CONFIG, light=PLAIN)
    off, levels, jacobians = [], [], []
    for seed in range(12):
        pair = make_track_pair(scene, 0, 2, np.random.default_rng(seed), 0.5, plain)
        truth = pair.truth
        points0, points1 = truth.points0[truth.valid], truth.points1[truth.valid]
        if not len(points0):
            continue
        cameras = truth.K0, truth.K1, truth.cam1_from_cam0
        off.append(np.asarray(epipolar_distance(points0, points1, *cameras)))
        grey = [
            cv2.remap(cv2.GaussianBlur(image, (0, 0), 2), points[None], None, cv2.INTER_LINEAR)[0]
            for image, points in ((pair.image0, points0), (pair.image1, points1))
        ]
        levels.append(np.corrcoef(*grey)[0, 1])
        gap = np.linalg.norm(points0[:, None] - points0[None], axis=-1) + 1e9 * np.eye(len(points0))
        close = np.flatnonzero(gap.min(axis=1) < 8)
        other = gap.argmin(axis=1)[close]
        step = np.einsum("kij,kj->ki", truth.jacobian[close], points0[other] - points0[close])
        error = np.linalg.norm(points1[close] + step - points1[other], axis=1)
        jacobians.append(error / np.linalg.norm(points1[close] - points1[other], axis=1))
        for K in (truth.K0, truth.K1):
            assert K[1, 0] == K[2, 0] == K[2, 1] == 0
            assert min(K[0, 0], K[1, 1]) > 0
            assert abs(K[0, 1]) < 1e-2 * K[0, 0]
        np.testing.assert_allclose(np.linalg.det(truth.cam1_from_cam0[:3, :3]), 1, atol=1e-5)
    assert len(levels) > 8
    assert np.concatenate(off).max() < 0.02
    assert np.median(levels) > 0.9
    assert np.median(np.concatenate(jacobians)) < 0.25  # the wall does not face the cameras


def test_a_pair_depends_on_the_seed_its_number_and_the_difficulty_alone(scene):
    pairs = TrackPairs([scene], CONFIG, 5)
    assert len(pairs) == 6
    first, again = pairs.stack(range(3), 0.7), TrackPairs([scene], CONFIG, 5).stack(range(3), 0.7)
    jax.tree.map(np.testing.assert_array_equal, first, again)
    other = TrackPairs([scene], CONFIG, 6).pair(0, 0.7)
    assert not np.array_equal(other.image0, first.image0[0])
    assert first.image0.shape == (3, 128, 160)
    assert first.image0.dtype == np.uint8
    assert (first.truth.valid.sum(axis=1) >= CONFIG.least).all()


def test_scales_and_turns_are_spread_as_asked(scene):
    pairs = TrackPairs([scene], dataclasses.replace(CONFIG, tilt=0.0), 1)
    truths = [pairs.pair(k, 0.3).truth for k in range(200)]
    ratio = np.array([np.median(t.ratio[t.valid]) for t in truths if t.valid.any()])
    assert 0.2 < (np.abs(np.log(ratio)) > np.log(1.5)).mean() < 0.55
    assert ratio.min() < 0.6
    assert ratio.max() > 1.7
    turn = [
        np.degrees(np.arctan2(*np.median(t.jacobian[t.valid][:, :, 0], axis=0)[::-1]))
        for t in truths
        if t.valid.any()
    ]
    assert 0.05 < (np.abs(turn) > 12).mean() < 0.35


def test_too_many_tracks_are_thinned(scene):
    few = dataclasses.replace(CONFIG, capacity=16)
    truth = TrackPairs([scene], few, 0).pair(3, 0.2).truth
    assert truth.points0.shape == (16, 2)
    assert truth.valid.all()


def test_a_mirrored_world_has_the_epipolar_lines_of_its_pictures(scene):
    mirrored = dataclasses.replace(CONFIG, mirror_probability=1.0, light=PLAIN)
    pair = make_track_pair(scene, 1, 2, np.random.default_rng(0), 0.5, mirrored)
    truth = pair.truth
    F = fundamental_matrix(*(np.float64(x) for x in (truth.cam1_from_cam0, truth.K0, truth.K1)))
    lift = [
        np.c_[p[truth.valid], np.ones(truth.valid.sum())] for p in (truth.points0, truth.points1)
    ]
    lines = lift[0] @ F.T
    off = np.abs((lines * lift[1]).sum(axis=1)) / np.linalg.norm(lines[:, :2], axis=1)
    assert truth.valid.sum() > 10
    assert off.max() < 0.02


def test_a_camera_is_taken_apart_into_intrinsics_and_a_rotation(rng):
    K = np.array([[300.0, 2, 100], [0, 280, 90], [0, 0, 1]])
    rotation = cv2.Rodrigues(rng.normal(size=3))[0]
    found, turn = upper_triangular(K @ rotation)
    np.testing.assert_allclose(found, K, atol=1e-9)
    np.testing.assert_allclose(turn, rotation, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 16}, "height and width must be at least 32"),
        ({"least": 0}, "least must be in 1 .. capacity"),
        ({"min_zoom": 3.0}, "min_zoom <= max_zoom"),
        ({"easy_scale": 3.0}, "easy_scale <= max_scale"),
        ({"turned_share": 1.5}, r"turned_share must be in \[0, 1\]"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TracksConfig(**change)


def test_scenes_without_a_pair_are_refused(scene):
    alone = dataclasses.replace(
        scene,
        images=scene.images[:1],
        K=scene.K[:1],
        cam_from_world=scene.cam_from_world[:1],
        rows=scene.rows[:1],
        keypoints=scene.keypoints[:1],
    )
    with pytest.raises(ValueError, match="Of 1 scenes none"):
        TrackPairs([alone], CONFIG, 0)
    with pytest.raises(ValueError, match="difficulty"):
        make_track_pair(scene, 0, 1, np.random.default_rng(0), 1.5, CONFIG)
