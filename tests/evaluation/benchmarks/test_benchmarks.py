"""Miniatures of the published layouts: read back exactly, and solved by a matcher that knows."""

import dataclasses
import os
import shutil
import struct

import numpy as np
import pytest
from miniatures import (
    COLOUR,
    ROWS,
    SEEN,
    SEQUENCES,
    SIZE,
    K,
    make_hpatches,
    make_megadepth,
    make_scannet,
    make_town,
    objects,
)
from PIL import Image

from astr_jax.data.readers import UnreadableFile
from astr_jax.evaluation.benchmarks import colmap, hpatches, megadepth1500, scannet1500
from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.pairs import read_pairs
from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.reports.runner import evaluate
from astr_jax.evaluation.scores import metrics


@pytest.fixture
def megadepth(tmp_path, rng):
    return make_megadepth(tmp_path, rng)


@pytest.fixture
def scannet(tmp_path, rng):
    return make_scannet(tmp_path, rng)


@pytest.fixture
def sequences(tmp_path, rng):
    return make_hpatches(tmp_path, rng)


@pytest.fixture
def town(tmp_path, rng):
    return make_town(tmp_path, rng)


def assert_perfect(benchmark, matcher):
    """All pairs score 100 by every estimator."""
    records = evaluate(benchmark, matcher)
    assert [record.failure for record in records] == [None] * len(benchmark.pairs)
    for name in records[0].errors:
        errors = [record.errors[name][0] for record in records]
        assert min(metrics.error_auc(errors, [5.0])) > 0.999
    assert all(share == 1.0 for record in records for share in record.precision.values())


# MegaDepth-1500


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
    np.testing.assert_array_equal(first.K0, K)
    np.testing.assert_array_equal(second.cam1_from_cam0, megadepth.pose(3, 2))


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


# ScanNet-1500


def test_scannet_is_read_back_exactly(tmp_path, scannet):
    benchmark = scannet1500.read(tmp_path, tmp_path / "test.npz", tmp_path / "intrinsics.npz")
    assert benchmark.resize == Resize(size=(640, 480))
    assert [pair.name for pair in benchmark.pairs] == ["scene0707_00 15 585", "scene0707_00 0 15"]
    first, second = benchmark.pairs
    assert first.image1 == tmp_path / "scene0707_00" / "color" / "585.jpg"
    assert first.overlap is None
    np.testing.assert_allclose(first.cam1_from_cam0, scannet.pose(0, 1), atol=1e-12)
    np.testing.assert_allclose(second.cam1_from_cam0, scannet.pose(2, 0), atol=1e-12)
    x, y = COLOUR[0] / SIZE[0], COLOUR[1] / SIZE[1]
    np.testing.assert_allclose(first.K0[(0, 1), (0, 1)], [80 * x, 82 * y])
    np.testing.assert_allclose(first.K0[:2, 2], [47.7 * x - 0.5, 36.6 * y - 0.5])


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
    np.savez(tmp_path / "test.npz", name=ROWS, rel_pose=np.ones((2, 12)))
    pair = scannet1500.read(tmp_path, tmp_path / "test.npz", tmp_path / "intrinsics.npz").pairs[0]
    np.testing.assert_allclose(pair.cam1_from_cam0, scannet.pose(0, 1), atol=1e-12)


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
    np.savez(tmp_path / "test.npz", name=ROWS, rel_pose=np.ones((2, 12)))
    shutil.rmtree(picture.parent)
    with pytest.raises(UnreadableFile, match=r"scene0707_00: the file of intrinsics has no"):
        read()
    (tmp_path / "test.npz").write_bytes(b"PK")
    with pytest.raises(UnreadableFile, match=r"test\.npz"):
        read()


# HPatches


