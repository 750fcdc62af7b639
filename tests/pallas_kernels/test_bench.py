"""What the bench times, what it counts and prints, and the examples of the package's README."""

import json
import pathlib
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from pallas_kernels import timing
from pallas_kernels.sparse_attention import bench
from pallas_kernels.sparse_attention.bench_problems import (
    CUDNN,
    DENSE,
    attention_function,
    attention_problem,
    bias_of,
    dual_function,
    dual_problem,
    field_spots,
    grid_of,
    with_gradients,
)
from pallas_kernels.sparse_attention.bench_rows import Bench, Case, Row, fits
from pallas_kernels.sparse_attention.choice import mean_active_tiles

GRID = (9, 12)
CASE = Case("attention", 108, 50.0, outliers=0.0, active_tiles=2.0)
PEAKS = timing.Peaks(flops_per_s=1e12, bytes_per_s=1e9, source="a test")


def results(function, problem):
    return jax.jit(with_gradients(function))(problem.inputs, problem.index, problem.cotangent)


def broken(*_):
    raise NotImplementedError("no rule\n  for this")


def assert_same(actual, expected):
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", [x for x in bench.NAMES if x not in ("segment_sum", "triton")])
def test_all_that_is_timed_gives_the_same_output_and_gradients(name, monkeypatch):
    # cuDNN needs a GPU: XLA stands in for it, with the same arguments.
    attend = jax.nn.dot_product_attention
    monkeypatch.setattr(
        jax.nn, "dot_product_attention", lambda *x, implementation: attend(*x, implementation="xla")
    )
    spots = field_spots(GRID, 0.3)
    lists = spots.lists()
    problem = attention_problem(spots, lists, heads=2, dim=8, dtype="float32")
    expected = results(attention_function("segment_sum"), problem)
    if name in (DENSE, CUDNN):
        problem = problem.with_bias(bias_of(lists, "float32"))
    assert_same(results(attention_function(name), problem), expected)


@pytest.mark.parametrize("name", [x for x in bench.OF_DUAL if x != "gather"])
def test_every_matching_matrix_that_is_timed_is_the_same(name):
    spots = field_spots(GRID, 0.1)
    problem = dual_problem(spots, spots.lists(), 16, "float32")
    out, (lse0, lse1, *best), gradients = results(dual_function("gather"), problem)
    if name == DENSE:
        problem = problem.with_bias(bias_of(spots.lists(), "float32"))
    own, (own0, own1, *own_best), own_gradients = results(dual_function(name), problem)
    assert_same((own, own0, own_best, own_gradients), (out, lse0, best, gradients))
    listed = np.asarray(lse1) > -1e29  # the dense one says about -1e30 for a key without queries
    assert_same(own1[listed], lse1[listed])


def test_a_smooth_field_has_compact_spots_and_a_random_one_does_not():
    def keys_and_tiles(outliers):
        spots = field_spots((60, 80), outliers)
        keys = (spots.lists().cells >= 0).sum(axis=1)
        assert keys.min() >= 25  # a window of 5 x 5 is inside the grid
        return float(keys.mean()), float(mean_active_tiles(spots))

    smooth, some, random = (keys_and_tiles(share) for share in (0.0, 0.3, 1.0))
    assert 42 < smooth[0] < 60 < some[0] < 120 < random[0] <= 125
    assert 5 < smooth[1] < 12 < some[1] < random[1] <= 80


def test_the_first_centre_is_the_match_of_the_similarity():
    spots = field_spots((41, 41), 0.0)
    centres = np.asarray(spots.centres)[:, 0]
    assert centres[20 * 41 + 20] == 20 * 41 + 20  # the middle stays
    y, x = np.divmod(centres[[20 * 41 + 30, 30 * 41 + 20]], 41)  # 10 right, 10 down of it
    assert np.allclose(np.hypot(y - 20, x - 20), 13, atol=0.75)
    assert np.allclose(np.abs([y[0] - 20, x[1] - 20]), 6.5, atol=0.5)  # 13 sin 30 degrees


