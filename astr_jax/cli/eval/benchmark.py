"""What the commands of all benchmarks share: options, matching, scores."""

import argparse
import dataclasses

from rich.console import Console

from astr_jax.cli.eval.matcher import add_matcher, add_size, asked_matcher
from astr_jax.cli.files import check_output
from astr_jax.cli.progress import progress_bar
from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.reading import (
    BENCHMARKS,
    longest_side,
    read_benchmark,
    resized,
)
from astr_jax.evaluation.reports.report import Report, score_sets, stated, write_report
from astr_jax.evaluation.reports.runner import check_estimators, evaluate, protocol
from astr_jax.evaluation.reports.tables import print_table, screen_table
from astr_jax.evaluation.scores.kinds import KINDS, kind_of

GOES_ON = "; with --out the same command goes on"


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """The folders of a benchmark, the options that all share, and those of one."""
    add, (folders, _, most) = parser.add_argument, BENCHMARKS[name]
    add("folders", nargs="+", metavar="DIR" if most is None else "PATH", help=folders)
    add_matcher(parser)
    add("--name", help="what the report calls the matcher; default: --matcher")
    add("--out", metavar="FILE.json", help="write every pair's errors to this file")
    estimators = {"metavar": "A@PX,B@PX"}
    add("--pose-estimators", help="such as poselib@1,ransac@0.5,magsac@1", **estimators)
    add("--homography-estimators", help="such as magsac@3,ransac@3,poselib@3", **estimators)
    add("--seeds", type=int, default=1, metavar="N", help="seeds 0 to N - 1 of the estimators")
    add("--max-matches", type=int, metavar="N", help="score the N most confident alone")
    sides = parser.add_mutually_exclusive_group()
    sides.add_argument("--long-side", type=int, metavar="PX", help="of the images, for matching")
    sides.add_argument("--short-side", type=int, metavar="PX", help="likewise")
    add("--multiple", type=int, metavar="PX", help="sides are rounded down to multiples of it")
    add_size(parser)
    if name == "pairs":
        sets = {"dest": "names", "type": lambda text: text.split(","), "metavar": "A,B"}
        add("--sets", help="only these sets", **sets)
    if name == "hpatches":
        add("--keep-very-large", action="store_true", help="the eight left out by D2-Net too")
    if name == "colmap":
        add("--per-band", type=int, metavar="N", help="pairs of each band of each scene; 300")


def run_benchmark(name: str, arguments: argparse.Namespace) -> None:
    """Matches every pair, prints the scores, and writes the report if asked."""
    if arguments.seeds < 1:
        raise ValueError(f"--seeds is their number, 1 or more; got {arguments.seeds}.")
    console, out = Console(), check_output(arguments.out)
    own = {name: getattr(arguments, name, None) for name in ("names", "per_band")}
    own["keep_very_large"] = getattr(arguments, "keep_very_large", None) or None
    benchmark = read_benchmark(name, arguments.folders, **own)
    benchmark = with_options(benchmark, arguments)
    seeds = tuple(range(arguments.seeds))
    check_estimators(benchmark, seeds)
    resize = arguments.resize
    if resize is None and arguments.matcher == "astr":
        resize = longest_side(benchmark)
    matcher = asked_matcher(arguments, resize)
    title = arguments.name or arguments.matcher
    given = {"seeds": seeds, "settings": matcher.settings, "device": matcher.device}
    partial = out and out.with_name(f"{out.name}.partial.jsonl")
    with progress_bar(console) as bar:
        task = bar.add_task(title, total=len(benchmark.pairs))
        records = evaluate(
            benchmark,
            matcher.match,
            partial=partial,
            on_record=lambda r: bar.update(task, advance=1, description=r.set),
            **given,
        )
    report = Report(matcher=title, protocol=protocol(benchmark, **given), records=tuple(records))
    if out:
        write_report(report, out)
        partial.unlink()
    print_report(report, console)
    if records and all(record.failure for record in records):
        raise ValueError(f"every pair failed; the first one: {records[0].failure}")


def with_options(benchmark: Benchmark, arguments: argparse.Namespace) -> Benchmark:
    """The benchmark with the size, the estimators and the number of matches asked for."""
    changes = {}
    sides = {name: getattr(arguments, name) for name in ("long_side", "short_side", "multiple")}
    benchmark = resized(benchmark, **sides)
    if arguments.max_matches is not None:
        if arguments.max_matches < 1:
            raise ValueError(f"--max-matches must be at least 1; got {arguments.max_matches}.")
        changes["max_matches"] = arguments.max_matches
    kinds = {kind_of(pair) for pair in benchmark.pairs}
    for kind in KINDS:
        names = getattr(arguments, kind.estimators_key)
        if names is None:
            continue
        if kind not in kinds:
            raise ValueError(
                f"--{kind.name}-estimators: {benchmark.name} has no pairs of this kind."
            )
        changes[kind.estimators_key] = tuple(name.strip() for name in names.split(","))
    return dataclasses.replace(benchmark, **changes)


def print_report(report: Report, console: Console) -> None:
    seeds = len(report.protocol["seeds"])
    for kind in dict.fromkeys(record.kind for record in report.records):
        group = [record for record in report.records if record.kind == kind]
        print_table(screen_table(score_sets(group), seeds), console)
        if 0 < sum(record.checked for record in group) < len(group):
            print_table(screen_table(score_sets(group, checked_only=True), seeds), console)
    words = (f"{key} {value}" for key, value in stated(report).items())
    console.print(f"{report.matcher}: {', '.join(words)}", markup=False, highlight=False)
    if report.missing:
        console.print(f"Incomplete: {report.missing}.", markup=False, highlight=False)
    for record in report.records:
        if record.failure:
            console.print(f"failed: {record.set} {record.name}: {record.failure}", markup=False)
