import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.ops.pose import estimate_pose, pixel_rays, sampson_error, solve_positive

MOTIONS = {  # axis-angle in radians, translation
    "sideways": ((0.0, 0.1, 0.0), (1.0, 0.0, 0.0)),
    "around": ((0.0, 0.5, 0.0), (-3.0, 0.0, 0.5)),
    "forward": ((0.0, 0.0, 0.0), (0.05, 0.02, -2.5)),
    "backward": ((0.05, 0.0, 0.0), (0.3, 0.0, 3.0)),
    "rolled over": ((0.0, 0.0, 3.1), (0.5, 0.3, 0.5)),
}


def pose_of(scene, seed=0, threshold=4.0):
    return estimate_pose(
        scene.points0,
        scene.points1,
        scene.valid,
        scene.K0,
        scene.K1,
        jax.random.key(seed),
        threshold=threshold,
    )


def errors_in_degrees(pose, truth):
    """Angles of rotation and of translation direction between a pose and a [4 4] truth."""
    apart = np.asarray(pose.rotation, np.float64) @ truth[:3, :3].T
    # The chord, not the cosine: the cosine of a small angle is lost in single precision.
    rotation = 2 * np.arcsin(min(np.linalg.norm(apart - np.eye(3)) / np.sqrt(8), 1.0))
    direction = truth[:3, 3] / np.linalg.norm(truth[:3, 3])
    translation = 2 * np.arcsin(min(np.linalg.norm(pose.translation - direction) / 2, 1.0))
    return np.degrees(rotation), np.degrees(translation)


@pytest.mark.parametrize("motion", MOTIONS)
def test_exact_matches_give_the_exact_pose(make_scene, motion):
    scene = make_scene(0, *MOTIONS[motion])
    pose = pose_of(scene)
    rotation, translation = errors_in_degrees(pose, scene.cam1_from_cam0)
    assert rotation < 0.01
    assert translation < 0.03
    assert pose.num_inliers == 600
    assert pose.noise < 0.01


@pytest.mark.parametrize("motion", MOTIONS)
def test_quantised_matches_with_outliers_give_a_close_pose(make_scene, motion):
    scene = make_scene(1, *MOTIONS[motion], cell=8, outliers=0.2)
    pose = pose_of(scene)
    rotation, translation = errors_in_degrees(pose, scene.cam1_from_cam0)
    assert rotation < 1.0
    assert translation < 6.0
    share = np.mean(np.asarray(pose.inliers)[scene.true])
    assert share > 0.8


def test_half_of_the_matches_may_be_wrong(make_scene):
    scene = make_scene(2, *MOTIONS["around"], cell=8, outliers=0.5)
    rotation, translation = errors_in_degrees(pose_of(scene), scene.cam1_from_cam0)
    assert rotation < 1.5
    assert translation < 3.0


def test_unequal_focal_lengths_need_no_care(make_scene):
    scene = make_scene(3, *MOTIONS["around"], focals=(400, 700))
    rotation, translation = errors_in_degrees(pose_of(scene), scene.cam1_from_cam0)
    assert rotation < 0.01
    assert translation < 0.03


def test_rows_that_are_not_valid_change_nothing_even_as_nan(make_scene):
    scene = make_scene(4, *MOTIONS["around"], outliers=0.3)
    scene.valid = scene.true
    scene.points1 = np.where(scene.valid[:, None], scene.points1, np.nan)
    pose = pose_of(scene)
    assert errors_in_degrees(pose, scene.cam1_from_cam0)[0] < 0.01
    assert not np.any(np.asarray(pose.inliers) & ~scene.valid)
    assert pose.num_inliers == scene.valid.sum()


def test_the_pose_is_a_rotation_and_a_unit_translation_and_the_same_each_time(make_scene):
    scene = make_scene(5, *MOTIONS["forward"], cell=8, outliers=0.4)
    pose, again = pose_of(scene), pose_of(scene)
    rotation = np.asarray(pose.rotation)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(pose.translation), 1.0, atol=1e-5)
    np.testing.assert_array_equal(pose.cam1_from_cam0[:3, :3], rotation)
    np.testing.assert_array_equal(pose.cam1_from_cam0[3], [0, 0, 0, 1])
    jax.tree.map(np.testing.assert_array_equal, pose, again)


@pytest.mark.parametrize("case", ["none valid", "four valid", "one point", "a line"])
def test_degenerate_matches_give_a_finite_pose(make_scene, case):
    scene = make_scene(6, *MOTIONS["around"])
    if case == "none valid":
        scene.valid[:] = False
    elif case == "four valid":
        scene.valid[4:] = False
    elif case == "one point":
        scene.points0[:] = scene.points0[0]
        scene.points1[:] = scene.points1[0]
    else:
        scene.points0[:, 1] = scene.points1[:, 1] = 240.0
    pose = pose_of(scene)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(pose))
    if case.endswith("valid"):
        assert pose.num_inliers == 0


def test_a_batch_under_vmap_is_the_pairs_one_by_one(make_scene):
    scenes = [make_scene(seed, *MOTIONS["around"], cell=8) for seed in (7, 8)]
    names = ("points0", "points1", "valid", "K0", "K1")
    batch = [jnp.stack([getattr(scene, name) for scene in scenes]) for name in names]
    keys = jnp.stack([jax.random.key(0)] * 2)
    poses = jax.vmap(lambda *a: estimate_pose(*a, threshold=4.0))(*batch, keys)
    for i, scene in enumerate(scenes):
        alone = pose_of(scene)
        np.testing.assert_allclose(poses.rotation[i], alone.rotation, atol=2e-3)
        np.testing.assert_allclose(poses.cam1_from_cam0[i], alone.cam1_from_cam0, atol=1e-2)


def test_the_sampson_error_is_a_distance_in_pixels(make_scene):
    # Sideways motion without rotation: epipolar lines are rows. A point 3 px off its row is
    # 3 / sqrt(2) away in Sampson's sense, which shares the error between both images.
    scene = make_scene(11, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0))
    moved = scene.points1 + np.array([[0.0, 3.0]], np.float32)
    rays = pixel_rays(scene.points0, scene.K0), pixel_rays(moved, scene.K1)
    focal = jnp.array([500.0, 500.0])
    error = sampson_error(jnp.eye(3), jnp.array([1.0, 0, 0]), *rays, focal0=focal, focal1=focal)
    np.testing.assert_allclose(np.abs(error), 3 / np.sqrt(2), rtol=1e-3)


def test_small_systems_are_solved_and_unknown_unknowns_are_zero():
    square = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    matrix, vectors = square @ square.T + np.eye(5, dtype=np.float32), square[:, :2]
    expected = np.linalg.solve(matrix.astype(np.float64), vectors)
    np.testing.assert_allclose(solve_positive(matrix, vectors), expected, atol=1e-4)
    silent = jnp.diag(jnp.array([2.0, 0.0, 4.0]))
    np.testing.assert_allclose(solve_positive(silent, jnp.ones((3, 1)))[:, 0], [0.5, 0.0, 0.25])
