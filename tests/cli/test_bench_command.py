"""astr bench: what it prints, writes and draws, and one line for every mistake."""

import contextlib
import json

import numpy as np
import pytest
from pictures import darker, picture
from PIL import Image

from astr_jax.cli import bench, main
from astr_jax.instruments.peak_memory import Peak
from astr_jax.instruments.timing import FINE, REFINE, WHOLE
from astr_jax.params import Calibration, Params, save_params


@pytest.fixture
def folder(tmp_path, monkeypatch, nano_config, nano_variables):
    """Random weights, two photographs, and pages. A match takes no time."""
    monkeypatch.chdir(tmp_path)
    save_params("micro.safetensors", Params(nano_variables, nano_config, Calibration()))
    image = picture(96, 128)
    Image.fromarray(image).save("left.png")
    Image.fromarray(darker(image)).save("right.png")
    (tmp_path / "page.md").write_text("before\n<!-- speed -->\n<!-- end of speed -->\nafter\n")
    (tmp_path / "other.md").write_text("no marks\n")
    quick = dict.fromkeys((*WHOLE, "encode", "first look", "coarse", REFINE, FINE), lambda: None)
    monkeypatch.setattr(bench, "match_tasks", lambda params, *pair: quick)
    monkeypatch.setattr(bench, "matched_at", lambda params, *pair: ((1.0, 2.0), pair[0].size))
    monkeypatch.setattr(bench, "onnx_tasks", lambda params, *pair: {"ONNX Runtime": lambda: None})
    monkeypatch.setattr(bench, "compiled_anew", lambda: contextlib.nullcontext(tmp_path))
    return tmp_path


@pytest.fixture
def peak(monkeypatch):
    """What the process of each match is taken to need."""
    monkeypatch.setattr(bench, "peak_of_match", lambda *given: Peak(500.0, 300.0, None))


def command(*arguments):
    photos = ["--photos", "left.png", "right.png"]
    return main(["bench", "--weights", "micro.safetensors", "--repeat", "1", *photos, *arguments])


@pytest.mark.usefixtures("peak")
def test_every_size_is_timed_printed_written_and_drawn(folder, capsys):
    files = ["--out", "b.json", "--png", "b.png", "--into", "page.md"]
    assert command("--sizes", "128,64", *files) == 0
    out, err = capsys.readouterr()
    assert err == ""
    report = json.loads((folder / "b.json").read_text())
    assert [row["pictures"] for row in report["sizes"]] == [[[48, 64]] * 2, [[96, 128]] * 2]
    assert report["settings"]["repeat"] == 1
    for row in report["sizes"]:
        assert {"encode", "coarse", "scale ratio", "fine", "SIFT", "ONNX Runtime"} <= set(
            row["seconds"]
        )
        assert all(len(runs["after"]) == 1 for runs in row["runs"].values())
        assert row["memory_mib"]["process"] == 500
        assert row["matches"] == row["pixels"]
    for words in ("64 x 48", "128 x 96", "match, upright=False", "Machine: ", "wrote b.json"):
        assert words in out
    page = (folder / "page.md").read_text()
    assert page.startswith("before\n<!-- speed -->\n\n| seconds / CPU seconds | 64 x 48 |")
    assert page.endswith("\n\n<!-- end of speed -->\nafter\n")
    with Image.open("b.png") as drawn:
        assert np.asarray(drawn.convert("L")).std() > 5


@pytest.mark.usefixtures("folder")
def test_a_process_that_fails_leaves_the_times(monkeypatch, capsys):
    def failing(*given):
        raise ChildProcessError("the match ended with code -9: no word")

    monkeypatch.setattr(bench, "peak_of_match", failing)
    assert command("--sizes", "64") == 0
    out, err = capsys.readouterr()
    assert err == "astr bench: no peak memory: the match ended with code -9: no word\n"
    assert "match, scales=1" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sizes", "big"], "--sizes takes long sides, such as 320,640; got 'big'"),
        (["--sizes", ""], "--sizes takes long sides"),
        (["--sizes", "32,640"], "--sizes must be at least 64 pixels; got 32"),
        (["--sizes", "64,129"], "LEFT is 128 x 96: too small for --sizes up to 129"),
        (["--repeat", "0"], "--repeat must be at least 1; got 0"),
        (["--photos", "left.png", "none.png", "--sizes", "64"], "RIGHT: there is no file none.png"),
        (["--out", "b.txt"], "b.txt must end in .json"),
        (["--png", "no/b.png"], "there is no folder no"),
        (["--into", "other.md"], "other.md has no place for the tables: write <!-- speed -->"),
        (["--into", "none.md"], "none.md: No such file"),
        (["--weights", "huge"], "huge is neither shipped"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_mistake_is_one_line(capsys, arguments, words):
    assert command("--sizes", "64", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("astr bench: ")
    assert err.count("\n") == 1
    assert words in err


def test_the_drawn_pair_is_as_large_as_it_is_shown(monkeypatch):
    monkeypatch.setattr(bench, "DRAWN", (120, 160))
    pictures = bench.read_pictures(None, 160)
    assert [picture.size for picture in pictures] == [(160, 120)] * 2
    assert bench.at_size(pictures[0], 64).shape == (48, 64)
    assert all(np.asarray(picture).std() > 20 for picture in pictures)
    with pytest.raises(ValueError, match="at most 160; got 161"):
        bench.read_pictures(None, 161)
