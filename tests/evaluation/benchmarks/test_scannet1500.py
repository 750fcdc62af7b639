"""A miniature of ScanNet-1500: read back exactly, and solved by a matcher that knows."""

import shutil

import numpy as np
import pytest
from miniatures import COLOUR, ROWS, SIZE, K, assert_perfect

from astr_jax.data.readers import UnreadableFile
from astr_jax.evaluation.benchmarks import scannet1500
from astr_jax.evaluation.benchmarks.resizing import Resize


def test_scannet_is_read_back_exactly(tmp_path, scannet):
    benchmark = scannet1500.read(tmp_path, tmp_path / "test.npz", tmp_path / "intrinsics.npz")
    assert benchmark.resize == Resize(size=(640, 480))
    assert [pair.name for pair in benchmark.pairs] == ["scene0707_00 15 585", "scene0707_00 0 15"]
    first, second = benchmark.pairs
    assert first.image1 == tmp_path / "scene0707_00" / "color" / "585.jpg"
    assert first.overlap is None
    np.testing.assert_allclose(first.truth.cam1_from_cam0, scannet.pose(0, 1), atol=1e-12)
    np.testing.assert_allclose(second.truth.cam1_from_cam0, scannet.pose(2, 0), atol=1e-12)
    x, y = COLOUR[0] / SIZE[0], COLOUR[1] / SIZE[1]
    np.testing.assert_allclose(first.truth.K0[(0, 1), (0, 1)], [80 * x, 82 * y])
    np.testing.assert_allclose(first.truth.K0[:2, 2], [47.7 * x - 0.5, 36.6 * y - 0.5])


@pytest.mark.parametrize("listed", [False, True])
def test_scannet_is_solved_by_perfect_matches(tmp_path, scannet, listed):
    """With the poses in their folder, and with those of the index."""
    if listed:
        poses = [scannet.pose(0, 1), scannet.pose(2, 0)]
        rel_pose = [pose[:3].ravel() for pose in poses]
        np.savez(tmp_path / "test.npz", name=ROWS, rel_pose=rel_pose, score=[0.1, 0.5])
        shutil.rmtree(tmp_path / "scene0707_00" / "pose")
    benchmark = scannet1500.read(tmp_path, tmp_path / "test.npz", tmp_path / "intrinsics.npz")
    assert [pair.overlap for pair in benchmark.pairs] == ([0.1, 0.5] if listed else [None, None])
    assert_perfect(benchmark, scannet.match)


def test_poses_in_their_folder_win_over_those_of_an_index(tmp_path, scannet):
    np.savez(tmp_path / "test.npz", name=ROWS, rel_pose=np.eye(4)[None, :3].repeat(2, 0))
    pair = scannet1500.read(tmp_path, tmp_path / "test.npz", tmp_path / "intrinsics.npz").pairs[0]
    np.testing.assert_allclose(pair.truth.cam1_from_cam0, scannet.pose(0, 1), atol=1e-12)


def test_what_scannet_lacks_is_named(tmp_path, scannet):
    def read():
        scannet1500.read(tmp_path, tmp_path / "test.npz", tmp_path / "intrinsics.npz")

    picture = tmp_path / "scene0707_00" / "color" / "585.jpg"
    picture.unlink()
    with pytest.raises(UnreadableFile, match=r"color/585\.jpg: there is no such picture"):
        read()
    picture = tmp_path / "scene0707_00" / "pose" / "15.txt"
    picture.write_text("1 2 3")
    with pytest.raises(UnreadableFile, match=r"pose/15\.txt: expected four rows"):
        read()
    np.savez(tmp_path / "intrinsics.npz", scene0708_00=K)
    np.savez(tmp_path / "test.npz", name=ROWS, rel_pose=np.eye(4)[None, :3].repeat(2, 0))
    shutil.rmtree(picture.parent)
    with pytest.raises(UnreadableFile, match=r"scene0707_00: the file of intrinsics has no"):
        read()
    (tmp_path / "test.npz").write_bytes(b"PK")
    with pytest.raises(UnreadableFile, match=r"test\.npz"):
        read()
