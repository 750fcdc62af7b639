"""Tracks as a COLMAP database, and the model that pycolmap makes of it."""

import numpy as np
import pycolmap
import pytest
from PIL import Image
from reconstruction.synthetic import FOCAL, HEIGHT, WIDTH, make_scene

from astr_jax.reconstruction.database import pair_matches, write_database
from astr_jax.reconstruction.mapping import map_database, quiet, read_models
from astr_jax.reconstruction.photos import ENDINGS, check_colmap_reads, find_photos
from astr_jax.reconstruction.tracks import Tracks


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return make_scene(tmp_path_factory.mktemp("scene") / "photos", turned=2)


@pytest.fixture(scope="module")
def database(scene):
    file = scene.folder.parent / "database.db"
    with quiet():
        verified = write_database(file, scene.folder, scene.photos, scene.tracks)
    assert verified == 15  # all pairs of six
    return file


def test_keypoints_lie_half_a_pixel_further_than_ours(scene, database):
    with pycolmap.Database.open(database) as opened:
        image = opened.read_image_with_name("0.jpg")
        found = opened.read_keypoints(image.image_id)
    expected = scene.tracks.points[scene.tracks.image == 0] + 0.5
    np.testing.assert_allclose(found[:, :2], expected, atol=1e-4)


def test_keypoints_of_a_turned_file_lie_in_pixels_as_stored(scene, database):
    with pycolmap.Database.open(database) as opened:
        image = opened.read_image_with_name("2.jpg")
        camera = opened.read_camera(image.camera_id)
        found = opened.read_keypoints(image.image_id)
    assert (camera.width, camera.height) == (HEIGHT, WIDTH)
    x, y = scene.tracks.points[scene.tracks.image == 2].T + 0.5
    np.testing.assert_allclose(found[:, :2], np.stack([y, WIDTH - x], axis=1), atol=1e-4)


def test_exact_tracks_become_the_true_model(scene, database):
    with quiet():
        models = map_database(database, scene.folder, scene.folder.parent / "sparse", threads=1)
    assert list(models) == [0]
    model = read_models(scene.folder.parent / "sparse")[0]
    assert model.num_reg_images() == 6
    assert model.compute_mean_reprojection_error() < 0.01
    focal = [camera.mean_focal_length() for camera in model.cameras.values()]
    np.testing.assert_allclose(focal, FOCAL, rtol=0.01)
    images = sorted(model.images.values(), key=lambda image: image.name)
    upright = [image for number, image in enumerate(images) if number != 2]
    true = [pose for number, pose in enumerate(scene.cam_from_world) if number != 2]
    turns = [image.cam_from_world().rotation.matrix() for image in upright]
    for turn, pose in zip(turns[1:], true[1:], strict=True):
        found, expected = turn @ turns[0].T, pose[:3, :3] @ true[0][:3, :3].T
        np.testing.assert_allclose(found, expected, atol=2e-3)


def test_no_model_is_an_error_that_says_why(scene, tmp_path):
    few = scene.tracks.track < 5
    fields = ("track", "image", "points", "sigma")
    tracks = Tracks(scene.tracks.names, *(getattr(scene.tracks, f)[few] for f in fields))
    with quiet():
        write_database(tmp_path / "few.db", scene.folder, scene.photos, tracks)
        with pytest.raises(ValueError, match="no two photographs share enough"):
            map_database(tmp_path / "few.db", scene.folder, tmp_path / "sparse", threads=1)
    assert not (tmp_path / "sparse").exists()


def test_a_single_camera_is_one_for_each_size(scene, tmp_path):
    with quiet():
        write_database(
            tmp_path / "one.db", scene.folder, scene.photos, scene.tracks, camera="single"
        )
    with pycolmap.Database.open(tmp_path / "one.db") as opened:
        cameras = [image.camera_id for image in opened.read_all_images()]
        names = [image.name for image in opened.read_all_images()]
    shared = {camera for name, camera in zip(names, cameras, strict=True) if name != "2.jpg"}
    assert len(names) == 6
    assert len(shared) == 1
    assert cameras[names.index("2.jpg")] not in shared


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_colmap_cannot_read_is_refused_before_matching(tmp_path, ending):
    for name in ("a", "b"):
        Image.new("L", (30, 20)).save(tmp_path / f"{name}.{ending}")
    photos = find_photos(tmp_path)
    if pycolmap.Bitmap.read(str(photos[0].path), False) is not None:
        check_colmap_reads(photos)
        return
    with pytest.raises(ValueError, match=f"cannot read .{ending} files.*the 2 of them.*a.{ending}"):
        check_colmap_reads(photos)


def test_every_two_observations_of_a_track_are_a_match():
    # track 0 in images 0, 1, 3; track 1 in images 1, 3; keypoints are numbered within each image
    tracks = Tracks(
        ("a", "b", "c", "d"),
        np.array([0, 0, 0, 1, 1]),
        np.array([0, 1, 3, 1, 3]),
        np.zeros((5, 2)),
        np.zeros(5),
    )
    found = {pair: rows.tolist() for pair, rows in pair_matches(tracks)}
    assert found == {(0, 1): [[0, 0]], (0, 3): [[0, 0]], (1, 3): [[0, 0], [1, 1]]}