def test_hpatches_is_read_back_exactly(tmp_path, sequences):
    benchmark = hpatches.read(tmp_path)
    assert (benchmark.resize, benchmark.max_matches) == (Resize(short_side=480), 1000)
    assert benchmark.homography_estimators == ("ransac@3", "magsac@3")
    assert [pair.name for pair in benchmark.pairs] == [
        f"{sequence} 1 {number}"
        for sequence in ("i_ajuntament", "v_adam")
        for number in range(2, 7)
    ]
    assert [pair.group for pair in benchmark.pairs] == ["illumination"] * 5 + ["viewpoint"] * 5
    for pair in benchmark.pairs:
        sequence, _, number = pair.name.split()
        assert pair.image0 == tmp_path / sequence / "1.ppm"
        assert pair.image1 == tmp_path / sequence / f"{number}.ppm"
        np.testing.assert_array_equal(pair.homography, sequences[sequence, int(number)])


def test_the_very_large_sequences_are_kept_on_request(tmp_path, sequences):
    assert len(hpatches.VERY_LARGE) == 8
    kept = hpatches.read(tmp_path, keep_very_large=True).pairs
    assert {pair.name.split()[0] for pair in kept} == set(SEQUENCES)


def test_hpatches_is_solved_by_the_thousand_best_matches(tmp_path, sequences, rng):
    """Of 1,200 matches, the 200 of least confidence are wrong, and must not count."""

    def match(img0, img1, K0=None, K1=None):
        assert K0 is None
        sequence, number = SEQUENCES[int(img1[0, 0]) // 30], int(img1[0, 0]) % 30
        points0 = rng.uniform(5, [110, 75], (1200, 2))
        points1 = metrics.warp_points(sequences[sequence, number], points0)
        points1[1000:] += 50
        scales = (
            np.array(img.shape[::-1]) / (120, 80 + n) for img, n in ((img0, 1), (img1, number))
        )
        moved = [(p + 0.5) * s - 0.5 for p, s in zip((points0, points1), scales, strict=True)]
        return *moved, np.linspace(1, 0.1, 1200)

    benchmark = hpatches.read(tmp_path)
    assert_perfect(benchmark, match)
    assert {record.num_matches for record in evaluate(benchmark, match)} == {1000}


def test_what_hpatches_lacks_is_named(tmp_path, sequences):
    path = tmp_path / "v_adam" / "H_1_3"
    path.write_text("1 0 0\n0 1 0\n")
    with pytest.raises(UnreadableFile, match=r"v_adam/H_1_3: expected three rows"):
        hpatches.read(tmp_path)
    path.write_text("1 0 0\n0 1 0\n1 1 0\n")
    with pytest.raises(UnreadableFile, match=r"v_adam/H_1_3: a homography must"):
        hpatches.read(tmp_path)
    path.unlink()
    with pytest.raises(UnreadableFile, match=r"v_adam/H_1_3: there is no such homography"):
        hpatches.read(tmp_path)
    (tmp_path / "i_ajuntament" / "4.ppm").unlink()
    with pytest.raises(UnreadableFile, match=r"i_ajuntament/4\.ppm: there is no such picture"):
        hpatches.read(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"sequences v_\*/ and i_\*/"):
        hpatches.read(tmp_path / "nowhere")


# COLMAP


def test_a_colmap_model_gives_the_pairs_of_each_band(tmp_path, town):
    benchmark = colmap.read([tmp_path / "town"])
    expected = set()
    for low, high in colmap.BANDS:
        for i in range(len(SEEN)):
            for j in range(i + 1, len(SEEN)):
                share = len(set(SEEN[i]) & set(SEEN[j])) / 10
                if low <= share < high:
                    expected.add((f"sub/{i}.jpg sub/{j}.jpg", f"{low:g}-{high:g}", share))
    assert {(pair.name, pair.group, pair.overlap) for pair in benchmark.pairs} == expected
    assert {group for _, group, _ in expected} == {"0.1-0.3", "0.3-0.5", "0.5-0.7"}
    for pair in benchmark.pairs:
        i, j = (int(image.stem) for image in (pair.image0, pair.image1))
        assert pair.image0 == tmp_path / "town" / "images" / "sub" / f"{i}.jpg"
        assert pair.set == "town"
        np.testing.assert_allclose(pair.K0, K, atol=1e-12)
        np.testing.assert_allclose(pair.cam1_from_cam0, town.pose(i, j), atol=1e-9)


def test_a_colmap_model_is_solved_by_perfect_matches(tmp_path, town):
    assert_perfect(colmap.read([tmp_path / "town"], resize=Resize(short_side=850)), town.match)


def test_the_seed_draws_the_pairs_of_a_band(tmp_path, town):
    every = {pair.name for pair in colmap.read([tmp_path / "town"]).pairs}

    def drawn(seed):
        pairs = colmap.read([tmp_path / "town"], per_band=1, seed=seed).pairs
        assert [pair.group for pair in pairs] == ["0.1-0.3", "0.3-0.5", "0.5-0.7"]
        return tuple(pair.name for pair in pairs)

    assert drawn(3) == drawn(3)
    assert len({drawn(seed) for seed in range(20)}) > 1
    assert {name for seed in range(20) for name in drawn(seed)} <= every


def test_what_a_colmap_model_lacks_is_named(tmp_path, town):
    with pytest.raises(
        UnreadableFile, match=r"no two pictures share points.*largest share is 0\.9"
    ):
        colmap.read([tmp_path / "town"], bands=[(0.95, 1.0)])
    path = tmp_path / "town" / "images" / "sub" / "2.jpg"
    town.save(2, path, (95, 72))
    with pytest.raises(
        UnreadableFile, match=r"sub/2\.jpg: it is 95 x 72, and its camera.* 96 x 72"
    ):
        colmap.read([tmp_path / "town"])
    path.unlink()
    with pytest.raises(UnreadableFile, match=r"sub/2\.jpg: there is no such picture"):
        colmap.read([tmp_path / "town"])
    images = tmp_path / "town" / "sparse" / "images.bin"
    images.write_bytes(images.read_bytes()[:200])
    with pytest.raises(UnreadableFile, match=r"images\.bin: it is no file of a COLMAP model"):
        colmap.read([tmp_path / "town"])
    cameras = tmp_path / "town" / "sparse" / "cameras.bin"
    cameras.write_bytes(struct.pack("<QiiQQ4d", 1, 7, 2, *SIZE, 80, 48, 36, 0.1))
    with pytest.raises(UnreadableFile, match=r"lens distortion.*image_undistorter"):
        colmap.read([tmp_path / "town"])


# What all share


def test_two_pairs_of_one_name_are_refused(tmp_path, sequences):
    pairs = hpatches.read(tmp_path).pairs
    with pytest.raises(ValueError, match="two pairs of the set hpatches are called 'v_adam 1 6'"):
        Benchmark(name="twice", pairs=(*pairs, pairs[-1]), resize=Resize(size=(64, 64)))
    with pytest.raises(ValueError, match="nothing has no pair"):
        Benchmark(name="nothing", pairs=(), resize=Resize(size=(64, 64)))


@pytest.mark.parametrize("overlap", ["0.5", "null"])
def test_the_overlap_of_an_index_is_read(tmp_path, overlap):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    entry = '"image0": "a.png", "image1": "a.png", "H_0to1": [[1,0,0],[0,1,0],[0,0,1]]'
    (tmp_path / "index.json").write_text(f'[{{{entry}, "overlap": {overlap}}}]')
    (pair,) = read_pairs([tmp_path])
    assert pair.overlap == (None if overlap == "null" else 0.5)
    (tmp_path / "index.json").write_text(f'[{{{entry}, "overlap": 1.5}}]')
    with pytest.raises(ValueError, match=r"pair 0: overlap must be a number in \[0, 1\]; got 1\.5"):
        read_pairs([tmp_path])
