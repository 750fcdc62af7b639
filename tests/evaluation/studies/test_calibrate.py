"""Calibrating weights: made-up matchers whose fault is known, and real weights of a micro model."""

import dataclasses
import json
import pathlib
import runpy

import flax.traverse_util
import numpy as np
import pytest
from miniatures import K as CAMERA
from miniatures import Scene
from PIL import Image
from rich.console import Console

from astr_jax import api
from astr_jax.cli.matchers import astr_candidates, astr_matcher
from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.resizing import LoadedPair
from astr_jax.evaluation.command import NamedMatcher
from astr_jax.evaluation.scores.scoring import Found
from astr_jax.evaluation.studies.calibrate_command import run_calibrate, write_calibrated
from astr_jax.evaluation.studies.calibration_fit import (
    TEMPERATURES,
    Candidates,
    Score,
    best_threshold,
    fit_sigma,
    fit_temperature,
    interpolated,
    records_at,
)
from astr_jax.params import Calibration, Params, load_params, read_header, save_params

EVAL = runpy.run_path(str(pathlib.Path(__file__).parents[3] / "eval.py"))
SIZE = 192, 256  # (h, w)


@dataclasses.dataclass(frozen=True)
class MadeUp:
    """A matcher of unmoved images, right with probability p. It claims p ** (1 / fault) and sigmas
    `too_large` times the true ones, 0.5 px; with both mended it is calibrated."""

    fault: float
    too_large: float
    seed: int = 0
    count: int = 4000

    def drawn(self):
        rng = np.random.default_rng(self.seed)
        p = rng.uniform(0.02, 1, self.count)
        points0 = rng.uniform(20, 170, (self.count, 2))
        near = points0 + rng.normal(0, 0.5, points0.shape)
        far = points0 + rng.uniform(30, 60, points0.shape)
        points1 = np.where(rng.random((self.count, 1)) < p[:, None], near, far)
        return p, points0, points1

    def found(self, calibration):
        p, points0, points1 = self.drawn()
        confidence = p ** (self.fault / calibration.temperature)
        sigma = np.full(self.count, 0.5 * self.too_large * calibration.sigma_factor)
        keep = confidence > calibration.threshold
        return points0[keep], points1[keep], confidence[keep], sigma[keep]

    def all_found(self):
        everything = self.found(Calibration(threshold=0.0))
        return everything, np.log(self.drawn()[0]) * self.fault / TEMPERATURES[:, None]

    def candidates(self):
        pixels = np.zeros(SIZE, np.uint8)
        eye = np.eye(3)
        given = LoadedPair(
            img0=pixels, img1=pixels, K0=None, K1=None, homography=eye, resize0=eye, resize1=eye
        )
        path = pathlib.Path("none.png")
        pair = Pair(set="s", name=f"{self.seed}", image0=path, image1=path, homography=eye)
        (points0, points1, confidence, sigma), log_prob = self.all_found()
        found = Found(points0=points0, points1=points1, confidence=confidence, sigma=sigma)
        return Candidates.of(pair, given, found, log_prob)


@pytest.mark.parametrize("fault", [0.4, 1.0, 2.5])
def test_the_temperature_that_undoes_a_known_distortion_is_found(fault):
    candidates = [MadeUp(fault, 1.0, seed).candidates() for seed in range(2)]
    assert fit_temperature(candidates) == pytest.approx(fault, rel=0.1)


@pytest.mark.parametrize("too_large", [0.5, 1.0, 3.0])
def test_the_factor_that_undoes_wrong_sigmas_is_found(too_large):
    records = records_at([MadeUp(1.0, too_large).candidates()], 1.0, 0.3, seeds=(0,))
    assert fit_sigma(records) == pytest.approx(1 / too_large, rel=0.1)


def test_between_two_temperatures_log_p_is_interpolated():
    log_prob = np.array([-2.0, -0.1]) / TEMPERATURES[:, None]
    np.testing.assert_allclose(interpolated(log_prob, 0.25), [-8, -0.4])
    np.testing.assert_allclose(interpolated(log_prob, 4.0), [-0.5, -0.025])
    np.testing.assert_allclose(interpolated(log_prob, 0.77), [-2 / 0.77, -0.1 / 0.77], rtol=5e-3)


def test_a_threshold_keeps_what_is_above_it_at_the_new_temperature():
    candidates = MadeUp(0.5, 1.0).candidates()
    found = candidates.at(0.5, 0.4)
    p = MadeUp(0.5, 1.0).drawn()[0]
    np.testing.assert_allclose(found.confidence, p[p > 0.4], rtol=1e-2)
    assert len(found.points0) == len(found.points1) == len(found.sigma) == (p > 0.4).sum()


def test_without_a_wrong_match_there_is_no_temperature():
    candidates = MadeUp(1.0, 1.0).candidates()
    with pytest.raises(ValueError, match="right: a temperature needs right and wrong ones"):
        fit_temperature([dataclasses.replace(candidates, right=np.ones(4000, bool))])


