"""Make confidence and sigma of weights mean what they say.

examples:
  astr eval calibrate DIR --weights in.safetensors --out out.safetensors
  astr eval calibrate DIR --sets sceaux --dry-run            look, write nothing

Finds the temperature, the threshold and sigma's factor on pairs with known geometry, and shows what
they are worth before and after.
"""

import argparse
import dataclasses
import pathlib

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from astr_jax.cli.files import check_output
from astr_jax.cli.progress import progress_bar
from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.reading import longest_side, read_benchmark
from astr_jax.evaluation.benchmarks.resizing import load_pair
from astr_jax.evaluation.matchers.named import AstrCandidates, NamedMatcher, astr_matcher
from astr_jax.evaluation.reports.records import PairRecord
from astr_jax.evaluation.reports.runner import evaluate
from astr_jax.evaluation.reports.tables import print_table
from astr_jax.evaluation.scores.found import checked_matches
from astr_jax.evaluation.scores.kinds import KINDS, kind_of
from astr_jax.evaluation.scores.pair_kind import PairKind
from astr_jax.evaluation.studies.calibration import calibration_of, write_calibrated
from astr_jax.evaluation.studies.calibration_fit import (
    TEMPERATURES,
    JudgedCandidates,
    Score,
    judged_kind,
    score_of,
)
from astr_jax.params import Calibration, find_weights, read_header


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr eval calibrate."""
    add = parser.add_argument
    add("folders", nargs="+", metavar="DIR", help="as of pairs: development pairs")
    add("--sets", dest="names", type=lambda t: t.split(","), metavar="A,B", help="only these sets")
    add("--weights", help="a shipped name or a file; default: the best")
    add("--out", metavar="FILE.safetensors", help="may be the file of --weights")
    add("--dry-run", action="store_true", help="write nothing")
    add("--seeds", type=int, default=5, metavar="N", help="of the estimator; default 5")
    add("--threshold", type=float, metavar="T", help="take this one, in [0, 1), whatever is found")
    add("--long-side", type=int, metavar="PX", help="of the images, for matching; default 640")


def run(arguments: argparse.Namespace) -> None:
    """Prints what it finds, before and after, and writes the weights unless it is a dry run."""
    console, out = Console(), _checked_out(arguments.out, arguments.dry_run)
    path = find_weights(arguments.weights)
    own = read_header(path).calibration
    benchmark = read_benchmark("pairs", arguments.folders, names=arguments.names)
    if arguments.long_side is not None:
        if arguments.long_side < 64:
            raise ValueError(f"--long-side must be at least 64 pixels; got {arguments.long_side}.")
        side = dataclasses.replace(benchmark.resize, long_side=arguments.long_side)
        benchmark = dataclasses.replace(benchmark, resize=side)
    benchmark = dataclasses.replace(
        benchmark, **{kind.estimators_key: (kind.judge,) for kind in KINDS}
    )
    if arguments.threshold is not None and not 0 <= arguments.threshold < 1:
        raise ValueError(f"--threshold must lie in [0, 1); got {arguments.threshold}.")
    if arguments.seeds < 1:
        raise ValueError(f"--seeds must be at least 1; got {arguments.seeds}.")
    seeds, resize = tuple(range(arguments.seeds)), longest_side(benchmark)

    def measured(calibration: Calibration, words: str) -> Score:
        matcher = astr_matcher(str(path), resize, calibration)
        return score_of(_evaluated(benchmark, matcher, seeds, words, console))

    before = measured(own, "before")
    match = AstrCandidates(str(path), resize, TEMPERATURES)
    pairs = track(benchmark.pairs, "all matches", console=console)
    candidates = [_candidates(pair, benchmark, match) for pair in pairs]
    found, scores = calibration_of(candidates, seeds, console)
    if arguments.threshold is not None:
        found = dataclasses.replace(found, threshold=arguments.threshold)
    after = measured(found, "after")
    kind = judged_kind([kind_of(pair) for pair in benchmark.pairs])
    print_table(_threshold_table(scores, kind), console)
    print_table(_before_and_after({own: before, found: after}, kind), console)
    for line in _remarks(found, len(candidates), len(seeds)):
        console.print(line, markup=False, highlight=False)
    if out is not None:
        write_calibrated(path, out, found)
        console.print(f"wrote {out}", markup=False, highlight=False)


def _checked_out(out: str | None, dry_run: bool) -> pathlib.Path | None:
    """Where the weights are to go; None: nowhere."""
    if dry_run == (out is not None):
        raise ValueError("give either --out FILE.safetensors or --dry-run.")
    if dry_run:
        return None
    return check_output(out, ("safetensors",))


def _evaluated(
    benchmark: Benchmark, matcher: NamedMatcher, seeds, words: str, console: Console
) -> list[PairRecord]:
    """The records of all pairs; one that fails is an error here."""
    with progress_bar(console) as bar:
        task = bar.add_task(words, total=len(benchmark.pairs))
        records = evaluate(
            benchmark, matcher.match, seeds=seeds, on_record=lambda _: bar.advance(task)
        )
    failed = [record for record in records if record.failure]
    if failed:
        first = failed[0]
        raise ValueError(
            f"{len(failed)} of {len(records)} pairs failed; the first one, {first.set} "
            f"{first.name}: {first.failure}"
        )
    return records


def _candidates(pair, benchmark: Benchmark, match) -> JudgedCandidates:
    given = load_pair(pair, benchmark.resize)
    returned, log_confidence = match(given.image0, given.image1, **given.truth.cameras)
    return JudgedCandidates.of(pair, given, checked_matches(returned), np.asarray(log_confidence))


def _area_name(kind: PairKind) -> str:
    return f"{kind.name} {kind.solved_area}{kind.short_unit} {kind.judge}"


def _threshold_table(scores: dict[float, Score], kind: PairKind) -> Table:
    table = Table(title="thresholds, of calibrated confidence", box=box.SIMPLE_HEAD)
    for column in ("threshold", "right %", "matches", _area_name(kind)):
        table.add_column(column, justify="right")
    for threshold, score in scores.items():
        table.add_row(f"{threshold:g}", *_cells(score))
    return table


def _before_and_after(scores: dict[Calibration, Score], kind: PairKind) -> Table:
    table = Table(title="calibration", box=box.SIMPLE_HEAD)
    table.add_column("")
    names = ("temperature", "sigma factor", "threshold", "ECE", "sigma still x")
    for column in (*names, "right %", "matches", _area_name(kind)):
        table.add_column(column, justify="right")
    words = ("before", "after")[2 - len(scores) :]  # one row where nothing changed
    for name, (c, score) in zip(words, scores.items(), strict=True):
        still = "-" if score.sigma_fit is None else f"{score.sigma_fit:.3f}"
        stated = (f"{c.temperature:g}", f"{c.sigma_factor:g}", f"{c.threshold:g}")
        table.add_row(name, *stated, f"{score.calibration_error:.3f}", still, *_cells(score))
    return table


def _cells(score: Score) -> tuple[str, str, str]:
    return f"{100 * score.precision:.1f}", f"{score.num_matches:.0f}", f"{100 * score.auc:.1f}"


def _remarks(found: Calibration, num_pairs: int, num_seeds: int) -> list[str]:
    lines = [f"found and judged on the same {num_pairs} pairs; other pairs will differ."]
    if num_seeds > 1:
        lines.append(f"AUC is the mean over {num_seeds} seeds of the estimator.")
    low, high = TEMPERATURES[[0, -1]]
    if not low < found.temperature < high:
        lines.append(
            f"The temperature stands at the end of {low:g} to {high:g}: the best one may lie "
            "beyond; calibrating the result again looks no further."
        )
    return lines
