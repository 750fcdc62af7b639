"""Comparisons of reports: what is equal, what is noise, what is better."""

import dataclasses
import math

import numpy as np
import pytest
from rich.console import Console

from astr_jax import metrics
from astr_jax.evaluation.compare import compare, comparison_tables, resampled_auc, verdicts
from astr_jax.evaluation.records import PairRecord
from astr_jax.evaluation.report import MEAN, Report, score_sets


def make_report(name, errors, *, kind="pose", seeds=(0,), precision=0.5):
    """errors: set -> one error, or one tuple of errors by seed, of each pair."""
    estimator = "poselib@1" if kind == "pose" else "magsac@3"
    share = "epi@0.0005" if kind == "pose" else "3px"
    records = [
        PairRecord(
            set=set_name,
            name=str(number),
            kind=kind,
            checked=True,
            errors={estimator: error if isinstance(error, tuple) else (error,)},
            precision={share: precision},
            num_matches=100,
            seconds=0.1,
        )
        for set_name, listed in errors.items()
        for number, error in enumerate(listed)
    ]
    protocol = {"seeds": list(seeds), "resize": {"long_side": 640}}
    return Report(matcher=name, protocol=protocol, records=tuple(records))


@pytest.fixture
def errors():
    rng = np.random.default_rng(0)
    return {"one": rng.exponential(6, 40).tolist(), "two": rng.exponential(9, 60).tolist()}


def difference(comparison, set_name, score):
    (found,) = (d for d in comparison.differences if (d.set, d.score) == (set_name, score))
    return found


def test_resampled_areas_are_those_of_the_resampled_errors():
    rng = np.random.default_rng(1)
    errors = rng.exponential(8, 60).round(1)  # with ties
    errors[:9] = [math.inf, math.inf, 0, 0, 5, 5, 10, 20, 20]
    rows = rng.integers(0, 60, (200, 60))
    rows[0], rows[1], rows[2] = 0, 2, 4  # all failed, all perfect, all at a threshold
    areas = resampled_auc(errors, metrics.POSE_THRESHOLDS, rows)
    expected = [metrics.error_auc(errors[row], metrics.POSE_THRESHOLDS) for row in rows]
    np.testing.assert_allclose(areas, expected, atol=1e-12)


def test_identical_reports_differ_by_nothing(errors):
    a, b = make_report("a", errors), make_report("b", errors)
    comparison = compare(a, b, resamples=500)
    assert {d.set for d in comparison.differences} == {"one", "two", MEAN}
    for d in comparison.differences:
        assert d.second - d.first == 0
        assert d.low == d.high == 0
        assert not d.told
    assert "not told from noise" in verdicts(comparison)[-1]
    (solved,) = comparison.solved
    assert (solved.only_first, solved.only_second, solved.pairs) == (0, 0, 100)


def test_noise_of_the_same_law_is_not_told(errors):
    rng = np.random.default_rng(5)
    other = {name: rng.permutation(listed).tolist() for name, listed in errors.items()}
    comparison = compare(make_report("a", errors), make_report("b", other), resamples=2000)
    d = difference(comparison, MEAN, "AUC@10")
    assert d.low < 0 < d.high
    assert not d.told


def test_a_clear_improvement_is_told_and_named(errors):
    better = {name: [error / 3 for error in listed] for name, listed in errors.items()}
    comparison = compare(make_report("a", errors), make_report("b", better), resamples=2000)
    for name in ("one", "two", MEAN):
        d = difference(comparison, name, "AUC@10")
        assert 0 < d.low < d.second - d.first < d.high
        assert d.told
    assert "b is better than a" in verdicts(comparison)[-1]
    assert verdicts(comparison)[-1].endswith(": told from noise.")
    (solved,) = comparison.solved
    assert solved.only_second > 10
    assert solved.only_first == 0
    backwards = compare(make_report("b", better), make_report("a", errors), resamples=2000)
    assert "b is better than a" in verdicts(backwards)[-1]


def test_the_differences_are_those_of_the_scores(errors):
    better = {name: [error / 2 for error in listed] for name, listed in errors.items()}
    a, b = make_report("a", errors, precision=0.5), make_report("b", better, precision=0.75)
    comparison = compare(a, b, resamples=100)
    for report, side in ((a, "first"), (b, "second")):
        for score in score_sets(report.records):
            for t, area in zip((5, 10, 20), score.auc["poselib@1"], strict=True):
                d = difference(comparison, score.set, f"AUC@{t}")
                assert getattr(d, side) == pytest.approx(area, abs=1e-12)
    assert difference(comparison, MEAN, "right epi@0.0005").low == pytest.approx(0.25)


def test_the_interval_has_the_width_of_the_mean_of_a_known_law():
    # Errors 0 or inf: the area is the share of zeros, of which B has 50 % and A none. The share of
    # n draws deviates by sqrt(p (1 - p) / n).
    n = 400
    b = [0.0, math.inf] * (n // 2)
    comparison = compare(make_report("a", {"x": [math.inf] * n}), make_report("b", {"x": b}))
    d = difference(comparison, "x", "AUC@5")
    assert d.low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.006)
    assert d.high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.006)


def test_the_same_reports_give_the_same_intervals(errors):
    better = {name: [error / 1.2 for error in listed] for name, listed in errors.items()}
    a, b = make_report("a", errors), make_report("b", better)
    assert compare(a, b, resamples=1500) == compare(a, b, resamples=1500)


def test_seeds_count_by_their_mean_area_and_their_median_error():
    seeds = (0, 1, 2)
    a = make_report("a", {"x": [(0.0, math.inf, math.inf)] * 30}, seeds=seeds)
    b = make_report("b", {"x": [(0.0, 0.0, math.inf)] * 30}, seeds=seeds)
    comparison = compare(a, b, resamples=100)
    d = difference(comparison, "x", "AUC@5")
    assert (d.first, d.second) == pytest.approx((1 / 3, 2 / 3))
    assert comparison.solved[0].only_second == 30


def test_pairs_of_one_report_alone_are_left_out_and_said(errors):
    a = make_report("a", errors)
    b = make_report("b", {"two": errors["two"][:50], "three": [1.0]})
    comparison = compare(a, b, resamples=100)
    assert {d.set for d in comparison.differences} == {"two"}
    assert comparison.left_out == (50, 1)
    assert "50 and 1 pairs" in " ".join(verdicts(comparison))
    with pytest.raises(ValueError, match="no pair in common"):
        compare(a, make_report("c", {"three": [1.0]}))


def test_what_differs_in_the_protocol_is_said(errors):
    a = make_report("a", errors)
    larger = {"resize": {"long_side": 1200}}
    b = dataclasses.replace(a, matcher="b", protocol=a.protocol | larger)
    assert verdicts(compare(a, b, resamples=50))[0] == "The protocols differ in: resize."


def test_two_reports_of_one_name_are_told_apart(errors):
    assert compare(make_report("m", errors), make_report("m", errors), resamples=50).names == (
        "m A",
        "m B",
    )


def test_homographies_are_compared_in_pixels(errors):
    a = make_report("a", errors, kind="homography")
    better = {name: [error / 4 for error in listed] for name, listed in errors.items()}
    comparison = compare(a, make_report("b", better, kind="homography"), resamples=500)
    assert difference(comparison, MEAN, "AUC@5").told
    console = Console(width=160, record=True, quiet=True)
    for table in comparison_tables(comparison):
        console.print(table)
    text = " ".join(verdicts(comparison))
    assert "within 5 px" in text
    assert len(comparison_tables(comparison)) == 2  # the estimator's, and the shares of matches
