"""From a COLMAP model to a scene: pictures without distortion, upright, that fit their points."""

import numpy as np
import pycolmap
import pytest
from localisation.synthetic_model import FOCAL, HEIGHT, TURNED, WIDTH, make_model, project
from PIL import Image

from astr_jax.adaptation.labels import read_labels
from astr_jax.images import ImageWarning


def reprojected(scene, k):
    return warped(scene.K[k], scene.cam_from_world[k], scene.xyz[scene.rows[k]])


def warped(K, pose, xyz):
    at = (xyz @ pose[:3, :3].T + pose[:3, 3]) @ K.T
    return at[:, :2] / at[:, 2:]


@pytest.mark.parametrize("long_side", [640, 64])
def test_pictures_are_upright_and_shrunk_with_their_cameras_and_points(tmp_path, long_side):
    made = make_model(tmp_path)
    scene = read_labels(made.model, made.images, long_side=long_side)
    shrink = max(1, WIDTH / long_side)
    names = sorted(made.seen)
    assert TURNED in names
    for k, name in enumerate(names):
        assert scene.images[k].shape == (HEIGHT / shrink, WIDTH / shrink)
        assert len(scene.rows[k]) > 50
        np.testing.assert_allclose(reprojected(scene, k), scene.keypoints[k], atol=1e-6)
        seen = (made.seen[name][scene.rows[k]] + 0.5) / shrink - 0.5
        np.testing.assert_allclose(scene.keypoints[k], seen, atol=1e-6)
    if long_side == 640:
        with Image.open(made.images / TURNED) as stored:
            turned = np.rot90(np.asarray(stored.convert("L")), 3)
        np.testing.assert_array_equal(scene.images[names.index(TURNED)], turned)


def test_distortion_is_taken_out_of_pictures_and_points(tmp_path):
    """A dot at every tenth point, where the distorted camera sees it."""
    made = make_model(tmp_path, count=4)
    model = pycolmap.Reconstruction(str(made.model))
    K = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
    for image in list(model.images.values()):
        if image.name == TURNED:
            model.deregister_frame(image.frame_id)
            continue
        camera = model.cameras[image.camera_id]
        camera.model = pycolmap.CameraModelId.SIMPLE_RADIAL
        camera.params = [FOCAL, WIDTH / 2, HEIGHT / 2, -0.3]
        pose = made.cam_from_world[image.name]
        straight = project(made.xyz, pose, (WIDTH, HEIGHT)) + 0.5
        rays = np.c_[straight, np.ones(len(straight))] @ np.linalg.inv(K).T
        bent = camera.img_from_cam(rays)
        assert np.abs(bent - straight).max() > 1
        for point, xy in zip(image.points2D, bent, strict=True):
            point.xy = xy
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        away = [(x - at[0] + 0.5) ** 2 + (y - at[1] + 0.5) ** 2 for at in bent[::10]]
        dots = 255 * np.exp(-np.array(away) / 4).max(axis=0)
        Image.fromarray(dots.astype(np.uint8)).save(made.images / image.name)
    model.write_binary(str(made.model))
    scene = read_labels(made.model, made.images)
    assert len(scene.images) == 3
    for k in range(3):
        np.testing.assert_allclose(reprojected(scene, k), scene.keypoints[k], atol=1e-4)
        dots = scene.keypoints[k][np.isin(scene.rows[k], np.arange(0, 60, 10))]
        x, y = np.rint(dots).astype(int).T
        assert len(x) > 3
        assert scene.images[k][y, x].min() > 180


def test_a_mirrored_picture_is_left_out(tmp_path):
    made = make_model(tmp_path, count=4)
    with Image.open(made.images / "0.png") as picture:
        exif = picture.getexif()
        exif[0x0112] = 2
        picture.save(made.images / "0.png", exif=exif)
    with pytest.warns(ImageWarning, match=r"0\.png is mirrored"):
        scene = read_labels(made.model, made.images)
    assert len(scene.images) == 3