def test_the_threshold_is_best_with_its_neighbours_not_by_a_lucky_peak():
    def best(*areas):
        return best_threshold(
            {
                (i + 1) / 20: Score(
                    calibration_error=0.1, sigma_fit=1.0, num_matches=9, auc=auc, precision=0.9
                )
                for i, auc in enumerate(areas)
            }
        )

    assert best(0.70, 0.80, 0.80, 0.80, 0.70, 0.60, 0.60, 0.88, 0.60) == 0.15
    assert best(*[0.8] * 9) == 0.45  # of equals the most precise
    assert best(*[0.8] * 6, 0.7, 0.6, 0.5) == 0.2
    assert best(*[0.809] * 5, *[0.801] * 5, 0.6, 0.6, 0.6) == 0.4  # a point is no difference


def test_matches_of_a_pose_are_right_near_their_lines(rng):
    scene = Scene(rng, 2)
    pixels = [np.full((72, 96), grey, np.uint8) for grey in (5, 10)]
    points0, points1, confidence = scene.match(*pixels)
    points1[:50] += [0.0, 5.0]  # 1e-4 is less than a pixel at this focal length of 80 px
    eye, path = np.eye(3), pathlib.Path("none.png")
    camera = {"K0": CAMERA, "K1": CAMERA}
    given = LoadedPair(
        img0=pixels[0], img1=pixels[1], homography=None, resize0=eye, resize1=eye, **camera
    )
    truth = scene.pose(0, 1)
    pair = Pair(set="s", name="p", image0=path, image1=path, cam1_from_cam0=truth, **camera)
    found = Found(points0=points0, points1=points1, confidence=confidence)
    log_prob = np.log(np.where(np.arange(150) < 50, 0.2, 0.9)) / TEMPERATURES[:, None]
    candidates = Candidates.of(pair, given, found, log_prob)
    assert candidates.right[50:].all()
    assert candidates.right[:50].mean() < 0.1
    (all_of_them,) = records_at([candidates], 1.0, 0.1, seeds=(0, 1))
    (best,) = records_at([candidates], 1.0, 0.5, seeds=(0, 1))
    assert all_of_them.num_matches == 150
    assert best.num_matches == 100
    assert max(best.errors["poselib@1"]) < 0.1
    assert len(best.errors["poselib@1"]) == 2


@pytest.fixture
def weights(tmp_path, micro_config, micro_variables):
    path = tmp_path / "micro.safetensors"
    save_params(path, Params(micro_variables, micro_config), note="of noise, CC0", dtype="bfloat16")
    return path


@pytest.fixture
def development(tmp_path, rng):
    """Two pairs of images of which the second is the first, told apart by their grey."""
    folder = tmp_path / "plane"
    folder.mkdir()
    for k in range(2):
        Image.new("L", SIZE[::-1], 10 * k).save(folder / f"{k}.png")
    pairs = [
        {"image0": f"{k}.png", "image1": f"{k}.png", "H_0to1": np.eye(3).tolist()} for k in (0, 1)
    ]
    (folder / "index.json").write_text(json.dumps(pairs))
    return folder


