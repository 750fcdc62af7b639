"""Adaptive scaling on against off, where the answer is known."""

import json

import numpy as np
import pytest

from astr_jax.cli import main as astr
from astr_jax.cli.eval import scaling as command
from astr_jax.data.readers import BadFiles, PosedDataset, UnreadableFile
from astr_jax.data.stacking import stacked
from astr_jax.evaluation.studies import scaling
from astr_jax.evaluation.studies.scaling import WAYS, RefinedMatches, refine, summaries, summary
from astr_jax.evaluation.studies.scaling_pairs import find_pairs, pair_ratio, posed_batches
from astr_jax.ops.geometry import warp_by_depth
from astr_jax.params import Calibration, Params
from astr_jax.supervision import DEPTH_TOLERANCE, DepthTruth, PairBatch


@pytest.fixture(scope="module")
def params(nano_config, nano_variables):
    return Params(nano_variables, nano_config, Calibration(threshold=0.0))


def truth_of(depth0, depth1, K, cam1_from_cam0):
    """Of one pair by one camera."""
    return DepthTruth(
        depth0=depth0.astype(np.float32),
        depth1=depth1.astype(np.float32),
        K0=K,
        K1=K,
        cam1_from_cam0=cam1_from_cam0,
        tolerance=np.float32(DEPTH_TOLERANCE),
    )


def wall_seen_twice(shape, batch=2):
    """Both cameras in one place, before a wall at depth 3; the last 16 rows are padding."""
    images = np.random.default_rng(0).integers(0, 256, (batch, *shape), dtype=np.uint8)
    mask = np.ones(shape, bool)
    mask[-16:] = False
    K = np.array([[60, 0, 40], [0, 60, 30], [0, 0, 1]], np.float32)
    truth = truth_of(3.0 * mask, 3.0 * mask, K, np.eye(4, dtype=np.float32))
    return stacked([PairBatch(image, image, mask, mask, truth) for image in images])


def test_where_nothing_changes_the_true_ratio_is_that_of_no_scaling(params):
    batches = [wall_seen_twice((96, 96))] * 2
    found = refine(params, batches, estimator="affine")
    assert set(found.pair) <= {0, 1, 2, 3}
    assert len(found.pair) > 20
    np.testing.assert_allclose(found.ratio, 1.0, rtol=1e-6)
    np.testing.assert_allclose(found.errors["true"], found.errors["off"], atol=1e-4)
    assert np.median(found.coarse) < 1e-3  # an image matches itself
    # The crop reaches 2 fine cells of 4 pixels to every side.
    assert (found.errors["off"][found.coarse < 1e-3] <= 8 * 2**0.5 + 1e-3).all()


def test_true_cells_are_those_of_the_truth(params):
    batches = [wall_seen_twice((96, 96))]
    found = refine(params, batches, estimator="affine", cells="true")
    # Camera and wall are the same in both images: all 10 x 12 cells above the padding, twice.
    assert len(found.pair) == 2 * 10 * 12
    assert found.coarse.max() < 1e-3
    partners = np.array([[5, -1, 2, 0]])
    matches = scaling.true_matches(partners)
    assert sorted(matches.cell0[0].tolist()) == [-1, 0, 2, 3]
    for cell0, cell1 in zip(matches.cell0[0], matches.cell1[0], strict=True):
        assert cell0 == -1 or partners[0, cell0] == cell1
    assert (np.asarray(matches.valid) == (np.asarray(matches.cell1) >= 0)).all()


