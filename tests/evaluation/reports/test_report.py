"""Scores, files and tables of records."""

import dataclasses
import json
import math
import pathlib

import numpy as np
import pytest

from astr_jax.evaluation.reports.records import PairRecord
from astr_jax.evaluation.reports.report import (
    MEAN,
    Report,
    read_report,
    score_sets,
    write_report,
)
from astr_jax.evaluation.reports.tables import markdown_tables, published_tables
from astr_jax.evaluation.scores.calibration import confidence_histogram, sigma_histogram
from astr_jax.evaluation.scores.homographies import HOMOGRAPHY
from astr_jax.evaluation.scores.poses import POSE

ROOT = pathlib.Path(__file__).parents[3]
PROTOCOL = {
    "benchmark": "pairs",
    "resize": {"long_side": 640, "multiple": 32},
    "max_matches": None,
    "seeds": [0],
}


def record(set_name, error, **changes):
    fields = {
        "set": set_name,
        "name": "a b",
        "kind": POSE,
        "checked": True,
        "errors": {"poselib@1": (error,), "ransac@0.5": (2 * error,)},
        "precision": {"epi@0.0005": 0.5, "epi@0.0001": 0.25},
        "num_matches": 100,
        "seconds": 0.1,
    }
    return PairRecord(**fields | changes)


def flat_record(error):
    return record(
        "wall",
        error,
        kind=HOMOGRAPHY,
        errors={"magsac@3": (error,)},
        precision=dict.fromkeys(HOMOGRAPHY.share_names, 1.0),
    )


def make_report(matcher, *records, **changes):
    protocol = PROTOCOL | {"whole": len(records)} | changes
    return Report(matcher=matcher, protocol=protocol, records=records)


def test_the_mean_row_counts_each_set_the_same():
    records = [record("one", 0.0), record("two", math.inf), record("two", math.inf)]
    scores = {score.set: score for score in score_sets(records)}
    assert list(scores) == ["one", "two", MEAN]
    assert scores[MEAN].auc["poselib@1"] == pytest.approx([0.5, 0.5, 0.5])
    assert scores[MEAN].num_pairs == 3


def test_the_seconds_of_first_calls_stand_apart():
    first = record("one", 0.0, seconds=60.0, first_call=True)
    (score,) = score_sets([first, *(record("one", 0.0, seconds=s) for s in (0.3, 0.2, 0.1))])
    assert (score.seconds_first, score.seconds) == (60.0, 0.2)
    (alone,) = score_sets([first])
    assert (alone.seconds_first, alone.seconds) == (60.0, 60.0)
    assert score_sets([record("one", 0.0)])[0].seconds_first is None


def test_seeds_give_a_mean_and_half_of_their_spread():
    (score,) = score_sets([record("one", 0.0, errors={"poselib@1": (0.0, 0.0, math.inf)})] * 2)
    assert score.auc["poselib@1"] == pytest.approx([2 / 3] * 3)
    assert score.auc_spread["poselib@1"] == pytest.approx([0.5] * 3)
    one = record("one", 0.0, errors={"poselib@1": (0.0, 0.0, math.inf)})
    text = markdown_tables([make_report("m", one, seeds=[0, 1, 2])])
    assert "| 66.7±50.0 / 66.7±50.0 / 66.7±50.0 |" in text


def test_groups_of_a_set_have_their_own_rows_and_no_part_in_the_mean():
    records = [
        record("one", 0.0, group="viewpoint"),
        record("one", math.inf, group="illumination"),
        record("two", 0.0),
    ]
    scores = score_sets(records)
    labels = ["one", "one: viewpoint", "one: illumination", "two", MEAN]
    assert [score.label for score in scores] == labels
    assert [score.auc["poselib@1"][0] for score in scores] == [0.5, 1.0, 0.0, 1.0, 0.75]


def test_a_report_comes_back_from_its_file_and_the_file_is_strict_json(tmp_path):
    failed = record("one", math.inf, failure="Error: no")
    report = make_report("mine", record("one", 1.5), failed, flat_record(0.5))
    write_report(report, tmp_path / "r.json")
    assert read_report(tmp_path / "r.json") == report
    document = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
    assert document["records"][1]["errors"]["poselib@1"] == [None]
    assert {(s["set"], s["checked_only"]) for s in document["scores"]} >= {("one", True)}


