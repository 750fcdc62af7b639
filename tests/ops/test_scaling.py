import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.ops.scaling import (
    grid_sizes,
    ratio_from_homography,
    ratio_from_pose,
    scale_ratio,
)

GRID = (250, 375)  # cells of 8 pixels: more than the points of any test reach
SIDEWAYS = ((0.0, 0.1, 0.0), (1.0, 0.0, 0.0))
AROUND = ((0.0, 0.5, 0.0), (-3.0, 0.0, 0.5))
FORWARD = ((0.0, 0.0, 0.0), (0.05, 0.02, -2.5))  # depths are about halved


def by_pose(scene, seed=0):
    given = {"K0": scene.K0, "K1": scene.K1, "key": jax.random.key(seed), "grid": GRID}
    return np.asarray(
        scale_ratio(scene.points0, scene.points1, scene.valid, estimator="pose", **given)
    )


def by_affine(points0, points1, valid=None):
    valid = np.ones(len(points0), bool) if valid is None else valid
    points = (np.asarray(points0, np.float32), np.asarray(points1, np.float32))
    return np.asarray(scale_ratio(*points, valid, estimator="affine", grid=GRID))


def relative_error(ratio, truth):
    return np.abs(ratio / truth - 1)


def plane_view(scale, angle, points0=None):
    """Matches on a surface that both cameras face: a zoom and a rotation about the centre."""
    if points0 is None:
        points0 = np.random.default_rng(0).uniform([0, 0], [640, 480], (600, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points0, scale * (points0 - [320, 240]) @ turn.T + [320, 240]


@pytest.mark.parametrize("motion", [SIDEWAYS, AROUND, FORWARD])
@pytest.mark.parametrize("focals", [(500, 500), (400, 640)])
def test_pose_is_exact_with_exact_matches(make_scene, motion, focals):
    scene = make_scene(0, *motion, focals=focals)
    assert relative_error(by_pose(scene), scene.ratio).max() < 1e-3


@pytest.mark.parametrize("motion", [SIDEWAYS, AROUND, FORWARD])
@pytest.mark.parametrize("outliers", [0.0, 0.2])
def test_pose_is_within_ten_percent_with_matches_on_cell_centres(make_scene, motion, outliers):
    scene = make_scene(1, *motion, cell=8, outliers=outliers)
    error = relative_error(by_pose(scene), scene.ratio)[scene.true]
    assert np.median(error) < 0.05
    assert np.quantile(error, 0.9) < 0.12


def test_camera_1_closer_to_the_scene_means_a_ratio_above_one(make_scene):
    scene = make_scene(2, *FORWARD)
    assert np.median(scene.ratio) > 1.5  # depth0 is larger: things look larger in image 1
    for ratio in (by_pose(scene), by_affine(scene.points0, scene.points1)):
        assert np.median(ratio) > 1.5


def test_the_ratio_does_not_know_the_unit_of_length(make_scene):
    near = make_scene(3, *FORWARD, cell=8)
    far = make_scene(3, FORWARD[0], np.multiply(FORWARD[1], 100), depths=(400, 800), cell=8)
    np.testing.assert_allclose(by_pose(near), by_pose(far), rtol=1e-3)
    exact = make_scene(3, *FORWARD)
    for unit in (1e-2, 1.0, 1e3):
        pose = exact.cam1_from_cam0.copy()
        pose[:3, 3] *= unit
        ratio = ratio_from_pose(exact.points0, exact.points1, exact.K0, exact.K1, pose)
        np.testing.assert_allclose(ratio, exact.ratio, rtol=1e-3)


def test_the_true_pose_gives_the_true_ratio_with_unequal_focal_lengths(make_scene):
    scene = make_scene(4, *AROUND, focals=(400, 640))
    args = (scene.points0, scene.points1, scene.K0, scene.K1, scene.cam1_from_cam0)
    np.testing.assert_allclose(ratio_from_pose(*args), scene.ratio, rtol=1e-3)


def test_a_pose_without_translation_still_has_its_ratio(make_scene):
    scene = make_scene(5, (0.0, 0.3, 0.0), (0.0, 0.0, 0.0))
    args = (scene.points0, scene.points1, scene.K0, scene.K1, scene.cam1_from_cam0)
    np.testing.assert_allclose(ratio_from_pose(*args), scene.ratio, rtol=1e-3)


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("angle", [0.0, 0.6, 3.0])
def test_affine_is_the_zoom_of_surfaces_that_face_the_cameras(scale, angle):
    points0, points1 = plane_view(scale, angle)
    assert relative_error(by_affine(points0, points1), scale).max() < 1e-3
    snapped = by_affine(points0, np.round(points1 / 8) * 8)
    assert np.median(relative_error(snapped, scale)) < 0.02


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5, 2.0])
def test_affine_is_the_zoom_between_two_full_grids_of_cells(scale):
    # What coarse matching gives: every cell of image 0 goes to the nearest cell of image 1.
    grid = np.stack(np.meshgrid(np.arange(40) * 8.0, np.arange(30) * 8.0), -1).reshape(-1, 2)
    _, turned = plane_view(scale, 0.3, grid)
    ratio = by_affine(grid, np.round(turned / 8) * 8)
    assert np.median(relative_error(ratio, scale)) < 0.02


