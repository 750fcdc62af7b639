"""eval.py pairs: from images to a report, a table and a page."""

import hashlib
import json
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from astr_jax.cli.files import write_between
from astr_jax.evaluation.matchers import named
from astr_jax.evaluation.reports.report import read_report
from astr_jax.matching import RESIZE, Matcher
from astr_jax.params import Calibration, Params, save_params
from astr_jax.types import Matches

COMMAND = pathlib.Path(__file__).parents[2] / "eval.py"


def command(*arguments):
    runpy.run_path(str(COMMAND))["main"]([str(a) for a in arguments])


@pytest.fixture
def pairs_folder(tmp_path):
    """One homography pair: random blocks, and the same moved by 32 pixels."""
    blocks = np.random.default_rng(0).integers(0, 255, (24, 42), dtype=np.uint8)
    image = np.kron(blocks, np.ones((16, 16), np.uint8))
    for name, part in (("a.png", image[:, :640]), ("b.png", image[:, 32:672])):
        Image.fromarray(np.ascontiguousarray(part)).save(tmp_path / name)
    entry = {"image0": "a.png", "image1": "b.png", "H_0to1": [[1, 0, -32], [0, 1, 0], [0, 0, 1]]}
    (tmp_path / "index.json").write_text(json.dumps([entry]))
    return tmp_path


def test_the_command_evaluates_writes_and_prints_a_table(pairs_folder, capsys):
    out = pairs_folder / "orb.json"
    command("pairs", pairs_folder, "--matcher", "orb", "--out", out, "--name", "my orb")
    assert "corner AUC@1/3/5/10 px" in capsys.readouterr().out
    (one,) = read_report(out).records
    assert one.errors["magsac@3"][0] < 1.0
    command("table", out)
    printed = capsys.readouterr().out
    assert "| set | pairs | my orb |" in printed
    assert f"| {pairs_folder.name} | 1 |" in printed


def test_the_command_takes_any_function_with_or_without_intrinsics(
    pairs_folder, monkeypatch, capsys
):
    (pairs_folder / "my_matchers.py").write_text(
        "import numpy as np\n"
        "grid = np.mgrid[40:600:40, 40:360:40].reshape(2, -1).T.astype(float)\n"
        "def plain(img0, img1):\n"
        "    return grid, grid - [32, 0], np.ones(len(grid))\n"
    )
    monkeypatch.chdir(pairs_folder)
    monkeypatch.syspath_prepend(pairs_folder)
    command("pairs", ".", "--matcher", "my_matchers:plain", "--out", "plain.json")
    (one,) = read_report("plain.json").records
    assert one.failure is None
    assert one.errors["magsac@3"][0] < 1e-3


def test_the_report_names_the_weights_and_how_they_match(
    pairs_folder, nano_config, nano_variables, monkeypatch, capsys
):
    weights, out = pairs_folder / "micro.safetensors", pairs_folder / "astr.json"
    save_params(weights, Params(nano_variables, nano_config, Calibration(threshold=0.3)))
    called = []

    class Blind(Matcher):
        """Remembers how it is to match, and finds nothing."""

        def match(self, image0, image1, K0=None, K1=None):
            called.append(self)
            assert K0 is None  # a homography pair has no intrinsics
            assert K1 is None
            points, scores, cells = np.zeros((0, 2)), np.zeros(0), np.zeros(0, int)
            covariance = np.zeros((0, 2, 2))
            rest = scores, covariance, scores, cells, cells, np.zeros(0, bool)
            return Matches(points, points, *rest)

    monkeypatch.setattr(named, "Matcher", Blind)
    command("pairs", pairs_folder, "--weights", weights, "--out", out)
    assert read_report(out).records[0].failure is None
    written = read_report(out).protocol
    assert written["weights"] == "micro.safetensors"
    assert written["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert written["scale_estimator"] == "pose with intrinsics, else affine"
    assert called[0].options.resize == written["match_resize"] == RESIZE
    assert called[0].threshold == written["match_threshold"] == 0.3
    assert called[0].options.max_matches is written["max_matches"] is None
    command("pairs", pairs_folder, "--weights", weights, "--long-side", 480, "--out", out)
    assert called[1].options.resize == 480  # images of the benchmark are not shrunk once more
    command("pairs", pairs_folder, "--weights", weights, "--resize", 320, "--out", out)
    assert called[2].options.resize == 320
    assert all(m.options.upright == "auto" and m.options.polish for m in called)
    assert read_report(out).protocol["upright"] == "auto"
    assert "polish" not in read_report(out).protocol
    both = "--no-upright", "--no-polish"
    command("pairs", pairs_folder, "--weights", weights, *both, "--out", out)
    assert called[3].options.upright is read_report(out).protocol["upright"] is False
    assert called[3].options.polish is read_report(out).protocol["polish"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--matcher", "surf"], "no matcher 'surf'"),
        (["--matcher", "orb", "--weights", "tiny"], "the matcher orb has none"),
        (["--matcher", "math:nothing"], "math has no function 'nothing'"),
        (["--matcher", "no_such_module:f"], "No module named"),
        (["--weights", "no_such_file"], "no_such_file"),
        (["--sets", "nowhere"], "no set nowhere"),
        (["--matcher", "orb", "--resize", "320"], "--resize is of astr; the matcher orb has none"),
        (["--matcher", "orb", "--no-upright"], "--no-upright is of astr; the matcher orb has none"),
        (["--matcher", "orb", "--no-polish"], "--no-polish is of astr; the matcher orb has none"),
        (["--matcher", "orb", "--keep-all"], "--keep-all is of astr; the matcher orb has none"),
        (
            ["--matcher", "orb", "--homography-estimators", "usac@1"],
            "no homography estimator 'usac@1'",
        ),
        (["--matcher", "orb", "--pose-estimators", "poselib@1"], "pairs has no pairs of this kind"),
        (["--matcher", "builtins:len"], "builtins is no module of Python in a file"),
        (["--matcher", "orb", "--long-side", "0"], "sides and multiples are positive"),
        (["--matcher", "orb", "--out", "."], "it is a folder; give a file in it"),
        (["--matcher", "orb", "--seeds", "0"], "--seeds is their number, 1 or more; got 0"),
        (["--matcher", "orb", "--max-matches", "0"], "--max-matches must be at least 1"),
        (["--matcher", "orb", "--out", "no/such/folder/r.json"], "there is no folder"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(pairs_folder, capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        command("pairs", pairs_folder, *arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_tables_are_written_between_their_marks_and_nowhere_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n")
    write_between(page, "results", "| new |")
    expected = "before\n<!-- results -->\n\n| new |\n\n<!-- end of results -->\nafter\n"
    assert page.read_text() == expected
    with pytest.raises(ValueError, match=r"page\.md has no place for the tables: write <!-- other"):
        write_between(page, "other", "| new |")
    assert page.read_text() == expected
