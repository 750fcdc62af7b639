"""eval.py sweep, from photographs to a table, a figure and JSON."""

import json
import pathlib
import runpy

import cv2
import pytest

from astr_jax.cli.eval import matcher as matcher_options
from astr_jax.cli.eval import sweep
from astr_jax.evaluation.matchers.named import NamedMatcher
from astr_jax.evaluation.studies.sweeps import SWEEPS

COMMAND = pathlib.Path(__file__).parents[2] / "eval.py"


def command(*arguments):
    runpy.run_path(str(COMMAND))["main"](["sweep", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path, rng):
    """Three photographs of random blocks with soft edges."""
    for name in "abc":
        coarse = rng.integers(0, 255, (24, 32), dtype="uint8")
        photo = cv2.resize(coarse, (256, 192), interpolation=cv2.INTER_CUBIC)
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), photo)
    return tmp_path


def test_matchers_are_named_by_the_file_of_their_weights(monkeypatch):
    def named(*words):
        return NamedMatcher(match=print, settings={"words": words})

    monkeypatch.setattr(matcher_options, "find_matcher", named)

    def names(weights, matcher):
        found = sweep.find_matchers(weights, matcher, 320)
        return {name: matcher.settings["words"] for name, matcher in found.items()}

    assert names(["tiny", "runs/new.safetensors"], ["sift"]) == {
        "tiny": ("astr", "tiny", 320),
        "new": ("astr", "runs/new.safetensors", 320),
        "sift": ("sift", None, None),
    }
    assert names(None, None) == {"astr": ("astr", None, 320)}
    assert list(names(["a/best", "b/best"], None)) == ["a/best", "b/best"]
    with pytest.raises(ValueError, match="the matcher orb was given twice"):
        names(None, ["orb", "orb"])


def test_a_sweep_runs_from_end_to_end(folder, tmp_path, capsys):
    out, png = tmp_path / "out.json", tmp_path / "out.png"
    options = ("--photos", folder, "--matcher", "orb", "akaze", "--sweep", "rotation=0,90", "light")
    command(*options, "--out", out, "--png", png)
    printed = capsys.readouterr().out
    for words in ("rotation, degrees", "orb: right % / right / solved %", "akaze: 24 pairs"):
        assert words in printed
    written = json.loads(out.read_text())
    assert written["settings"]["photographs"] == ["a.png", "b.png", "c.png"]
    assert written["settings"]["sizes"] == ["256 x 192"]
    assert len(written["rows"]) == 2 * (2 + len(SWEEPS["light"][1]))
    orb = written["rows"][0]
    assert (orb["matcher"], orb["sweep"], orb["amount"]) == ("orb", "rotation", 0)
    assert orb["right"][0] > 20
    assert cv2.imread(str(png)).shape[0] > 400


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "scores.txt"), "scores.txt must end in .json"),
        (("--png", "nowhere/a.png"), "there is no folder"),
        (("--count", 1), "two photographs or more"),
        (("--long-side", 20), "at least 64 pixels"),
        (("--sweep", "fog"), "no sweep 'fog'"),
        (("--matcher", "surf"), "no matcher 'surf'"),
    ],
)
def test_what_cannot_be_done_is_said_before_matching(folder, options, message, capsys):
    with pytest.raises(SystemExit):
        command("--photos", folder, "--matcher", "orb", *options)
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_matcher_that_always_fails_ends_the_command(folder, monkeypatch, capsys):
    (folder / "no_sweep_matcher.py").write_text("def match(a, b):\n    raise ValueError('none')\n")
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit):
        command("--photos", folder, "--matcher", "no_sweep_matcher:match", "--sweep", "blur=0")
    assert "failed on every pair; the first one: ValueError: none" in capsys.readouterr().err