def test_affine_bears_a_third_of_wrong_matches():
    points0, points1 = plane_view(1.5, 0.4)
    rng = np.random.default_rng(1)
    wrong = rng.random(600) < 1 / 3
    points1 = np.where(wrong[:, None], rng.uniform([0, 0], [640, 480], (600, 2)), points1)
    error = relative_error(by_affine(points0, points1), 1.5)
    assert np.median(error) < 0.01
    assert np.quantile(error, 0.9) < 0.05


@pytest.mark.parametrize(("tilt", "bound"), [(0.2, 0.12), (0.5, 0.3), (0.8, 0.5)])
def test_affine_on_slanted_surfaces_is_off_by_their_foreshortening(tilt, bound):
    # The camera goes around a plane by `tilt` radians. The magnification is then that of the
    # area, cos(tilt) of it in one direction, where the depths differ little.
    points0 = np.random.default_rng(2).uniform([0, 0], [640, 480], (600, 2))
    rays = np.concatenate([(points0 - [320, 240]) / 500, np.ones((600, 1))], axis=1)
    turn = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    in1 = (5 * rays - [0, 0, 5]) @ turn.T + [0, 0, 5]
    points1 = in1[:, :2] / in1[:, 2:] * 500 + [320, 240]
    error = relative_error(by_affine(points0, points1), 5 / in1[:, 2])
    middle = np.abs(points0[:, 0] - 320) < 40
    expected = 1 - np.sqrt(np.cos(tilt))  # what theory says at the centre
    np.testing.assert_allclose(np.median(error[middle]), expected, atol=0.03)
    assert np.median(error) < bound


def test_a_plane_seen_twice_has_its_ratio_by_pose_too(make_scene):
    scene = make_scene(6, (0.0, 0.0, 0.1), (0.1, 0.0, -2.5), depths=(5, 5.0001), cell=8)
    assert np.median(relative_error(by_pose(scene), scene.ratio)) < 0.02


def test_a_rotating_camera_falls_back_to_affine(make_scene):
    scene = make_scene(7, (0.0, 0.2, 0.1), (0.0, 0.0, 0.0), cell=8)
    expected = by_affine(scene.points0, scene.points1)
    np.testing.assert_allclose(by_pose(scene), expected, rtol=2e-6)


def test_fewer_than_thirty_inliers_fall_back_to_affine(make_scene):
    scene = make_scene(8, *FORWARD)
    scene.valid[29:] = False
    expected = by_affine(scene.points0, scene.points1, scene.valid)
    np.testing.assert_allclose(by_pose(scene), expected, rtol=2e-6)
    scene.valid[:] = True
    assert np.abs(by_pose(scene) - by_affine(scene.points0, scene.points1)).max() > 1e-3


def test_fewer_than_six_neighbours_give_one():
    points0, points1 = plane_view(2.0, 0.0)
    np.testing.assert_array_equal(by_affine(points0, points1, np.arange(600) < 5), 1.0)
    apart = np.stack(np.meshgrid(np.arange(30) * 100.0, np.arange(20) * 100.0), -1).reshape(-1, 2)
    np.testing.assert_array_equal(by_affine(apart, 2 * apart), 1.0)  # no two within the radius


def test_none_is_one(make_scene):
    scene = make_scene(9, *FORWARD)
    given = scene.points0, scene.points1, scene.valid
    ratio = scale_ratio(*given, estimator="none", grid=GRID)
    np.testing.assert_array_equal(ratio, np.ones(600))


