"""Runs that were killed half-way go on to the same records, or are refused."""

import dataclasses

import numpy as np
import pytest
from synthetic import oracle

from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.reports.runner import evaluate


def without_times(records):
    return [dataclasses.replace(r, seconds=0.0, first_call=False, memory_mib=None) for r in records]


class Killed(BaseException):
    """Not an Exception, as a KeyboardInterrupt is none."""


def killed_after(count):
    heard = []

    def hear(record):
        heard.append(record)
        if len(heard) == count:
            raise Killed

    return hear


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_killed_run_goes_on_to_the_same_records(world, tmp_path, cut):
    benchmark, truth = world
    partial, matcher = tmp_path / "out.partial.jsonl", oracle(truth, noise=2.0, sigma=1.0)
    whole = evaluate(benchmark, matcher)
    with pytest.raises(Killed):
        evaluate(benchmark, matcher, partial=partial, on_record=killed_after(4))
    if cut:  # a kill in the middle of a line
        partial.write_bytes(partial.read_bytes()[:-cut])
    calls, heard = [], []

    def counted(img0, img1, K0=None, K1=None):
        calls.append(int(img0[0, 0]))
        return matcher(img0, img1)

    records = evaluate(benchmark, counted, partial=partial, on_record=heard.append)
    assert calls == list(range(3 if cut else 4, 10))
    assert heard == records
    assert without_times(records) == without_times(whole)
    # A third call has nothing left to match, and its records are those of the file.
    calls.clear()
    assert evaluate(benchmark, counted, partial=partial) == records
    assert not calls


def test_a_header_cut_short_begins_anew(world, tmp_path):
    benchmark, truth = world
    partial = tmp_path / "p.jsonl"
    partial.write_text('{"protocol": {"benchm')
    assert len(evaluate(benchmark, oracle(truth), partial=partial)) == 10
    assert len(partial.read_text().splitlines()) == 11


@pytest.mark.parametrize(
    ("changes", "options", "named"),
    [
        ({}, {"seeds": (0, 1)}, "seeds"),
        ({}, {"settings": {"weights": "other"}}, "weights"),
        ({"max_matches": 10}, {}, "max_matches"),
        ({"resize": Resize(long_side=256)}, {}, "resize"),
        ({"pose_estimators": ("poselib@2",)}, {}, "pose_estimators"),
    ],
)
def test_another_protocol_is_refused(world, tmp_path, changes, options, named):
    benchmark, truth = world
    partial = tmp_path / "p.jsonl"
    with pytest.raises(Killed):
        evaluate(benchmark, oracle(truth), partial=partial, on_record=killed_after(1))
    before = partial.read_bytes()
    changed = dataclasses.replace(benchmark, **changes)
    with pytest.raises(ValueError, match=rf"another protocol: {named} differ"):
        evaluate(changed, oracle(truth), partial=partial, **options)
    fewer = dataclasses.replace(benchmark, pairs=benchmark.pairs[1:])
    with pytest.raises(ValueError, match="another protocol: pairs, truth_sha256, whole differ"):
        evaluate(fewer, oracle(truth), partial=partial)
    first = benchmark.pairs[0]
    truth = dataclasses.replace(first.truth, K0=np.diag([2.0, 2, 1]) @ first.truth.K0)
    other = dataclasses.replace(first, truth=truth)
    moved = dataclasses.replace(benchmark, pairs=(other, *benchmark.pairs[1:]))
    with pytest.raises(ValueError, match="another protocol: truth_sha256 differ"):
        evaluate(moved, oracle(truth), partial=partial)
    assert partial.read_bytes() == before


def test_more_pairs_than_there_are_is_no_beginning(world, tmp_path):
    benchmark, truth = world
    partial = tmp_path / "p.jsonl"
    evaluate(benchmark, oracle(truth), partial=partial)
    lines = partial.read_text().splitlines()
    partial.write_text("\n".join([*lines, lines[-1]]) + "\n")
    with pytest.raises(ValueError, match=r"has 11 pairs of 10\. Remove it"):
        evaluate(benchmark, oracle(truth), partial=partial)


def test_a_damaged_line_is_named(world, tmp_path):
    benchmark, truth = world
    partial = tmp_path / "p.jsonl"
    with pytest.raises(Killed):
        evaluate(benchmark, oracle(truth), partial=partial, on_record=killed_after(2))
    header, first, *rest = partial.read_text().splitlines()
    partial.write_text("\n".join([header, first[:50], *rest]) + "\n")
    with pytest.raises(ValueError, match=r"p\.jsonl is not the beginning of a report"):
        evaluate(benchmark, oracle(truth), partial=partial)