def test_costs_count_pairs_and_every_array_once():
    spots = field_spots(GRID, 0.0)
    lists = spots.lists()
    pairs = sum(len(set(row[row >= 0].tolist())) for row in np.asarray(lists.cells))
    array, centres = 108 * 2 * 8 * 2, 108 * 5 * 4  # bytes
    problem = attention_problem(spots, lists, heads=2, dim=8, dtype="bfloat16")
    assert problem.forward == timing.Cost(4 * pairs * 16, 4 * array + centres)
    assert problem.both == timing.Cost(12 * pairs * 16, 8 * array + centres)
    of_lists = attention_problem(lists, lists, heads=2, dim=8, dtype="bfloat16")
    assert of_lists.forward.bytes == 4 * array + 108 * 125 * 4
    dual = dual_problem(spots, lists, 16, "float32")
    assert dual.forward == timing.Cost(2 * pairs * 16, 2 * 108 * 16 * 4 + centres + 5 * 4 * 108)


def test_cells_make_a_grid_of_3_to_4_or_a_square():
    assert [grid_of(n) for n in (4800, 10816, 300)] == [(60, 80), (104, 104), (15, 20)]
    with pytest.raises(ValueError, match=r"12 k\^2 .* or k\^2 .*, got 4801"):
        grid_of(4801)


def test_the_roofline_is_the_slower_of_work_and_traffic():
    assert PEAKS.least_ms(timing.Cost(flops=2e9, bytes=1e6)) == pytest.approx(2.0)
    assert PEAKS.least_ms(timing.Cost(flops=2e9, bytes=3e6)) == pytest.approx(3.0)


def test_a_known_device_has_known_peaks_and_another_is_measured():
    h200 = types.SimpleNamespace(device_kind="NVIDIA H200", platform="gpu")
    assert timing.peaks_of(h200, "bfloat16").flops_per_s == 788e12
    peaks = timing.measured_peaks("float32", side=128, numbers=2**16)
    assert 1e7 < peaks.flops_per_s < 1e16
    assert 1e7 < peaks.bytes_per_s < 1e14


def test_a_program_that_plans_too_much_memory_does_not_run():
    def outer(x):
        return jnp.sort(x[:, None] * x[None], axis=0).sum()

    with pytest.raises(MemoryError, match=r"needs 0.0 GB, more than --most-gb 0.001"):
        timing.compile_within(1e-3, outer, jnp.ones(1000))
    compiled = timing.compile_within(1.0, outer, jnp.ones(1000))
    assert timing.measure(compiled, jnp.ones(1000), repeats=1).temporary_mb >= 4


def test_a_row_that_fails_is_told_in_one_line_and_the_others_go_on():
    spots = field_spots(GRID, 0.0)
    problem = attention_problem(spots, spots.lists(), heads=1, dim=8, dtype="float32")
    work = Bench(PEAKS, repeats=1, most_gb=1.0)
    notes = [row.note for row in work.rows(CASE, "broken", broken, problem)]
    assert notes == ["failed: NotImplementedError: no rule for this"] * 2
    good = list(work.rows(CASE, "gather", attention_function("gather"), problem))
    for row, cost in zip(good, (problem.forward, problem.both), strict=True):
        assert row.tflops == pytest.approx(cost.flops / row.ms / 1e9)
        assert row.roofline == pytest.approx(PEAKS.least_ms(cost) / row.ms)
    little = Bench(PEAKS, repeats=1, most_gb=1e-6)
    rows = little.rows(CASE, "gather", attention_function("gather"), problem)
    assert all(row.note.startswith("left out: needs") for row in rows)


def test_a_program_is_compiled_once_for_all_outliers():
    work = Bench(PEAKS, repeats=1, most_gb=1.0)
    for outliers in (0.0, 0.5):
        spots = field_spots(GRID, outliers)
        problem = attention_problem(spots, spots.lists(), heads=1, dim=8, dtype="float32")
        case = Case("attention", 108, 50.0, outliers, 2.0)
        rows = list(work.rows(case, "gather", attention_function("gather"), problem))
        assert [(row.case.outliers, row.note) for row in rows] == [(outliers, "")] * 2
    assert len(work.programs) == 2  # forward, and with gradients


