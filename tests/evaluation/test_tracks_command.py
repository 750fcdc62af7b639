"""astr eval tracks, from written scenes to a table, a file, and differences of two."""

import json
import sys
import types

import numpy as np
import pytest
from data.written_scenes import write_scene

from astr_jax.cli import main
from astr_jax.data.scenes import pack_scenes, read_scenes


@pytest.fixture
def folder(tmp_path, rng, monkeypatch):
    """Three scenes, one of which has no pair; and a matcher of no use, made_up_tracks:match."""
    for name, step in (("barn", 0.4), ("still", 0.01), ("yard", 0.4)):
        write_scene(tmp_path / "all" / name, rng, step=step)
    module = types.ModuleType("made_up_tracks")

    def match(img0, img1):
        points = np.array([[20.0, 30.0], [90, 60]])
        return points, points + np.array([0, int(img0[0, 0]) % 5]), np.ones(2)

    module.match, module.__file__ = match, __file__
    monkeypatch.setitem(sys.modules, "made_up_tracks", module)
    return tmp_path / "all"


def run(*words):
    return main(["eval", "tracks", *map(str, words)])


def test_the_command_prints_writes_and_compares(folder, tmp_path, capsys):
    page, first, again = (tmp_path / name for name in ("page.md", "a.json", "b.json"))
    page.write_text("<!-- tracks -->\n<!-- end of tracks -->\n")
    words = "--matcher", "sift", "made_up_tracks:match", "--pairs", 2
    assert run(folder, *words, "--out", first, "--into", page) == 0
    printed = capsys.readouterr().out
    assert "| barn | sift | 2 | - |" in printed
    assert "| all | made_up_tracks:match | 4 | - | - | - | - | 2 [2, 2] |" in printed
    assert "still" not in printed
    assert "| scene | matcher | pairs | within 1 px, % |" in page.read_text()
    held = json.loads(first.read_text())
    assert (held["settings"]["pairs"], held["settings"]["seed"]) == (2, 0)
    assert [len(rows) for rows in held["pairs"].values()] == [4, 4]
    assert run("--from", first, "--against", first, "--out", again) == 0
    printed = capsys.readouterr().out
    assert "sift - sift of a.json:\n\n| difference | pairs |" in printed
    assert "made_up_tracks:match - sift of a.json:" in printed
    assert json.loads(again.read_text()) == held


def test_a_packed_file_and_some_scenes_of_it(folder, tmp_path, capsys):
    pack_scenes(read_scenes(folder), tmp_path / "scenes.npz")
    words = "--matcher", "made_up_tracks:match", "--scenes", "yard"
    assert run(tmp_path / "scenes.npz", *words) == 0
    printed = capsys.readouterr().out
    assert "| yard | made_up_tracks:match | 3 |" in printed
    assert "barn" not in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--pairs", 0), "--pairs must be at least 1"),
        (("--scenes", "barn,shed"), "no scene of"),
        (("--scenes", "still"), "share enough points"),
        (("--from", "a.json"), "not both"),
        (("--against", "a.json"), "no file a.json"),
        (("--out", "a.txt"), "must end in .json"),
    ],
)
def test_what_cannot_be_done_is_said(folder, words, message, capsys):
    assert run(folder, "--matcher", "made_up_tracks:match", *words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("held", ["[3]", '{"settings": {}, "pairs": {"a": [{"scene": "x"}]}}', "x"])
def test_other_files_are_refused(tmp_path, held, capsys):
    (tmp_path / "a.json").write_text(held)
    assert run("--from", tmp_path / "a.json") == 2
    assert "not what astr eval tracks --out writes" in capsys.readouterr().err
