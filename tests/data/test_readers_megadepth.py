import os
import pickle
import zipfile

import cv2
import h5py
import numpy as np
import pytest

from astr_jax.data.readers import MegaDepth, UnreadableFile
from astr_jax.data.readers.pickles import read_object_npz

ARCHIVE = "phoenix/S6/zl548/MegaDepth_v1"
SHAPE = (30, 40)


def make_views(rng, count=4):
    """Pictures, depths, K and cam_from_world of a miniature sub-scene."""
    for k in range(count):
        K = np.array([[45.0 + k, 0, 19.5], [0, 45.0 + k, 14.5], [0, 0, 1]])
        pose = np.eye(4)
        pose[:3, :3] = cv2.Rodrigues(rng.normal(0, 0.2, 3))[0]
        pose[:3, 3] = rng.normal(size=3)
        picture = rng.integers(0, 256, SHAPE, np.uint8)
        yield picture, rng.uniform(1, 5, SHAPE).astype(np.float32), K, pose


def write_files(root, views, images, depths):
    """Pictures as PNG inside .jpg names would be lossy to compare, so the names end in .png."""
    for folder in (images, depths):
        (root / folder).mkdir(parents=True)
    for k, (picture, depth, _, _) in enumerate(views):
        cv2.imwrite(str(root / images / f"{k}.png"), picture)
        with h5py.File(root / depths / f"{k}.h5", "w") as file:
            file["depth"] = depth


def index_of(views):
    """What both kinds of index share; a fifth picture is missing, as often in the real ones."""
    objects = {
        "image_paths": [f"Undistorted_SfM/0022/images/{k}.png" for k in range(4)] + [None],
        "depth_paths": [f"{ARCHIVE}/0022/dense0/depths/{k}.h5" for k in range(4)] + [None],
        "intrinsics": [view[2] for view in views] + [None],
        "poses": [view[3] for view in views] + [None],
    }
    index = {key: np.empty(5, object) for key in objects}
    for key, values in objects.items():
        for k, value in enumerate(values):
            index[key][k] = value
    return index


PAIRS = [((0, 1), 0.3), ((2, 1), 0.65), ((0, 3), 0.05), ((1, 3), 0.9)]


def with_pair_infos(index):
    infos = np.empty((len(PAIRS), 3), object)
    for row, (pair, overlap) in zip(infos, PAIRS, strict=True):
        row[:] = pair, overlap, np.zeros((2, 4))
    return {**index, "pair_infos": infos}


def with_overlap_matrix(index):
    matrix = np.full((5, 5), -1.0)
    for (i, j), overlap in PAIRS:
        matrix[i, j] = matrix[j, i] = overlap
    poses = np.empty(5, object)
    for k in range(4):
        poses[k] = index["poses"][k].flatten()  # as D2-Net writes them
    extra = np.array({7: [1.0, 2.0]}, object)
    return {**index, "poses": poses, "overlap_matrix": matrix, "points3D_id_to_2D": extra}


@pytest.fixture
def views(rng):
    return list(make_views(rng))


@pytest.mark.parametrize(
    ("images", "depths"),
    [
        ("Undistorted_SfM/0022/images", f"{ARCHIVE}/0022/dense0/depths"),
        ("Undistorted_SfM/0022/images", "MegaDepth_v1/0022/dense0/depths"),
        ("MegaDepth_v1/0022/dense0/imgs", "MegaDepth_v1/0022/dense0/depths"),
        (f"{ARCHIVE}/0022/dense0/imgs", f"{ARCHIVE}/0022/dense0/depths"),
        ("0022/dense0/imgs", "0022/dense0/depths"),
    ],
)
@pytest.mark.parametrize("complete", [with_pair_infos, with_overlap_matrix])
def test_every_layout_and_index_is_read_back_exactly(tmp_path, views, images, depths, complete):
    write_files(tmp_path, views, images, depths)
    (tmp_path / "index").mkdir()
    np.savez(tmp_path / "index" / "0022_0.1_0.7.npz", **complete(index_of(views)))
    dataset = MegaDepth(tmp_path, tmp_path / "index")
    assert dataset.scenes == ("0022_0.1_0.7",)
    pairs = dataset.pairs("0022_0.1_0.7")
    wanted = [(0, 1, 0.3), (2, 1, 0.65)] if complete is with_pair_infos else [
        (0, 1, 0.3), (1, 2, 0.65)]  # fmt: skip
    assert len(pairs) == len(wanted)
    for pair, (i, j, overlap) in zip(pairs, wanted, strict=True):
        assert pair.overlap == overlap
        arrays = dataset.load(pair, SHAPE)
        np.testing.assert_array_equal(arrays.image0, views[i][0])
        np.testing.assert_array_equal(arrays.image1, views[j][0])
        np.testing.assert_array_equal(arrays.truth.depth0, views[i][1])
        np.testing.assert_array_equal(arrays.truth.depth1, views[j][1])
        np.testing.assert_allclose(arrays.truth.K0, views[i][2], atol=1e-5)
        np.testing.assert_allclose(arrays.truth.K1, views[j][2], atol=1e-5)
        point = np.array([0.3, -0.2, 2.0, 1.0])  # of the world
        np.testing.assert_allclose(
            arrays.truth.cam1_from_cam0 @ (views[i][3] @ point), views[j][3] @ point, atol=1e-5
        )


