"""Pairs of a small COLMAP model: those of each band, solved by a matcher that knows."""

import struct

import numpy as np
import pytest
from miniatures import SEEN, SIZE, K, assert_perfect

from astr_jax.data.readers import UnreadableFile
from astr_jax.evaluation.benchmarks import colmap
from astr_jax.evaluation.benchmarks.resizing import Resize


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
        np.testing.assert_allclose(pair.truth.K0, K, atol=1e-12)
        np.testing.assert_allclose(pair.truth.cam1_from_cam0, town.pose(i, j), atol=1e-9)


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
    town.save(2, path, (80, 72))
    with pytest.raises(
        UnreadableFile, match=r"sub/2\.jpg: its camera is calibrated for 96 x 72.* has 80 x 72"
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
