"""eval.py on miniatures of benchmarks: its options, and what it hands to hloc."""

import pathlib
import runpy

import h5py
import numpy as np
import pytest
from PIL import Image

from astr_jax.evaluation.benchmarks.reading import longest_side, read_benchmark
from astr_jax.evaluation.matchers.classic import MATCHERS
from astr_jax.evaluation.matchers.named import find_matcher
from astr_jax.evaluation.reports.report import read_report

COMMAND = pathlib.Path(__file__).parents[2] / "eval.py"
SHIFT = 16


def command(*arguments):
    runpy.run_path(str(COMMAND))["main"]([str(a) for a in arguments])


def blocks(rng):
    """A picture of random blocks, and the same moved by SHIFT pixels, 320 x 240."""
    image = np.kron(rng.integers(0, 255, (20, 28), dtype=np.uint8), np.ones((12, 12), np.uint8))
    return image[:, :320], image[:, SHIFT : 320 + SHIFT]


@pytest.fixture
def sequences(tmp_path, rng):
    """HPatches with one sequence of each group."""
    for name in ("v_wall", "i_wall"):
        folder = tmp_path / "hpatches" / name
        folder.mkdir(parents=True)
        first, second = blocks(rng)
        for number in range(1, 7):
            Image.fromarray(np.ascontiguousarray(first if number == 1 else second)).save(
                folder / f"{number}.ppm"
            )
            if number > 1:
                (folder / f"H_1_{number}").write_text(f"1 0 {-SHIFT}\n0 1 0\n0 0 1\n")
    return tmp_path / "hpatches"


def test_hpatches_is_scored_by_group_with_the_options_asked_for(sequences, tmp_path, capsys):
    out = tmp_path / "orb.json"
    options = (
        "--short-side",
        240,
        "--max-matches",
        50,
        "--homography-estimators",
        "ransac@2, poselib@2",
    )
    command("hpatches", sequences, "--matcher", "orb", *options, "--seeds", 2, "--out", out)
    printed = capsys.readouterr().out
    for words in ("hpatches: viewpoint", "hpatches: illumination", "ransac@2", "short side 240 px"):
        assert words in printed
    report = read_report(out)
    assert len(report.records) == 10
    assert all(0 < record.num_matches <= 50 for record in report.records)
    assert all(
        set(record.errors) == {"ransac@2", "poselib@2"} and max(record.errors["poselib@2"]) < 1
        for record in report.records
    )
    assert report.protocol["resize"] == {"short_side": 240, "multiple": 1}
    command("table", out, "--published")
    assert "| orb | " in capsys.readouterr().out


def test_the_size_that_the_model_matches_at_is_the_longest_side(sequences):
    # 320 x 240 with a short side of 480 is 640 x 480.
    assert longest_side(read_benchmark("hpatches", [str(sequences)])) == 640


def test_pictures_are_of_the_pairs_that_the_options_chose(sequences, tmp_path):
    (sequences / "v_wall").rename(sequences / "v_talent")  # one of the very large ones
    out, page = tmp_path / "orb.json", tmp_path / "page.html"
    command("hpatches", sequences, "--matcher", "orb", "--keep-very-large", "--out", out)
    assert read_report(out).protocol["reader_options"] == {"keep_very_large": True}
    command("page", out, "--out", page, "--images", sequences, "--count", 10)
    assert "v_talent 1 2, ransac@3 error" in page.read_text()


def test_a_benchmark_says_what_folders_it_takes(tmp_path, capsys):
    with pytest.raises(SystemExit):
        command("megadepth1500", tmp_path, "--matcher", "orb")
    assert "megadepth1500 takes ROOT INDEX" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"no benchmark 'kitti'\. There are: pairs, megadepth1500"):
        read_benchmark("kitti", [str(tmp_path)])


def test_matches_are_written_for_hloc_with_the_command_to_go_on(tmp_path, rng, capsys):
    for folder, picture in zip(("query", "db"), blocks(rng), strict=True):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.ascontiguousarray(picture)).save(tmp_path / folder / "a.png")
    (tmp_path / "list.txt").write_text("query/a.png db/a.png\n")
    out = tmp_path / "out"
    arguments = ("inloc", tmp_path, tmp_path / "list.txt", "--out", out, "--long-side", 320)
    command(*arguments, "--matcher", "orb")
    printed = capsys.readouterr().out
    assert "1 pairs, 1 of them new" in printed
    assert "python -m hloc.localize_inloc" in printed.splitlines()[-1]
    with h5py.File(out / "matches-list.h5") as file:
        matches = file["query-a.png/db-a.png/matches0"][()]
    assert (matches >= 0).sum() > 20
    command(*arguments, "--matcher", "orb")
    assert "1 pairs, 0 of them new" in capsys.readouterr().out


def test_a_run_begun_by_one_matcher_is_not_ended_by_another():
    stated = [find_matcher(name, None, None).settings for name in MATCHERS]
    assert len({str(settings) for settings in stated}) == len(MATCHERS)


def test_a_matcher_that_fails_on_every_pair_ends_the_command_as_failed(
    sequences, tmp_path, capsys, monkeypatch
):
    (tmp_path / "no_matcher.py").write_text(
        "def match(img0, img1):\n    raise ValueError('none')\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        command("hpatches", sequences, "--matcher", "no_matcher:match", "--out", "none.json")
    assert "every pair failed; the first one: ValueError: none" in capsys.readouterr().err
    assert all(record.failure for record in read_report(tmp_path / "none.json").records)
