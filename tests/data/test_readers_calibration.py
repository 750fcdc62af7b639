"""What every reader checks of a camera: that it is of its picture, and that its pose is one."""

import json

import numpy as np
import pytest
from data.written_scenes import FOCAL, HEIGHT, WIDTH, write_scene
from PIL import Image

from astr_jax.data.readers import ColmapModels, PosedFolders, UnreadableFile
from astr_jax.data.readers.calibration import check_principal_point, size_scale
from astr_jax.data.readers.pairs import PosedPair
from astr_jax.data.readers.views import View
from astr_jax.data.scenes import read_scene
from astr_jax.evaluation.benchmarks import colmap
from astr_jax.evaluation.benchmarks.pairs import read_pairs
from astr_jax.geometry import rigid_pose

TURN = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])  # a rotation
EXIF_TURN = 6


def shrink_pictures(folder, size):
    for path in (folder / "images").iterdir():
        with Image.open(path) as picture:
            small = picture.resize(size)
        small.save(path)


@pytest.fixture
def shrunk(tmp_path, rng):
    """A model whose pictures were shrunk to a quarter afterwards."""
    write_scene(tmp_path / "yard", rng, points=200)
    shrink_pictures(tmp_path / "yard", (WIDTH // 4, HEIGHT // 4))
    return tmp_path / "yard"


def test_all_readers_of_a_model_scale_its_cameras_to_pictures_shrunk_afterwards(shrunk):
    """A pixel of the shrunk picture is the middle of 4 x 4: K follows, by pixel centres."""
    expected = [
        [FOCAL / 4, 0, (WIDTH / 4 - 1) / 2],
        [0, FOCAL / 4, (HEIGHT / 4 - 1) / 2],
        [0, 0, 1],
    ]
    posed = ColmapModels([shrunk], min_overlap=0, max_overlap=1)
    pair = posed.pairs("yard")[0]
    K_of_training = posed.load(pair, (HEIGHT // 4, WIDTH // 4)).truth.K0
    K_of_evaluation = colmap.read([shrunk], bands=[(0.5, 1.1)]).pairs[0].truth.K0
    scene = read_scene(shrunk)
    for K in (K_of_training, K_of_evaluation, scene.K[0]):
        np.testing.assert_allclose(K, expected, rtol=1e-6)
    at = scene.xyz[scene.rows[0]] @ scene.cam_from_world[0, :3, :3].T
    at = (at + scene.cam_from_world[0, :3, 3]) @ scene.K[0].T
    np.testing.assert_allclose(at[:, :2] / at[:, 2:], scene.keypoints[0], atol=1e-6)


def test_all_readers_of_a_model_refuse_a_picture_that_was_cropped(shrunk):
    shrink_pictures(shrunk, (WIDTH // 4, HEIGHT // 4 + 3))
    posed = ColmapModels([shrunk], min_overlap=0, max_overlap=1)
    words = r"png: its camera is calibrated for 128 x 96 pixels; the picture has 32 x 27"
    for read in (
        lambda: posed.load(posed.pairs("yard")[0], (24, 32)),
        lambda: colmap.read([shrunk], bands=[(0.5, 1.1)]),
        lambda: read_scene(shrunk),
    ):
        with pytest.raises(UnreadableFile, match=words):
            read()


def test_a_shrunk_picture_that_lies_turned_has_the_camera_of_its_stored_pixels(shrunk):
    """Its tag turns picture and camera together."""
    exif = Image.Exif()
    exif[0x0112] = EXIF_TURN
    for path in (shrunk / "images").iterdir():
        with Image.open(path) as picture:
            picture.load()
        picture.save(path, exif=exif)
    posed = ColmapModels([shrunk], min_overlap=0, max_overlap=1)
    arrays = posed.load(posed.pairs("yard")[0], (WIDTH // 4, HEIGHT // 4))
    assert arrays.mask0.all()
    K = arrays.truth.K0
    np.testing.assert_allclose([K[0, 0], K[1, 1]], FOCAL / 4, rtol=1e-6)
    np.testing.assert_allclose(K[:2, 2], [(HEIGHT / 4 - 1) / 2, (WIDTH / 4 - 1) / 2], rtol=1e-6)


@pytest.mark.parametrize(
    ("picture", "scale"),
    [
        ((1200, 1600), (1, 1)),
        ((800, 1067), (1600 / 1067, 1.5)),  # rounded
        ((799, 1066), (1600 / 1066, 1200 / 799)),  # cut off
        ((2400, 3200), (0.5, 0.5)),
        ((1600, 1200), None),
        ((1200, 1500), None),
        ((600, 790), None),
    ],
)
def test_the_size_of_a_picture_is_that_of_its_camera_or_a_shrinking_of_it(picture, scale):
    if scale is None:
        with pytest.raises(UnreadableFile, match=r"a.jpg: its camera is calibrated for 1600 x"):
            size_scale((1200, 1600), picture, "a.jpg")
    else:
        np.testing.assert_allclose(size_scale((1200, 1600), picture, "a.jpg"), scale)


def test_a_K_of_a_larger_picture_is_refused_where_its_size_is_not_stated(tmp_path):
    K = np.array([[500.0, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])
    check_principal_point(K, (480, 640), "a.jpg")
    check_principal_point(K, (400, 500), "a.jpg")  # a crop
    with pytest.raises(UnreadableFile, match=r"a.jpg: the principal point.*319.5, 239.5.*320 x"):
        check_principal_point(K, (240, 320), "a.jpg")
    for name in ("a.png", "b.png"):
        Image.new("L", (320, 240)).save(tmp_path / name)
    pair = {"image0": "a.png", "image1": "b.png", "K0": K.tolist(), "K1": K.tolist()}
    pose = np.eye(4)
    (tmp_path / "index.json").write_text(json.dumps([pair | {"T_0to1": pose.tolist()}]))
    with pytest.raises(ValueError, match=r"pair 0: .*a.png: the principal point"):
        read_pairs([tmp_path])


def posed(R, last=(0, 0, 0, 1)):
    return np.concatenate([np.concatenate([R, [[1.0], [2.0], [3.0]]], axis=1), [last]])


WRONG_POSES = {
    "mirrored": (posed(TURN * [1, 1, -1]), "det R is -1: it mirrors"),
    "smaller": (posed(TURN * 0.58 ** (1 / 3)), r"is scaled by 0.834, det R is 0.58"),
    "larger": (posed(TURN * 1.2), r"R is scaled by 1.2, det R is 1.73"),
    "sheared": (posed(TURN @ [[1, 0.3, 0], [0, 1, 0], [0, 0, 1]]), "R is sheared, det R is 1"),
    "not finite": (posed(TURN * np.nan), "and finite"),
    "transposed": (posed(TURN).T, r"its last row is \[1.0, 2.0, 3.0, 1.0\]. Is it transposed"),
    "small": (np.eye(3), r"must be \[4 4\] or \[3 4\]"),
}


@pytest.mark.parametrize(("pose", "words"), WRONG_POSES.values(), ids=WRONG_POSES)
def test_every_reader_refuses_a_pose_that_is_no_rotation_and_translation(tmp_path, pose, words):
    with pytest.raises(ValueError, match=words):
        rigid_pose(pose)
    view = View("a", np.zeros((4, 4), np.uint8), np.array([[4.0, 0, 1.5], [0, 4, 1.5], [0, 0, 1]]))
    if pose.shape == (4, 4):
        with pytest.raises(UnreadableFile, match="yard: a, a: the pose must"):
            PosedPair("yard", view, view, pose)
    for name in ("a.png", "b.png"):
        Image.new("L", (4, 4)).save(tmp_path / name)
    K = view.K.tolist()
    pair = {"image0": "a.png", "image1": "b.png", "K0": K, "K1": K, "T_0to1": pose.tolist()}
    (tmp_path / "index.json").write_text(json.dumps([pair]))
    with pytest.raises(ValueError, match=r"pair 0: .*T_0to1 must be"):
        read_pairs([tmp_path])


def test_two_mirrored_poses_do_not_hide_one_another(tmp_path):
    """The way between them is a rotation; each of them is none."""
    (tmp_path / "yard" / "images").mkdir(parents=True)
    frames = []
    for k in range(2):
        name = f"images/{k}.png"
        Image.new("L", (40, 30)).save(tmp_path / "yard" / name)
        pose = posed(TURN * [1, 1, -1]).tolist()
        frames.append({"image": name, "depth": None, "T_cam_to_world": pose})
    K = [[30, 0, 19.5], [0, 30, 14.5], [0, 0, 1]]
    (tmp_path / "yard" / "scene.json").write_text(json.dumps({"K": K, "frames": frames}))
    with pytest.raises(UnreadableFile, match=r"T_cam_to_world of images/0.png must.*it mirrors"):
        PosedFolders([tmp_path / "yard"]).pairs("yard")


def test_a_pose_of_few_digits_is_made_orthonormal():
    found = rigid_pose(posed(np.round(TURN + 0.002, 3)))
    np.testing.assert_allclose(found[:3, :3].T @ found[:3, :3], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(found[:3, :3], TURN, atol=4e-3)
    np.testing.assert_array_equal(found[:, 3], [1, 2, 3, 1])


def test_a_pose_is_taken_without_its_last_row():
    np.testing.assert_array_equal(rigid_pose(posed(TURN)[:3].tolist()), rigid_pose(posed(TURN)))
    np.testing.assert_array_equal(rigid_pose(posed(TURN).ravel()), rigid_pose(posed(TURN)))
