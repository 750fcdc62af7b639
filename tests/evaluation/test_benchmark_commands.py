"""Every benchmark of poses by eval.py, on miniatures of its layout."""

import pathlib
import runpy

import pytest
from miniatures import make_megadepth, make_scannet, make_town

from astr_jax.evaluation.matchers.classic import MATCHERS
from astr_jax.evaluation.reports.report import read_report, score_sets

COMMAND = pathlib.Path(__file__).parents[2] / "eval.py"
LAYOUTS = {  # benchmark -> its maker, its folders, pairs of a miniature, words of its protocol
    "megadepth1500": (make_megadepth, ("", "index"), 10, "pose_thresholds_in files"),
    "scannet1500": (make_scannet, ("", "test.npz", "intrinsics.npz"), 2, "resize 640 x 480 px"),
    "colmap": (make_town, ("town",), 6, "max_iterations 10000"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_benchmark_runs_from_end_to_end(name, tmp_path, rng, monkeypatch, capsys):
    maker, folders, pairs, words = LAYOUTS[name]
    monkeypatch.setitem(MATCHERS, "oracle", maker(tmp_path, rng).match)
    paths = [str(tmp_path / folder) for folder in folders]
    out = tmp_path / "oracle.json"
    eval_py = runpy.run_path(str(COMMAND))["main"]
    eval_py([name, *paths, "--matcher", "oracle", "--seeds", "2", "--out", str(out)])
    printed = " ".join(capsys.readouterr().out.split())
    report = read_report(out)
    assert len(report.records) == pairs
    assert not any(record.failure for record in report.records)
    scores = score_sets(report.records)
    assert all(min(area) > 0.99 for score in scores for area in score.auc.values())
    assert all(share == 1 for score in scores for share in score.precision.values())
    assert words in printed
    assert "MiB of the process" in printed
    whole = {"megadepth1500": 1500, "scannet1500": 1500}.get(name)
    assert (f"Incomplete: {pairs} pairs of the {whole} of {name}" in printed) == bool(whole)
    eval_py(["table", str(out)])
    assert ("no figure of the whole" in capsys.readouterr().out) == bool(whole)