def test_the_tables_of_the_results_page_are_those_of_its_reports():
    names = ("tiny", "sift", "rootsift", "orb", "akaze")
    reports = [read_report(ROOT / "docs" / "results" / f"{name}.json") for name in names]
    page = (ROOT / "docs" / "results.md").read_text()
    for name, text in (("results", markdown_tables(reports)), ("published", published_tables([]))):
        between = page.split(f"<!-- {name} -->")[1].split(f"<!-- end of {name} -->")[0]
        assert between.strip() == text.strip()
    lines = markdown_tables(reports).splitlines()
    assert len([line for line in lines if line[:2] == "| "]) == 37
    assert len([line for line in lines if line[:2] == "- "]) == len(reports)


def test_published_figures_stand_beside_ours_and_are_marked():
    text = published_tables([])
    assert "| ASTR | 58.4 / 73.1 / 83.8 | published: ASTR, CVPR 2023 |" in text
    assert "measured" not in text
    ours = make_report("mine", flat_record(0.0), flat_record(math.inf), benchmark="hpatches")
    text = published_tables([ours])
    assert text.count("measured") == 1
    row = "| mine | 50.0 / 50.0 / 50.0 | measured: magsac@3, long side 640 px"
    assert row in text.split("HPatches")[1].split("\n\n")[1]


@pytest.mark.parametrize("text", ["{}", "no json", '{"format": 99}', "[1]"])
def test_a_foreign_file_is_refused_with_its_name(tmp_path, text):
    (tmp_path / "foreign.json").write_text(text)
    with pytest.raises(ValueError, match=r"foreign\.json is not a report"):
        read_report(tmp_path / "foreign.json")


HISTOGRAMS = {
    "confidence_bins": confidence_histogram(np.array([0.5]), np.array([True])),
    "sigma_bins": sigma_histogram(np.array([0.5]), np.array([0.4])),
}


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("record", ["cluster"]),
        ("record", ["group", "confidence_bins", "sigma_bins"]),
        ("confidence_bins", ["claimed"]),
        ("sigma_bins", ["counts"]),
        ("precision", ["2px", "4px"]),
        ("protocol", ["whole", "seeds"]),
    ],
)
def test_a_report_that_lacks_something_is_refused_and_told_what(tmp_path, place, names):
    file = tmp_path / "r.json"
    whole = dataclasses.replace(flat_record(0.5), **HISTOGRAMS)
    write_report(make_report("mine", flat_record(0.5), whole), file)
    assert read_report(file).records[1] == whole
    document = json.loads(file.read_text())
    last = document["records"][1]
    for name in names:
        del {"record": last, "protocol": document["protocol"], **last}[place][name]
    file.write_text(json.dumps(document))
    inside = "" if place in ("record", "protocol") else f" in {place}"
    words = ", ".join(f"no {name}{inside}" for name in names)
    owner = "its protocol" if place == "protocol" else "a record"
    with pytest.raises(ValueError, match=rf"{owner} has {words}\. Run the evaluation again\.$"):
        read_report(file)


def test_tables_have_a_row_per_set_and_a_column_per_matcher():
    first = make_report("good", record("one", 0.0), record("two", 0.0), flat_record(0.0))
    second = make_report("bad", record("one", math.inf))
    tables = markdown_tables([first, second]).split("\n\n")
    text = markdown_tables([first, second])
    assert "Pose AUC@5/10/20 degrees, poselib@1:" in text
    assert "- bad: long side 640 px, sides rounded down to multiples of 32, one seed, all" in text
    assert "| set | pairs | good | bad |" in text
    assert "| one | 1 | 100.0 / 100.0 / 100.0 | 0.0 / 0.0 / 0.0 |" in text
    assert "| two | 1 | 100.0 / 100.0 / 100.0 | - |" in text
    assert f"| {MEAN} | 2 | 100.0 / 100.0 / 100.0 | - |" in text
    assert "| wall | 1 | 100.0 / 100.0 / 100.0 / 100.0 | - |" in text
    assert len(tables) == 7  # a heading and a table for each of three estimators, and the notes


def test_a_set_has_the_calibration_error_of_all_its_matches():
    sure = confidence_histogram(np.full(30, 0.9), np.arange(30) < 27)  # as often right as claimed
    bold = confidence_histogram(np.full(10, 0.9), np.arange(10) < 5)
    records = [
        record("one", 1.0, confidence_bins=sure),
        record("one", 1.0, confidence_bins=bold),
        record("two", 1.0, confidence_bins=sure),
    ]
    one, two, mean = score_sets(records)
    np.testing.assert_allclose([one.ece, two.ece], [0.1, 0.0], atol=1e-6)
    assert mean.ece == pytest.approx(0.05)
    (without,) = score_sets([record("one", 1.0)])
    assert without.ece is None
