import shutil

import cv2
import numpy as np
import PIL.Image
import pytest

from astr_jax.data.readers import ScanNet, UnreadableFile
from astr_jax.geometry import shrunk_intrinsics

K = np.array([[57.8, 0, 31.9], [0, 57.9, 24.1], [0, 0, 1]])
SHAPE = (48, 64)
STEMS = (0, 15, 585)


@pytest.fixture
def scan(tmp_path, rng):
    """scene0707_00 in miniature: {stem: (picture, depth in mm, world_from_cam)}."""
    folder = tmp_path / "scene0707_00"
    for name in ("color", "depth", "pose", "intrinsic"):
        (folder / name).mkdir(parents=True)
    frames = {}
    for stem in STEMS:
        picture = rng.integers(0, 256, (*SHAPE, 3), np.uint8)
        depth = rng.integers(0, 8000, SHAPE).astype(np.uint16)
        pose = np.eye(4)
        pose[:3, :3] = cv2.Rodrigues(rng.normal(0, 0.5, 3))[0]
        pose[:3, 3] = rng.normal(size=3)
        cv2.imwrite(str(folder / "color" / f"{stem}.jpg"), picture)
        cv2.imwrite(str(folder / "depth" / f"{stem}.png"), depth)
        np.savetxt(folder / "pose" / f"{stem}.txt", pose)
        frames[stem] = depth, pose
    whole = np.eye(4)
    whole[:3, :3] = K
    np.savetxt(folder / "intrinsic" / "intrinsic_depth.txt", whole)
    np.savez(tmp_path / "intrinsics.npz", scene0707_00=K)
    return frames


NAMES = np.array([[707, 0, 0, 15], [707, 0, 15, 585]])


@pytest.mark.parametrize("intrinsics", [True, False])
def test_the_layout_is_read_back_exactly(tmp_path, scan, intrinsics):
    (tmp_path / "index").mkdir()
    np.savez(tmp_path / "index" / "scene0707_00.npz", name=NAMES, score=[0.6, 0.2])
    file = tmp_path / "intrinsics.npz" if intrinsics else None
    dataset = ScanNet(tmp_path, tmp_path / "index", intrinsics=file)
    assert dataset.scenes == ("scene0707_00",)
    pairs = dataset.pairs("scene0707_00")
    assert [pair.overlap for pair in pairs] == [0.6]  # the other has too little
    arrays = dataset.load(pairs[0], SHAPE)
    for stem, image, depth in (
        (0, arrays.image0, arrays.truth.depth0),
        (15, arrays.image1, arrays.truth.depth1),
    ):
        np.testing.assert_array_equal(depth, scan[stem][0].astype(np.float32) / 1000)
        with PIL.Image.open(tmp_path / "scene0707_00" / "color" / f"{stem}.jpg") as picture:
            np.testing.assert_array_equal(image, np.asarray(picture.convert("L")))
    np.testing.assert_allclose(arrays.truth.K0, K, rtol=1e-6)
    point = np.array([0.3, -0.2, 2.0, 1.0])  # of the world
    first, second = (np.linalg.inv(scan[stem][1]) @ point for stem in (0, 15))
    np.testing.assert_allclose(arrays.truth.cam1_from_cam0 @ first, second, atol=1e-5)


def a_rotation(rng):
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return rotation * np.linalg.det(rotation)


def test_an_index_has_the_poses_where_no_folder_has(tmp_path, scan, rng):
    rel_pose = [np.hstack([a_rotation(rng), rng.normal(size=(3, 1))]).ravel() for _ in range(2)]
    np.savez(tmp_path / "test.npz", name=NAMES, rel_pose=rel_pose)
    dataset = ScanNet(tmp_path, tmp_path / "test.npz")
    stem0, stem1 = NAMES[0][2:].tolist()
    from_files = np.linalg.inv(scan[stem1][1]) @ scan[stem0][1]
    np.testing.assert_allclose(dataset.pairs("test")[0].cam1_from_cam0, from_files, atol=1e-9)
    shutil.rmtree(tmp_path / "scene0707_00" / "pose")
    pairs = dataset.pairs("test")
    assert len(pairs) == 2  # without a score all count
    for pair, row in zip(pairs, rel_pose, strict=True):
        expected = [*row.reshape(3, 4), [0, 0, 0, 1]]
        np.testing.assert_allclose(pair.cam1_from_cam0, expected, atol=1e-12)
        assert pair.scene == "scene0707_00"


def test_intrinsics_are_of_the_depth_map_whatever_the_size_of_the_colour(tmp_path, scan):
    large = np.zeros((97, 130), np.uint8)
    cv2.imwrite(str(tmp_path / "scene0707_00" / "color" / "0.jpg"), large)
    np.savez(tmp_path / "test.npz", name=NAMES[:1])
    dataset = ScanNet(tmp_path, tmp_path / "test.npz")
    arrays = dataset.load(dataset.pairs("test")[0], (97, 130))
    np.testing.assert_allclose(
        arrays.truth.K0, shrunk_intrinsics(K, (64 / 130, 48 / 97)), rtol=1e-5
    )


def test_a_lost_pose_is_named(tmp_path, scan):
    path = tmp_path / "scene0707_00" / "pose" / "15.txt"
    np.savetxt(path, np.full((4, 4), -np.inf))
    np.savez(tmp_path / "test.npz", name=NAMES)
    with pytest.raises(UnreadableFile, match=r"15\.txt: the pose is not finite"):
        ScanNet(tmp_path, tmp_path / "test.npz").pairs("test")[0]
    path.unlink()
    with pytest.raises(UnreadableFile, match=r"15\.txt: there is no such file"):
        ScanNet(tmp_path, tmp_path / "test.npz").pairs("test")[0]
    path.write_text("1 2 3")
    with pytest.raises(UnreadableFile, match=r"15\.txt: expected four rows"):
        ScanNet(tmp_path, tmp_path / "test.npz").pairs("test")[0]


def test_what_is_no_index_is_told(tmp_path):
    np.savez(tmp_path / "test.npz", other=np.zeros(3))
    with pytest.raises(UnreadableFile, match="has `name`"):
        ScanNet(tmp_path, tmp_path / "test.npz").pairs("test")
    with pytest.raises(FileNotFoundError, match="found none"):
        ScanNet(tmp_path, tmp_path / "nowhere")
