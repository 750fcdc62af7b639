"""Comparisons of reports: what is equal, what is noise, what is better."""

import dataclasses
import math

import numpy as np
import pytest
from rich.console import Console

from astr_jax.evaluation.reports.compare import compare, comparison_tables, verdicts
from astr_jax.evaluation.reports.records import PairRecord
from astr_jax.evaluation.reports.report import MEAN, Report, score_sets, told_apart
from astr_jax.evaluation.scores.homographies import HOMOGRAPHY
from astr_jax.evaluation.scores.poses import POSE


def make_report(name, errors, *, kind=POSE, seeds=(0,), precision=0.5):
    """errors: set -> one error, or one tuple of errors by seed, of each pair."""
    share = kind.shown_shares[0]
    records = [
        PairRecord(
            set=set_name,
            name=str(number),
            kind=kind,
            checked=True,
            errors={kind.judge: error if isinstance(error, tuple) else (error,)},
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


def with_records(report, change):
    """change(index) -> the fields to replace in the record there."""
    records = (dataclasses.replace(r, **change(i)) for i, r in enumerate(report.records))
    return dataclasses.replace(report, records=tuple(records))


def difference(comparison, label, score):
    (found,) = (d for d in comparison.differences if (d.label, d.score) == (label, score))
    return found


def said_of_area(comparison):
    (line,) = (line for line in verdicts(comparison) if line.strip().startswith("AUC@"))
    return line


def width(d):
    return d.high - d.low


def test_identical_reports_differ_by_nothing(errors):
    a, b = make_report("a", errors), make_report("b", errors)
    comparison = compare(a, b, resamples=500)
    assert {d.set for d in comparison.differences} == {"one", "two", MEAN}
    for d in comparison.differences:
        assert d.second - d.first == 0
        assert d.low == d.high == 0
        assert not d.told
    assert "not told from noise" in said_of_area(comparison)
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
    assert "b is better than a" in said_of_area(comparison)
    assert said_of_area(comparison).endswith(": told from noise.")
    (solved,) = comparison.solved
    assert solved.only_second > 10
    assert solved.only_first == 0
    backwards = compare(make_report("b", better), make_report("a", errors), resamples=2000)
    assert "b is better than a" in said_of_area(backwards)


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


def test_reports_of_different_numbers_of_seeds_are_compared_by_the_mean_over_their_own():
    a = make_report("a", {"x": [(0.0, math.inf, math.inf)] * 30}, seeds=(0, 1, 2))
    b = make_report("b", {"x": [(0.0, math.inf)] * 30}, seeds=(0, 1))
    comparison = compare(a, b, resamples=100)
    d = difference(comparison, "x", "AUC@5")
    assert (d.first, d.second) == pytest.approx((1 / 3, 1 / 2))
    assert (d.low, d.high) == pytest.approx((1 / 6, 1 / 6))
    assert comparison.seeds == (3, 2)


def test_one_seed_each_is_said_not_to_have_its_chance_in_the_intervals(errors):
    one = make_report("a", errors), make_report("b", errors)
    assert "one seed" in verdicts(compare(*one, resamples=50))[-1]
    twice = {name: [(error, error) for error in listed] for name, listed in errors.items()}
    several = make_report("a", twice, seeds=(0, 1)), make_report("b", twice, seeds=(0, 1))
    for reports in (several, (one[0], several[1])):
        assert "one seed" not in " ".join(verdicts(compare(*reports, resamples=50)))


def test_clusters_of_five_alike_pairs_widen_the_interval_by_the_root_of_five():
    rng = np.random.default_rng(7)
    first, second = (rng.exponential(scale, 60).repeat(5).tolist() for scale in (9, 6))
    single = make_report("a", {"x": first}), make_report("b", {"x": second})
    clustered = [with_records(r, lambda i: {"cluster": f"c{i // 5}"}) for r in single]
    for score in ("AUC@5", "AUC@10", "AUC@20"):
        narrow = difference(compare(*single), "x", score)
        wide = difference(compare(*clustered), "x", score)
        assert (wide.first, wide.second) == (narrow.first, narrow.second)
        assert width(wide) / width(narrow) == pytest.approx(5**0.5, rel=0.06)


def test_shares_of_matches_are_drawn_by_clusters_too(errors):
    rng = np.random.default_rng(8)
    shares = rng.uniform(size=20).repeat(5)  # one per pair
    a = make_report("a", errors)
    b = with_records(a, lambda i: {"precision": {"epi@0.0005": shares[i]}})
    clustered = [with_records(r, lambda i: {"cluster": f"c{i // 5}"}) for r in (a, b)]
    narrow, wide = (
        difference(compare(*reports), "two", "right epi@0.0005") for reports in ((a, b), clustered)
    )
    assert width(wide) / width(narrow) == pytest.approx(5**0.5, rel=0.1)


def test_a_set_of_one_cluster_has_no_interval_and_is_not_told(errors):
    better = {name: [error / 3 for error in listed] for name, listed in errors.items()}
    a, b = (
        with_records(make_report(name, listed), lambda i: {"cluster": "house" if i < 40 else ""})
        for name, listed in (("a", errors), ("b", better))
    )
    comparison = compare(a, b, resamples=200)
    assert difference(comparison, "two", "AUC@10").told
    for label in ("one", MEAN):  # the mean lacks the noise of a set, so it has none either
        d = difference(comparison, label, "AUC@10")
        assert d.second > d.first
        assert math.isnan(d.low)
        assert math.isnan(d.high)
        assert not d.told
    assert "no interval" in said_of_area(comparison)
    table = next(iter(comparison_tables(comparison)))
    assert [cell for cell in table.columns[1].cells if "one cluster" in cell] == [
        cell
        for cell, label in zip(table.columns[1].cells, ("one", "two", MEAN), strict=True)
        if label != "two"
    ]


def test_groups_are_compared_under_their_set_and_the_mean_is_of_sets_alone(errors):
    better = {"one": [error / 3 for error in errors["one"]], "two": errors["two"]}

    def grouped(i):  # the first set has two groups, the second one a single group
        return {"group": ("illumination" if i % 4 else "viewpoint") if i < 40 else "all"}

    a, b = (with_records(make_report(n, e), grouped) for n, e in (("a", errors), ("b", better)))
    comparison = compare(a, b, resamples=500)
    rows = ["one", "one: viewpoint", "one: illumination", "two", MEAN]
    assert list(dict.fromkeys(d.label for d in comparison.differences)) == rows
    assert list(comparison_tables(comparison)[0].columns[0].cells) == rows
    for report, side in ((a, "first"), (b, "second")):
        for score in score_sets(report.records):
            d = difference(comparison, score.label, "AUC@10")
            assert getattr(d, side) == pytest.approx(score.auc["poselib@1"][1], abs=1e-12)
    assert difference(comparison, "one: viewpoint", "AUC@10").told
    assert "in the mean of sets" in said_of_area(comparison)
    # Ten pairs tell less than thirty.
    few, many = (difference(comparison, row, "AUC@10") for row in rows[1:3])
    assert width(few) > width(many)


def test_the_verdict_on_one_set_is_of_the_whole_set(errors):
    a, b = (
        with_records(make_report(name, {"one": errors["one"]}), lambda i: {"group": "uv"[i % 2]})
        for name in "ab"
    )
    assert "AUC@10 on one:" in said_of_area(compare(a, b, resamples=50))


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


def test_reports_without_a_common_estimator_say_so(errors):
    a = make_report("a", errors)
    b = with_records(a, lambda i: {"errors": {"magsac@1": a.records[i].errors["poselib@1"]}})
    said = verdicts(compare(a, dataclasses.replace(b, matcher="b"), resamples=50))
    assert "pose: the reports have no estimator in common" in said[0]
    assert "--pose-estimators" in said[0]


def test_two_reports_of_one_name_are_numbered_as_everywhere_else(errors):
    reports = [make_report("m", errors), make_report("m", errors)]
    names = compare(*reports, resamples=50).names
    assert names == tuple(report.matcher for report in told_apart(reports)) == ("m (1)", "m (2)")


def test_homographies_are_compared_in_pixels(errors):
    a = make_report("a", errors, kind=HOMOGRAPHY)
    better = {name: [error / 4 for error in listed] for name, listed in errors.items()}
    comparison = compare(a, make_report("b", better, kind=HOMOGRAPHY), resamples=500)
    assert difference(comparison, MEAN, "AUC@5").told
    console = Console(width=160, record=True, quiet=True)
    for table in comparison_tables(comparison):
        console.print(table)
    text = " ".join(verdicts(comparison))
    assert "within 5 px" in text
    assert len(comparison_tables(comparison)) == 2  # the estimator's, and the shares of matches