def matcher_of(image):
    return MadeUp(0.6, 2.0, seed=int(image[0, 0]) // 10)


def matcher_at(weights, resize, calibration):
    return NamedMatcher(
        match=lambda img0, img1, K0=None, K1=None: matcher_of(img0).found(calibration), settings={}
    )


def candidates_of(weights, resize, temperatures):
    return lambda img0, img1, K0=None, K1=None: matcher_of(img0).all_found()


def calibrate(*options, functions=(matcher_at, candidates_of)):
    parsed = EVAL["make_parser"]().parse_args(["calibrate", *map(str, options)])
    console = Console(width=120, force_terminal=False, record=True)
    run_calibrate(parsed, *functions, console)
    return console.export_text()


def tables(printed):
    """What stands below the progress bars, which tell the time."""
    return printed[printed.index("thresholds, of calibrated") :]


def test_weights_are_written_with_the_calibration_found(weights, development, tmp_path):
    out = tmp_path / "out.safetensors"
    options = (development, "--weights", weights, "--long-side", 256, "--seeds", 2)
    printed = calibrate(*options, "--out", out)
    old, new = read_header(weights), read_header(out)
    assert new.calibration.temperature == pytest.approx(0.6, rel=0.1)
    assert new.calibration.sigma_factor == pytest.approx(0.5, rel=0.1)
    assert (new.note, new.config) == (old.note, old.config)
    assert weights.stat().st_size == pytest.approx(out.stat().st_size, abs=64)  # bfloat16 still
    arrays = [load_params(path, fold=False).variables for path in (weights, out)]
    first, second = (flax.traverse_util.flatten_dict(x, sep="/") for x in arrays)
    for name, x in first.items():
        np.testing.assert_array_equal(second[name], x)
    before, after = (
        next(line.split() for line in tables(printed).splitlines() if word in line)
        for word in ("before", "after")
    )
    assert float(before[4]) > 0.1 > 0.05 > float(after[4])  # ECE
    assert float(before[5]) == pytest.approx(0.5, rel=0.1)
    assert float(after[5]) == pytest.approx(1.0, rel=0.1)
    assert "homography AUC@5 px magsac@3" in printed
    again = calibrate(*options, "--dry-run")
    assert tables(again) == tables(printed).replace(f"wrote {out}\n", "")  # deterministic


def test_a_file_may_be_calibrated_in_its_place(weights, development):
    calibrate(development, "--weights", weights, "--long-side", 256, "--out", weights)
    assert read_header(weights).calibration.temperature == pytest.approx(0.6, rel=0.1)
    assert len(list(weights.parent.glob("*.safetensors"))) == 1


def test_a_dry_run_writes_nothing(weights, development, tmp_path):
    before = weights.read_bytes()
    calibrate(development, "--weights", weights, "--long-side", 256, "--dry-run")
    assert weights.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"micro.safetensors", "plane"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "give either --out FILE.safetensors or --dry-run"),
        (("--dry-run", "--out", "a.safetensors"), "give either --out"),
        (("--out", "a.json"), "must end in .safetensors"),
        (("--out", "/nowhere/a.safetensors"), "its folder does not exist"),
        (("--dry-run", "--sets", "moon"), "there is no set moon"),
        (("--dry-run", "--seeds", 0), "--seeds must be at least 1"),
        (("--dry-run", "--long-side", 20), "--long-side must be at least 64"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_at_the_door(weights, development, options, words):
    def never(*_):
        raise AssertionError("matched before the options were checked")

    with pytest.raises(ValueError, match=words):
        calibrate(development, "--weights", weights, *options, functions=(never, never))


def test_a_pair_that_fails_is_named(weights, development):
    def failing(*_):
        def match(img0, img1, K0=None, K1=None):
            raise RuntimeError("no memory")

        return NamedMatcher(match=match, settings={})

    with pytest.raises(ValueError, match="2 of 2 pairs failed; the first one, plane 0 0: Runtime"):
        calibrate(
            development, "--weights", weights, "--dry-run", functions=(failing, candidates_of)
        )


@pytest.fixture
def images(make_images):
    """One picture and the same moved by a cell, grey uint8 144 x 192."""
    picture = np.asarray(255 * make_images(3, (1, 144, 200))[0, ..., 0]).astype(np.uint8)
    return picture[:, :192], picture[:, 8:]


SIDE = 192  # that they are matched at
FOUND = Calibration(temperature=0.5, sigma_factor=3.0, threshold=0.005)


def by_cell(points0):
    """The row of each keypoint of image 0, by its cell."""
    return {tuple(cell): row for row, cell in enumerate(np.round(points0 / 8).astype(int))}


def test_weights_match_by_the_calibration_they_were_written_with(weights, images, tmp_path):
    path = tmp_path / "calibrated.safetensors"
    write_calibrated(weights, path, FOUND)
    plain = api.match(api.load(weights), *images, resize=SIDE, threshold=0.0).compact()
    everything = api.match(api.load(path), *images, resize=SIDE, threshold=0.0).compact()
    assert np.median(everything.confidence) > 1.5 * np.median(plain.confidence)
    assert np.median(everything.sigma) == pytest.approx(3 * np.median(plain.sigma), rel=0.05)
    above = api.match(api.load(path), *images, resize=SIDE).compact()
    assert 0 < len(above.confidence) < len(everything.confidence)
    assert above.confidence.min() > FOUND.threshold


def test_log_p_of_the_candidates_is_what_match_finds_at_that_temperature(weights, images):
    candidates = astr_candidates(str(weights), SIDE, (0.5, 1.0))
    (points0, points1, confidence, sigma), log_prob = candidates(*images)
    assert log_prob.shape == (2, len(confidence))
    np.testing.assert_allclose(np.exp(log_prob[1]), confidence, rtol=1e-4)
    match = astr_matcher(str(weights), SIDE, FOUND).match
    theirs0, theirs1, theirs, their_sigma = match(*images)
    rows = by_cell(theirs0)
    same = [
        (row, rows[cell])
        for cell, row in by_cell(points0).items()
        if cell in rows and np.abs(points1[row] - theirs1[rows[cell]]).max() < 0.05
    ]
    assert len(same) > 0.6 * len(theirs)  # the mutual matches differ a little
    mine, other = np.array(same).T
    np.testing.assert_allclose(np.exp(log_prob[0, mine]), theirs[other], rtol=1e-3)
    np.testing.assert_allclose(3 * sigma[mine], their_sigma[other], rtol=0.05)
