"""A miniature of MegaDepth-1500: read back exactly, and solved by a matcher that knows."""

import dataclasses
import os

import numpy as np
import pytest
from miniatures import SIZE, K, assert_perfect, objects
from PIL import Image

from astr_jax.data.readers import UnreadableFile
from astr_jax.evaluation.benchmarks import megadepth1500
from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.reports.runner import evaluate


def test_megadepth_is_read_back_exactly(tmp_path, megadepth):
    benchmark = megadepth1500.read(tmp_path, tmp_path / "index")
    assert len(benchmark.pairs) == 10
    assert benchmark.resize == Resize(long_side=1200, multiple=8)
    first, second = benchmark.pairs[:2]
    assert (first.set, first.name, first.group) == ("megadepth1500", "0015_0.1_0.3 a b", "0.1-0.3")
    assert (second.name, second.overlap) == ("0015_0.1_0.3 d c", 0.15)
    assert [pair.group for pair in benchmark.pairs[::2]] == [
        "0.1-0.3", "0.3-0.5", "0.1-0.3", "0.3-0.5", "0.5-0.7"]  # fmt: skip
    assert first.image0 == tmp_path / "Undistorted_SfM/0015/images/a.jpg"
    assert second.image1 == tmp_path / "Undistorted_SfM/0015/images/c.jpg"
    np.testing.assert_array_equal(first.truth.K0, K)
    np.testing.assert_array_equal(second.truth.cam1_from_cam0, megadepth.pose(3, 2))


def test_megadepth_is_solved_by_perfect_matches(tmp_path, megadepth):
    assert_perfect(megadepth1500.read(tmp_path, tmp_path / "index"), megadepth.match)


def test_thresholds_are_in_pixels_of_the_files_of_megadepth(tmp_path, megadepth):
    """Matches off by 3 px of the images as matched are off by 0.24 px of the small files."""

    def match(img0, img1, K0, K1):
        points0, points1, confidence = megadepth.match(img0, img1)
        off = np.random.default_rng(0).choice([-3.0, 3.0], points1.shape) * [0, 1]
        return points0, points1 + off, confidence

    benchmark = megadepth1500.read(tmp_path, tmp_path / "index")
    names = "poselib@0.5", "poselib@6.25"  # the pictures are enlarged by 12.5
    benchmark = dataclasses.replace(benchmark, pose_estimators=names)
    in_files = evaluate(benchmark, match)
    as_matched = evaluate(dataclasses.replace(benchmark, poses_in_file_pixels=False), match)
    errors = np.array([r.errors["poselib@0.5"][0] for r in in_files])
    same = np.array([r.errors["poselib@6.25"][0] for r in as_matched])
    stricter = np.array([r.errors["poselib@0.5"][0] for r in as_matched])
    np.testing.assert_allclose(errors, same, rtol=0.02)
    assert np.median(np.abs(stricter - errors) / errors) > 0.1


def test_a_picture_of_megadepth_that_is_missing_or_damaged_is_named(tmp_path, megadepth):
    picture = tmp_path / "Undistorted_SfM/0022/images/c.jpg"
    picture.write_bytes(b"no picture")
    with pytest.raises(UnreadableFile, match=r"0022/images/c\.jpg: it is no picture"):
        megadepth1500.read(tmp_path, tmp_path / "index")
    picture.unlink()
    with pytest.raises(UnreadableFile, match=r"0022/images/c\.jpg: there is no such picture"):
        megadepth1500.read(tmp_path, tmp_path / "index")


def test_pictures_that_are_not_undistorted_are_refused(tmp_path, megadepth):
    (tmp_path / "MegaDepth_v1/0015/dense0").mkdir(parents=True)
    undistorted = tmp_path / "Undistorted_SfM/0015/images"
    undistorted.rename(tmp_path / "MegaDepth_v1/0015/dense0/imgs")
    with pytest.raises(UnreadableFile, match="the benchmark is of the undistorted pictures"):
        megadepth1500.read(tmp_path, tmp_path / "index")


def test_a_picture_that_exif_would_turn_away_from_its_camera_is_refused(tmp_path, megadepth):
    exif = Image.Exif()
    exif[274] = 6
    Image.new("L", SIZE, 5).save(tmp_path / "Undistorted_SfM/0015/images/a.jpg", exif=exif)
    with pytest.raises(UnreadableFile, match=r"a\.jpg: its EXIF orientation is 6.*remove"):
        megadepth1500.read(tmp_path, tmp_path / "index")


def test_a_damaged_index_of_megadepth_is_named(tmp_path, megadepth):
    path = tmp_path / "index" / "0022_0.3_0.5.npz"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(UnreadableFile, match=r"0022_0\.3_0\.5\.npz"):
        megadepth1500.read(tmp_path, tmp_path / "index")
    with pytest.raises(FileNotFoundError, match="index files"):
        megadepth1500.read(tmp_path, tmp_path / "nowhere")


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_in_an_index_runs_nothing(tmp_path):
    np.savez(tmp_path / "0015_0.1_0.3.npz", pair_infos=objects([Evil(tmp_path / "taken")]))
    with pytest.raises(UnreadableFile, match=r"it asks for posix\.mkdir"):
        megadepth1500.read(tmp_path, tmp_path)
    assert not (tmp_path / "taken").exists()