def test_the_ratio_by_pose_follows_the_depths(params):
    """A near and a far wall; camera 1 has gone forward and a little aside."""
    depth0 = np.where(np.arange(192) < 96, 4.0, 8.0) * np.ones((192, 1))
    cam1_from_cam0 = np.eye(4, dtype=np.float32)
    cam1_from_cam0[:3, 3] = 0.4, 0.0, -1.5
    K = np.array([[150, 0, 95.5], [0, 150, 95.5], [0, 0, 1]], np.float32)
    points = np.mgrid[:192, :192][::-1].reshape(2, -1).T.astype(np.float32)
    there, z1 = warp_by_depth(points, depth0.reshape(-1).astype(np.float32), K, K, cam1_from_cam0)
    x, y = np.rint(there).astype(int).T
    inside = (x >= 0) & (x < 192) & (y >= 0) & (y < 192)
    depth1 = np.zeros((192, 192), np.float32)
    depth1[y[inside], x[inside]] = np.asarray(z1)[inside]
    grey = np.random.default_rng(0).integers(0, 256, (192, 192), dtype=np.uint8)
    seen = np.ones(grey.shape, bool)
    truth = truth_of(depth0, depth1, K, cam1_from_cam0)
    (batch,) = posed_batches([PairBatch(grey, grey, seen, seen, truth)])
    found = refine(params, [batch], estimator="pose", cells="true")
    assert len(found.pair) > 100
    near = found.ratio > 1.5  # 4 / 2.5, the other wall 8 / 6.5
    for wall, ratio in ((near, 1.6), (~near, 8 / 6.5)):
        assert wall.sum() > 30
        assert np.median(found.estimate[wall]) == pytest.approx(ratio, rel=0.15)


def made_up(gain):
    """Ten pairs of 20 matches at ratio 2; scaling changes every error by the pair's gain."""
    pair = np.repeat(np.arange(10), 20)
    off = np.tile(np.linspace(1.0, 3.0, 20), 10)
    errors = {"off": off, "on": off + np.asarray(gain)[pair], "true": off}
    ratio = np.where(pair % 2 == 0, 2.0, 0.5)
    return RefinedMatches(
        pair=pair, ratio=ratio, estimate=ratio * 1.1, coarse=np.zeros(200), errors=errors
    )


def test_a_gain_that_all_pairs_share_is_found_with_certainty():
    row = summary(made_up([-0.5] * 10), np.ones(200, bool))
    assert row["difference"] == pytest.approx(-0.5)
    np.testing.assert_allclose(row["interval"], -0.5, atol=1e-9)
    assert row["median"] == pytest.approx({"off": 2.0, "on": 1.5, "true": 2.0})
    assert row["within_3"] == dict.fromkeys(WAYS, 1.0)
    assert row["ratio_error"] == pytest.approx(1.1)


def test_a_gain_of_half_of_the_pairs_is_uncertain_however_many_matches_they_have():
    row = summary(made_up([-1.0] * 5 + [1.0] * 5), np.ones(200, bool))
    low, high = row["interval"]
    assert low < -0.2
    assert high > 0.2


def test_rows_are_told_apart_by_the_true_ratio_and_the_side_that_looks_larger():
    rows = {(r["ratio"], r["image1"]): r for r in summaries(made_up([0.0] * 10))}
    assert rows["all", "both"]["matches"] == rows["all", "right cell"]["matches"] == 200
    assert rows["2 - 3", "larger"]["matches"] == rows["2 - 3", "smaller"]["matches"] == 100
    assert rows["2 - 3", "larger"]["pairs"] == 5
    assert sum(r["matches"] for r in rows.values()) == 600  # every match is in one bin


def wall_approached(start, way):
    """A wall at depth `start`, and again after `way` straight towards it."""
    cam1_from_cam0 = np.eye(4, dtype=np.float32)
    cam1_from_cam0[2, 3] = -way
    K = np.array([[60, 0, 47.5], [0, 60, 47.5], [0, 0, 1]], np.float32)
    image, mask = np.zeros((96, 96), np.uint8), np.ones((96, 96), bool)
    depths = [np.full((96, 96), depth) for depth in (start, start - way)]
    return PairBatch(image, image, mask, mask, truth_of(*depths, K, cam1_from_cam0))


class Walls(PosedDataset):
    """Walls approached to 1/1, 1/2, ... of the first distance."""

    def read_scene(self, scene):
        return range(1, 5)

    def load(self, pair, size):
        assert size == (96, 96)
        return wall_approached(8.0, 8.0 - 8.0 / pair)