def test_fits_find_a_line_and_leave_out_what_was_not_measured():
    def row(slots, **found):
        return Row(Case("growth", 1000, slots, slots=slots), "gather", "forward", **found)

    rows = [row(s, ms=1 + 5e-3 * s, temporary_mb=2.0 * s) for s in (100, 200, 400)]
    ms, mb = fits([*rows, row(800, note="failed: x")])
    assert (ms.y, mb.y) == ("ms", "temporary_mb")
    assert (ms.at_zero, ms.slope, ms.r_squared) == pytest.approx((1, 5, 1))
    assert (mb.at_zero, mb.slope, mb.r_squared) == pytest.approx((0, 2000, 1))
    assert not list(fits(rows[:2]))


@pytest.fixture
def quick_peaks(monkeypatch):
    monkeypatch.setattr(bench, "peaks_of", lambda device, dtype: PEAKS)


SMALL = ["--n", "108", "--heads", "1", "--dim", "8", "--repeats", "1", "--only", "gather"]


def test_the_command_writes_what_it_prints(tmp_path, capsys, quick_peaks):
    file = tmp_path / "bench.json"
    more = ["segment_sum", DENSE, "--outliers", "0", "1", "--json", str(file)]
    with pytest.raises(SystemExit) as end:
        bench.main([*SMALL, *more])
    assert end.value.code == 0
    found = json.loads(file.read_text())
    names = [row["implementation"] for row in found["rows"]]
    # dense attention does not depend on the outliers
    assert [names.count(name) for name in ("gather", "segment_sum", DENSE)] == [4, 4, 2]
    printed = capsys.readouterr().out
    assert all(f"{row['ms']:9.3f}" in printed for row in found["rows"])
    assert "108, 100 % outliers: " in printed


def test_the_memory_of_growing_lists_is_a_line(tmp_path, capsys, quick_peaks):
    file = tmp_path / "bench.json"
    with pytest.raises(SystemExit):
        bench.main([*SMALL, "--growth", "--dual", "--slots", "16", "32", "64", "--json", str(file)])
    found = json.loads(file.read_text())
    assert {row["case"]["part"] for row in found["rows"]} == {"dual", "growth"}
    memory = [fit for fit in found["fits"] if fit["y"] == "temporary_mb"]
    assert len(memory) == 2
    assert all(fit["r_squared"] > 0.95 and fit["slope"] > 0 for fit in memory)


def test_the_command_exits_with_1_when_a_row_fails(capsys, quick_peaks, monkeypatch):
    monkeypatch.setattr(bench, "attention_function", lambda name: broken)
    with pytest.raises(SystemExit) as end:
        bench.main(SMALL)
    assert end.value.code == 1
    assert "failed: NotImplementedError: no rule for this" in capsys.readouterr().out


def test_a_number_of_cells_without_a_grid_is_refused(capsys):
    with pytest.raises(SystemExit):
        bench.parse(["--n", "4801"])
    assert "got 4801" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("platform", "dtype", "absent"),
    [
        ("cpu", "float32", {"None", "dense", "pallas_lists", "pallas_tiles", "triton", CUDNN}),
        ("gpu", "float32", {"triton", CUDNN}),
        ("gpu", "bfloat16", {"triton"}),
    ],
)
def test_the_default_is_what_runs_on_the_device(platform, dtype, absent, monkeypatch, capsys):
    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: None)
    assert set(bench.NAMES) - set(bench.default_names(platform, dtype)) == absent
    told = capsys.readouterr().err
    assert all(name in told for name in absent)


def test_the_examples_of_the_readme_run():
    text = (pathlib.Path(pallas_kernels.__file__).parent / "README.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    for example in examples:
        exec(compile(example, "README.md", "exec"), names)
    doors = {"attend", "dual_softmax", "sparse_attention", "sparse_dual_softmax"}
    assert doors | {"spot_attention", "spot_dual_softmax"} <= set(names)