def test_intrinsics_are_of_the_depth_map_where_the_picture_is_larger(tmp_path, views):
    """As D2-Net's scripts write the index when it names the original pictures."""
    images = tmp_path / "Undistorted_SfM/0022/images"
    write_files(tmp_path, views, images, tmp_path / ARCHIVE / "0022/dense0/depths")
    for k in range(4):
        cv2.imwrite(str(images / f"{k}.png"), np.zeros((60, 80), np.uint8))
    np.savez(tmp_path / "0022.npz", **with_overlap_matrix(index_of(views)))
    dataset = MegaDepth(tmp_path, tmp_path)
    arrays = dataset.load(dataset.pairs("0022")[0], SHAPE)
    np.testing.assert_allclose(arrays.truth.K0, views[0][2], atol=1e-5)


def test_a_list_chooses_the_scenes(tmp_path, views):
    for name in ("0001_0.1_0.3", "0022_0.1_0.3", "0022_0.3_0.5"):
        np.savez(tmp_path / f"{name}.npz", **with_pair_infos(index_of(views)))
    (tmp_path / "train_list.txt").write_text("0022_0.3_0.5\n0001_0.1_0.3\n")
    dataset = MegaDepth(tmp_path, tmp_path, scene_list=tmp_path / "train_list.txt")
    assert dataset.scenes == ("0022_0.3_0.5", "0001_0.1_0.3")
    assert len(dataset.pairs("0001_0.1_0.3")) == 2
    with pytest.raises(ValueError, match="no scene '0022'"):
        dataset.pairs("0022")


def test_missing_files_are_named_by_the_path_of_the_index(tmp_path, views):
    np.savez(tmp_path / "0022.npz", **with_pair_infos(index_of(views)))
    dataset = MegaDepth(tmp_path, tmp_path)
    with pytest.raises(UnreadableFile, match=r"Undistorted_SfM/0022/images/0\.png"):
        dataset.load(dataset.pairs("0022")[0], SHAPE)
    with pytest.raises(FileNotFoundError, match="index files"):
        MegaDepth(tmp_path, tmp_path / "nowhere")


def test_a_pair_of_a_missing_picture_damages_the_index(tmp_path, views):
    index = with_pair_infos(index_of(views))
    index["pair_infos"][0, 0] = (0, 4)
    np.savez(tmp_path / "0022.npz", **index)
    with pytest.raises(UnreadableFile, match="picture 4, which has no image_paths"):
        MegaDepth(tmp_path, tmp_path).pairs("0022")


def test_an_index_without_pairs_says_what_it_has(tmp_path, views):
    np.savez(tmp_path / "0022.npz", **index_of(views))
    with pytest.raises(UnreadableFile, match="pair_infos or overlap_matrix; this one has depth_p"):
        MegaDepth(tmp_path, tmp_path).pairs("0022")


def test_one_pickled_dict_is_read_like_an_index_of_entries(tmp_path, views):
    index = with_pair_infos(index_of(views))
    np.savez(tmp_path / "0022.npz", index)
    pairs = MegaDepth(tmp_path, tmp_path).pairs("0022")
    assert [pair.overlap for pair in pairs] == [0.3, 0.65]


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_cannot_run_anything(tmp_path):
    content = np.empty(1, object)
    content[0] = Evil(tmp_path / "taken")
    np.savez(tmp_path / "evil.npz", image_paths=content)
    with pytest.raises(UnreadableFile, match=r"it asks for posix\.mkdir"):
        read_object_npz(tmp_path / "evil.npz", ["image_paths"])
    assert not (tmp_path / "taken").exists()
    assert read_object_npz(tmp_path / "evil.npz", ["poses"]) == {}


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_age_are_read(tmp_path, monkeypatch, protocol):
    """numpy 1 names its modules numpy.core; protocols 0 to 2 write bytes as text."""
    inner = np.empty(2, object)
    inner[:] = [np.arange(3.0), np.float32(2.5)]
    old = pickle.dumps(inner, protocol)
    if protocol < 4:  # later protocols have the lengths of names
        old = old.replace(b"numpy._core", b"numpy.core")
    header = np.lib.format.header_data_from_array_1_0(inner)
    with open(tmp_path / "image_paths.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(old)
    with zipfile.ZipFile(tmp_path / "old.npz", "w") as archive:
        archive.write(tmp_path / "image_paths.npy", "image_paths.npy")
    read = read_object_npz(tmp_path / "old.npz", ["image_paths"])["image_paths"]
    np.testing.assert_array_equal(read[0], inner[0])
    assert read[1] == inner[1]


@pytest.mark.parametrize("content", [b"", b"PK no archive"])
def test_a_damaged_index_is_named(tmp_path, content):
    (tmp_path / "0022.npz").write_bytes(content)
    with pytest.raises(UnreadableFile, match=r"0022\.npz"):
        MegaDepth(tmp_path, tmp_path).pairs("0022")


def test_a_truncated_index_is_named(tmp_path, views):
    np.savez(tmp_path / "0022.npz", **with_pair_infos(index_of(views)))
    whole = (tmp_path / "0022.npz").read_bytes()
    (tmp_path / "0022.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableFile, match=r"0022\.npz"):
        MegaDepth(tmp_path, tmp_path).pairs("0022")