def test_the_ratio_of_a_pair_is_how_much_larger_things_look_in_image_1():
    assert pair_ratio(wall_approached(4.0, 2.0)) == pytest.approx(2.0)
    assert pair_ratio(wall_approached(2.0, -3.0)) == pytest.approx(0.4)
    seen = wall_approached(4.0, 2.0)
    nowhere = seen.truth.replace(depth0=np.zeros((96, 96), np.float32))
    assert pair_ratio(seen.replace(truth=nowhere)) == 1.0


def test_pairs_of_a_data_set_are_those_of_enough_scale_change():
    walls, bad = Walls(["wall"]), BadFiles(skip=False)
    assert sorted(map(pair_ratio, find_pairs(walls, (90, 96), 9, 2.0, bad))) == pytest.approx(
        [2, 3, 4]
    )
    assert len(find_pairs(walls, (90, 96), 2, 2.0, bad)) == 2
    with pytest.raises(ValueError, match=r"none of the 4 pairs has a scale ratio of 4\.5"):
        find_pairs(walls, (90, 96), 2, 4.5, bad)


def test_pairs_that_cannot_be_read_are_skipped_where_asked_for():
    class Damaged(Walls):
        def load(self, pair, size):
            if pair == 3:
                raise UnreadableFile("3.png", "it is damaged")
            return super().load(pair, size)

    with pytest.raises(UnreadableFile):
        find_pairs(Damaged(["wall"]), (90, 96), 9, 2.0, BadFiles(skip=False))
    bad = BadFiles(skip=True)
    found = find_pairs(Damaged(["wall"]), (90, 96), 9, 2.0, bad)
    assert sorted(map(pair_ratio, found)) == pytest.approx([2, 4])
    assert bad == {"3.png": "it is damaged"}


def test_the_last_batch_is_filled_with_pairs_in_which_nothing_is_seen():
    first, last = posed_batches([wall_approached(4.0, 1.0)] * 5)
    assert first.image0.shape == last.image0.shape == (4, 96, 96)
    assert first.truth.depth0.all()
    assert last.truth.depth0.any(axis=(1, 2)).tolist() == [True, False, False, False]
    assert (last.truth.tolerance == np.float32(DEPTH_TOLERANCE)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "nowhere.safetensors", "--photos", "."], "nowhere.safetensors is neither"),
        (["--photos", ".", "--pairs", "0"], "--pairs must be positive"),
        ([], "either photographs by --photos, or pairs with depth by --posed"),
        (["--photos", ".", "--posed", "folders", "."], "either photographs by --photos, or"),
        (["--posed", "folders", ".", "--min-ratio", "0.5"], "--min-ratio must be 1 or more"),
        (["--posed", "films", "."], "'films' is no kind of data set"),
        (["--photos", ".", "--out", "nowhere/x.json"], "there is no folder"),
        (["--photos", ".", "--difficulty", "2"], "--difficulty must lie in [0, 1]"),
        (["--photos", ".", "--size", "50", "64"], "multiples of 8"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(capsys, arguments, message):
    assert astr(["eval", "scaling", *arguments]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_the_command_prints_a_table_and_writes_all_figures(capsys, monkeypatch, tmp_path, params):
    monkeypatch.setattr(command, "load_params", lambda path: params)
    monkeypatch.setattr(command, "list_photos", lambda folder: ["a.jpg"])
    monkeypatch.setattr(command, "read_photos", lambda paths: [np.zeros((64, 64), np.uint8)])
    monkeypatch.setattr(
        command, "world_batches", lambda *arguments: iter([wall_seen_twice((96, 96))] * 2)
    )
    out = tmp_path / "scaling.json"
    options = ["--photos", ".", "--estimator", "affine", "--pairs", "4", "--out", str(out)]
    assert astr(["eval", "scaling", *options]) == 0
    assert (
        "adaptive scaling (affine), found cells, 4 worlds of difficulty 0.5"
        in capsys.readouterr().out
    )
    written = json.loads(out.read_text())
    assert written["rows"][0]["matches"] > 20
    assert written["settings"]["estimator"] == "affine"
