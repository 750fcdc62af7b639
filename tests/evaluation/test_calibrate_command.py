"""Calibrating weights: by a made-up matcher whose fault is known, and those of a micro model."""

import json

import flax.traverse_util
import numpy as np
import pytest
from made_up import MadeUp
from PIL import Image
from rich.console import Console

from astr_jax import api
from astr_jax.cli import parser
from astr_jax.cli.eval import calibrate as command
from astr_jax.evaluation.matchers.named import NamedMatcher
from astr_jax.evaluation.studies.calibration import write_calibrated
from astr_jax.params import Calibration, Params, load_params, read_header, save_params

SIZE = 192, 256  # (h, w)


@pytest.fixture
def weights(tmp_path, nano_config, nano_variables):
    path = tmp_path / "micro.safetensors"
    save_params(path, Params(nano_variables, nano_config), note="of noise, CC0", dtype="bfloat16")
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
    """What `astr eval calibrate` prints, by another matcher and other candidates."""
    parsed = parser(command, "astr eval calibrate").parse_args(list(map(str, options)))
    console = Console(width=120, force_terminal=False, record=True)
    with pytest.MonkeyPatch.context() as patch:
        for name, function in zip(("astr_matcher", "AstrCandidates"), functions, strict=True):
            patch.setattr(command, name, function)
        patch.setattr(command, "Console", lambda: console)
        command.run(parsed)
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
    given = "--weights", weights, "--long-side", 256, "--threshold", 0.35
    calibrate(development, *given, "--out", weights)
    found = read_header(weights).calibration
    assert found.temperature == pytest.approx(0.6, rel=0.1)
    assert found.threshold == 0.35
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
        (("--out", "/nowhere/a.safetensors"), "there is no folder"),
        (("--dry-run", "--sets", "moon"), "there is no set moon"),
        (("--dry-run", "--seeds", 0), "--seeds must be at least 1"),
        (("--dry-run", "--long-side", 20), "--long-side must be at least 64"),
        (("--dry-run", "--threshold", 1.5), r"--threshold must lie in \[0, 1\)"),
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


SIDE = 128  # that they are matched at
FOUND = Calibration(temperature=0.5, sigma_factor=3.0, threshold=0.005)


def test_weights_match_by_the_calibration_they_were_written_with(weights, images, tmp_path):
    path = tmp_path / "calibrated.safetensors"
    write_calibrated(weights, path, FOUND)
    plain = api.match(
        api.load(weights), *images, resize=SIDE, scales=1, polish=False, threshold=0.0
    ).compact()
    everything = api.match(
        api.load(path), *images, resize=SIDE, scales=1, polish=False, threshold=0.0
    ).compact()
    assert np.median(everything.confidence) > 1.5 * np.median(plain.confidence)
    assert np.median(everything.sigma) == pytest.approx(3 * np.median(plain.sigma), rel=0.05)
    above = api.match(api.load(path), *images, resize=SIDE, scales=1, polish=False).compact()
    assert 0 < len(above.confidence) < len(everything.confidence)
    assert above.confidence.min() > FOUND.threshold
