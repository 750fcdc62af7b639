"""Poses from points, how sure they are, and the files that they are written to."""

import json

import numpy as np
import pycolmap
import pytest
from localisation.synthetic_model import HEIGHT, TURNED, WIDTH, camera_of, make_model, project

from astr_jax.cli import main
from astr_jax.localisation.correspondences import Correspondences
from astr_jax.localisation.localise import localise
from astr_jax.localisation.poses import LEAST_INLIERS, estimate_pose
from astr_jax.localisation.results import write_results
from astr_jax.localisation.scene import read_scene
from astr_jax.params import Params, save_params
from astr_jax.reconstruction.photos import find_photos

SIZE = WIDTH, HEIGHT


@pytest.fixture(scope="module")
def invented(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("poses"))


def noisy_pose(invented, rng, noise, wrong=0):
    pixels = project(invented.xyz, invented.cam_from_world["0.png"], SIZE) + 0.5
    pixels = pixels + rng.normal(0, noise, pixels.shape)
    pixels[:wrong] += 30
    return estimate_pose(pixels, invented.xyz, camera_of(SIZE), max_error=4.0)


def test_a_pose_is_found_among_wrong_points(invented, rng):
    pose = noisy_pose(invented, rng, 0.01, wrong=20)
    np.testing.assert_allclose(pose.cam_from_world, invented.cam_from_world["0.png"], atol=2e-3)
    assert not pose.inliers[:20].any()
    assert pose.inliers[20:].all()


def test_the_covariance_is_that_of_many_noisy_poses(invented, rng):
    true = invented.cam_from_world["0.png"]
    poses = [noisy_pose(invented, rng, 0.5) for _ in range(150)]
    centre = -true[:3, :3].T @ true[:3, 3]
    moved = np.array([true[:3, :3] @ (pose.centre - centre) for pose in poses])
    turns = np.array([pose.cam_from_world[:3, :3] @ true[:3, :3].T for pose in poses])
    vectors = np.stack([turns[:, 2, 1], turns[:, 0, 2], turns[:, 1, 0]], axis=1)
    found = np.cov(np.concatenate([vectors, -moved], axis=1).T)
    expected = np.mean([pose.covariance for pose in poses], axis=0)
    size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(found / size, expected / size, atol=0.25)
    assert np.mean([pose.residual for pose in poses]) == pytest.approx(0.5, rel=0.05)


def test_too_few_points_are_no_pose(invented):
    pixels = project(invented.xyz, invented.cam_from_world["0.png"], SIZE) + 0.5
    few = LEAST_INLIERS - 1
    assert estimate_pose(pixels[:few], invented.xyz[:few], camera_of(SIZE), max_error=4.0) is None


@pytest.fixture(scope="module")
def localised(invented):
    """Queries that are copies of the images, by exact points; the last has none."""
    scene, places = read_scene(invented.model, invented.images), []
    for photo in find_photos(invented.images):
        keep = len(invented.xyz) if photo.name != "2.png" else 0
        found = Correspondences(
            points=invented.seen[photo.name][:keep],
            point_ids=np.arange(1, keep + 1),
            sigma=np.ones(keep),
            confidence=np.ones(keep),
            views=np.zeros(keep, np.int32),
        )
        camera = camera_of(photo.stored_shape[::-1])
        places.append(localise(photo, camera, found, scene, views=[0, 1], resize=640))
    return scene, places


def test_queries_stored_turned_are_localised_as_stored(invented, localised):
    for place in localised[1][:2]:
        true = invented.cam_from_world[place.photo.name]
        np.testing.assert_allclose(place.pose.cam_from_world, true, atol=1e-6)
    assert localised[1][2].pose is None


def test_poses_are_written_as_colmap_and_hloc_read_them(invented, localised, tmp_path):
    scene, places = localised
    write_results(tmp_path, places, scene)
    write_results(tmp_path, places, scene)  # over the first
    lines = [line.split() for line in (tmp_path / "poses.txt").read_text().splitlines()]
    assert [line[0] for line in lines] == ["0.png", TURNED]
    for name, w, x, y, z, *translation in lines:
        turn = pycolmap.Rotation3d(np.array([x, y, z, w], float)).matrix()
        np.testing.assert_allclose(turn, invented.cam_from_world[name][:3, :3], atol=1e-6)
        np.testing.assert_allclose(
            np.array(translation, float), invented.cam_from_world[name][:3, 3], atol=1e-6
        )
    model = pycolmap.Reconstruction(tmp_path / "sparse")
    assert model.num_reg_images() == 2
    assert model.num_points3D() == len(invented.xyz)
    model.update_point_3d_errors()
    assert model.compute_mean_reprojection_error() < 1e-4
    records = json.loads((tmp_path / "poses.json").read_text())
    assert [record["inliers"] for record in records] == [60, 60, 0]
    assert np.shape(records[0]["covariance"]) == (6, 6)
    assert records[2]["cam_from_world"] is None
    assert records[0]["database_images"] == ["0.png", "1.png"]


def test_copies_of_database_images_are_localised_by_the_command(
    invented, nano_config, nano_variables, tmp_path, capsys
):
    weights = tmp_path / "nano.safetensors"
    save_params(weights, Params(nano_variables, nano_config))
    words = [str(invented.model), str(invented.images), "--images", str(invented.images)]
    words += ["--out", str(tmp_path / "out"), "--weights", str(weights), "--resize", "128"]
    words += ["--scales", "1", "--upright", "--threshold", "0", "--most", "1"]
    assert main(["localise", *words]) == 0
    assert "3 of 3 localised" in capsys.readouterr().out
    for record in json.loads((tmp_path / "out" / "poses.json").read_text()):
        assert record["database_images"] == [record["name"]]
        true = invented.cam_from_world[record["name"]]
        found = np.array(record["cam_from_world"])  # by random weights: roughly
        np.testing.assert_allclose(found[:3, :3], true[:3, :3], atol=0.2)
        np.testing.assert_allclose(found[:3, 3], true[:3, 3], atol=1.5)
    assert main(["localise", *words, "--max-error", "0"]) == 2
    assert "--max-error must be above 0" in capsys.readouterr().err
    del words[1]  # queries: the first image of the model
    words[words.index("--out") + 1] = str(tmp_path / "held")
    assert main(["eval", "localise", *words, "--every", "3"]) == 0
    printed = capsys.readouterr().out
    assert "1 queries, 2 database images" in printed
    assert all(f"│ {name} " in printed for name in ("astr", "sift"))
