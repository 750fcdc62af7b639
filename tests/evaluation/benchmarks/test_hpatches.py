"""A miniature of HPatches: read back exactly, and solved by a matcher that knows."""

import numpy as np
import pytest
from miniatures import SEQUENCES, assert_perfect

from astr_jax.data.readers import UnreadableFile
from astr_jax.evaluation.benchmarks import hpatches
from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.reports.runner import evaluate
from astr_jax.geometry import warp_points


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
        np.testing.assert_array_equal(pair.truth.homography, sequences[sequence, int(number)])


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
        points1 = warp_points(sequences[sequence, number], points0)
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