@pytest.mark.parametrize("estimator", ["pose", "affine", "none"])
@pytest.mark.parametrize("case", ["none valid", "one point", "one target", "a line", "nan padding"])
def test_degenerate_matches_give_finite_positive_ratios(make_scene, estimator, case):
    scene = make_scene(10, *AROUND)
    if case == "none valid":
        scene.valid[:] = False
    elif case == "one point":
        scene.points0[:], scene.points1[:] = scene.points0[0], scene.points1[0]
    elif case == "one target":
        scene.points1[:] = scene.points1[0]
    elif case == "a line":
        scene.points0[:, 1] = scene.points1[:, 1] = 240.0
    else:
        scene.valid[300:] = False
        scene.points0[300:] = np.nan
    cameras = {"K0": scene.K0, "K1": scene.K1, "key": jax.random.key(0)}
    args = (scene.points0, scene.points1, scene.valid)
    ratio = np.asarray(scale_ratio(*args, estimator=estimator, grid=GRID, **cameras))
    assert np.isfinite(ratio).all()
    assert (ratio > 0).all()
    np.testing.assert_array_equal(ratio[~scene.valid], 1.0)


def test_padding_changes_nothing(make_scene):
    scene = make_scene(11, *FORWARD, cell=8)
    alone = by_affine(scene.points0, scene.points1)
    rows = np.r_[np.arange(600), np.zeros(100, int)]
    padded = by_affine(scene.points0[rows], scene.points1[rows], np.arange(700) < 600)
    np.testing.assert_allclose(padded[:600], alone, rtol=1e-5)


def test_a_batch_under_vmap_is_the_pairs_one_by_one():
    views = [plane_view(scale, 0.3) for scale in (0.7, 1.4)]
    points0, points1 = (jnp.stack([view[i] for view in views]) for i in (0, 1))
    valid = jnp.ones((2, 600), bool)
    affine = functools.partial(scale_ratio, estimator="affine", grid=GRID)
    batch = jax.vmap(affine)(points0, points1, valid)
    for row, view in zip(batch, views, strict=True):
        np.testing.assert_allclose(row, by_affine(*view), rtol=1e-5)


def test_the_ratio_of_a_homography_is_the_root_of_its_jacobian():
    homography = jnp.array([[1.3, 0.2, -40.0], [-0.1, 0.8, 30.0], [4e-4, -3e-4, 1.0]])
    points = jnp.array([[0.0, 0.0], [100.0, 50.0], [320.0, 240.0], [639.0, 479.0]])

    def warp(point):
        x = homography @ jnp.append(point, 1.0)
        return x[:2] / x[2]

    expected = jnp.sqrt(jnp.abs(jax.vmap(lambda p: jnp.linalg.det(jax.jacobian(warp)(p)))(points)))
    np.testing.assert_allclose(ratio_from_homography(homography, points), expected, rtol=1e-4)
    scaled = ratio_from_homography(-7.0 * homography, points)  # a homography has no scale
    np.testing.assert_allclose(scaled, expected, rtol=1e-4)


def test_the_ratio_of_a_homography_is_finite_on_its_horizon():
    homography = jnp.array([[1.0, 0, 0], [0, 1.0, 0], [-0.01, 0, 1.0]])
    assert np.isfinite(ratio_from_homography(homography, jnp.array([[100.0, 0.0]]))).all()


def test_the_side_where_things_look_smaller_keeps_the_base_size():
    size0, size1 = grid_sizes(jnp.array([0.1, 0.5, 1.0, 2.0, 10.0]), base=5, largest=4)
    np.testing.assert_allclose(size0, [20, 10, 5, 5, 5])
    np.testing.assert_allclose(size1, [5, 5, 5, 10, 20])


def test_an_unknown_estimator_and_missing_intrinsics_are_refused():
    points, valid = jnp.zeros((8, 2)), jnp.ones(8, bool)
    with pytest.raises(ValueError, match=r"estimator must be one of .*'affine'.*; got 'depth'"):
        scale_ratio(points, points, valid, estimator="depth", grid=GRID)
    with pytest.raises(ValueError, match="needs K0, K1 and key"):
        scale_ratio(points, points, valid, estimator="pose", grid=GRID)
