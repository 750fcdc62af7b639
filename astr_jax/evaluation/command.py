"""The sub-commands of eval.py, without the matchers, which are found by a function it gives."""

import argparse
import dataclasses
import pathlib
from typing import Protocol

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.pairs import read_pairs
from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.matchers.named import NamedMatcher
from astr_jax.evaluation.reports.compare import compare, comparison_tables, verdicts
from astr_jax.evaluation.reports.report import (
    Report,
    read_report,
    score_sets,
    stated,
    told_apart,
    write_report,
)
from astr_jax.evaluation.reports.runner import check_estimators, evaluate, protocol
from astr_jax.evaluation.reports.tables import (
    markdown_tables,
    print_table,
    published_tables,
    screen_table,
)
from astr_jax.evaluation.scores.kinds import KINDS, kind_of
from astr_jax.files import replacing

PAIRS_RESIZE = Resize(long_side=640, multiple=32)
BENCHMARKS = {  # name -> (what the folders are, least and most of them)
    "pairs": ("DIR: an index.json beside its images, or folders of such", 1, None),
    "megadepth1500": ("ROOT INDEX: the data, and the folder of the five index files", 2, 2),
    "scannet1500": ("ROOT INDEX [INTRINSICS]: the data, test.npz, intrinsics.npz", 2, 3),
    "hpatches": ("ROOT: the folder of the sequences v_* and i_*", 1, 1),
    "colmap": ("SCENE: images/ and sparse/, a COLMAP model; one or more", 1, None),
}


class FindMatcher(Protocol):
    """A matcher by its name. resize: the long side that it matches at; upright: as in
    astr_jax.match."""

    def __call__(
        self, name: str, weights: str | None, resize: int | None, *, upright: bool = True
    ) -> NamedMatcher: ...


def read_benchmark(name: str, folders: list[str], **options) -> Benchmark:
    """A benchmark by its name; options are those of its reader that are not None. They stand in
    the protocol, so that the same pairs are found again."""
    options = {key: value for key, value in options.items() if value is not None}
    benchmark = _read(name, folders, options)
    return dataclasses.replace(benchmark, reader_options=options)


def _read(name: str, folders: list[str], options: dict) -> Benchmark:
    what, least, most = BENCHMARKS.get(name, ("", 1, None))
    if not least <= len(folders) <= (most or len(folders)):
        raise ValueError(f"{name} takes {what}; got {' '.join(folders) or 'nothing'}.")
    if name == "pairs":
        pairs = read_pairs(folders, options.get("names"))
        return Benchmark(name=name, pairs=tuple(pairs), resize=PAIRS_RESIZE)
    if name == "colmap":
        from astr_jax.evaluation.benchmarks import colmap

        return colmap.read(folders, **options)
    from astr_jax.evaluation.benchmarks import hpatches, megadepth1500, scannet1500

    readers = {m.NAME: m.read for m in (hpatches, megadepth1500, scannet1500)}
    if name not in readers:
        raise ValueError(f"no benchmark {name!r}. There are: {', '.join(BENCHMARKS)}.")
    return readers[name](*folders, **options)


def with_options(benchmark: Benchmark, arguments: argparse.Namespace) -> Benchmark:
    """The benchmark with the size, the estimators and the number of matches asked for."""
    changes = {}
    sides = {"long_side": arguments.long_side, "short_side": arguments.short_side}
    multiple = benchmark.resize.multiple if arguments.multiple is None else arguments.multiple
    if any(side is not None for side in sides.values()):
        changes["resize"] = Resize(**sides, multiple=multiple)
    elif arguments.multiple is not None:
        changes["resize"] = dataclasses.replace(benchmark.resize, multiple=multiple)
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


def longest_side(benchmark: Benchmark) -> int:
    """The longest side in pixels that a picture of the benchmark has when it is matched."""
    resize = benchmark.resize
    if resize.long_side is not None:
        return resize.long_side
    if resize.size is not None:
        return max(resize.size)
    longest = 0
    for path in {path for pair in benchmark.pairs for path in (pair.image0, pair.image1)}:
        with Image.open(path) as file:
            longest = max(longest, *resize.new_size(*file.size))
    return longest


def run_benchmark(
    arguments: argparse.Namespace, find_matcher: FindMatcher, console: Console
) -> None:
    """Matches every pair, prints the scores, and writes the report if asked."""
    if arguments.seeds < 1:
        raise ValueError(f"--seeds is their number, 1 or more; got {arguments.seeds}.")
    out = checked_place(arguments.out)
    own = {name: getattr(arguments, name, None) for name in ("names", "per_band")}
    own["keep_very_large"] = getattr(arguments, "keep_very_large", None) or None
    benchmark = read_benchmark(arguments.command, arguments.folders, **own)
    benchmark = with_options(benchmark, arguments)
    seeds = tuple(range(arguments.seeds))
    check_estimators(benchmark, seeds)
    resize = arguments.resize
    if resize is None and arguments.matcher == "astr":
        resize = longest_side(benchmark)
    matcher = find_matcher(arguments.matcher, arguments.weights, resize, upright=arguments.upright)
    name = arguments.name or arguments.matcher
    stated = {"seeds": seeds, "settings": matcher.settings, "device": matcher.device}
    partial = out and out.with_name(f"{out.name}.partial.jsonl")
    with _progress(console) as bar:
        task = bar.add_task(name, total=len(benchmark.pairs))
        records = evaluate(
            benchmark,
            matcher.match,
            partial=partial,
            on_record=lambda r: bar.update(task, advance=1, description=r.set),
            **stated,
        )
    report = Report(matcher=name, protocol=protocol(benchmark, **stated), records=tuple(records))
    if out:
        write_report(report, out)
        partial.unlink()
    print_report(report, console)
    if records and all(record.failure for record in records):
        raise ValueError(f"every pair failed; the first one: {records[0].failure}")


def checked_place(path: str | None) -> pathlib.Path | None:
    """Where a file is to go, or None. Raises ValueError before any work where it cannot."""
    if path is None:
        return None
    if not pathlib.Path(path).resolve().parent.is_dir():
        raise ValueError(f"{path} cannot be written: its folder does not exist.")
    if pathlib.Path(path).is_dir():
        raise ValueError(f"{path} cannot be written: it is a folder; give a file in it.")
    return pathlib.Path(path)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )


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


def run_localisation(
    arguments: argparse.Namespace, find_matcher: FindMatcher, console: Console
) -> None:
    """Writes what hloc reads, and prints its command to go on."""
    from astr_jax.evaluation.localisation.export import PROTOCOLS, next_command, write_matches

    rule = PROTOCOLS[arguments.command]
    resize = rule.resize
    if arguments.long_side:
        resize = dataclasses.replace(resize, long_side=arguments.long_side)
    astr = arguments.matcher == "astr"
    side = arguments.resize or (resize.long_side if astr else None)
    matcher = find_matcher(arguments.matcher, arguments.weights, side, upright=arguments.upright)
    images = arguments.images or arguments.dataset
    with _progress(console) as bar:
        task = bar.add_task(arguments.matcher, total=None)
        written = write_matches(
            matcher.match,
            arguments.pairs,
            images,
            arguments.out,
            resize,
            quantisation=rule.quantisation,
            encode=matcher.encode,
            settings=matcher.settings,
            allow_failures=arguments.allow_failures,
            on_pair=lambda name: bar.update(task, advance=1),
            say=lambda text: console.print(text, markup=False),
        )
    for pair, message in written.failures.items():
        console.print(f"failed: {pair}: {message}", markup=False)
    console.print(
        f"{written.num_pairs} pairs, {written.num_new} of them new: {written.features}, "
        f"{written.matches}. Go on with:",
        markup=False,
    )
    print(
        next_command(
            arguments.command,
            written,
            dataset=arguments.dataset,
            image_dir=images,
            pairs_file=arguments.pairs,
        )
    )


def run_table(arguments: argparse.Namespace) -> None:
    """Prints the Markdown tables of reports, or the published figures beside them; or writes them
    into a Markdown file."""
    reports = told_apart([read_report(path) for path in arguments.reports])
    if arguments.published:
        name, text = "published", published_tables(reports)
    elif not reports:
        raise ValueError("give the reports to print, or --published.")
    else:
        name, text = "results", markdown_tables(reports, checked_only=arguments.checked)
    if arguments.into is None:
        print(text)
    else:
        write_between(pathlib.Path(arguments.into), name, text)


def write_between(path: pathlib.Path, name: str, text: str) -> None:
    """Replaces what a Markdown file has between <!-- NAME --> and <!-- end of NAME -->."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, found, rest = path.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{path} has no place for the tables: write {begin} and {end} there.")
    with replacing(path) as beside:
        beside.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")


def run_compare(arguments: argparse.Namespace, console: Console) -> None:
    comparison = compare(read_report(arguments.first), read_report(arguments.second))
    for table in comparison_tables(comparison):
        print_table(table, console)
    for line in verdicts(comparison):
        console.print(line, markup=False, highlight=False)


def run_page(arguments: argparse.Namespace, find_matcher: FindMatcher, console: Console) -> None:
    """Writes the HTML page, the curves as PNG, or both."""
    from astr_jax.evaluation.reports.figures import draw_curves
    from astr_jax.evaluation.reports.page import page_of
    from astr_jax.evaluation.reports.pictures import draw_pairs, matcher_of

    checked_place(arguments.out), checked_place(arguments.png)
    if not arguments.out and not arguments.png:
        raise ValueError("give --out FILE.html, --png FILE.png, or both.")
    if arguments.count < 0:
        raise ValueError(f"--count is a number of pairs; got {arguments.count}.")
    reports = told_apart([read_report(path) for path in arguments.reports])
    if arguments.png:
        with replacing(arguments.png) as beside:
            draw_curves(reports).savefig(beside, dpi=130)
    if arguments.out:
        pictures = []
        if arguments.images:
            first = reports[0]
            options = first.protocol.get("reader_options", {})
            benchmark = read_benchmark(first.protocol["benchmark"], arguments.images, **options)
            asked = {"name": arguments.matcher, "weights": arguments.weights}
            matcher = matcher_of(first, find_matcher, **asked)
            console.print(f"matching the best and the worst pairs of {first.matcher} again")
            pictures = draw_pairs(first, benchmark, matcher, count=arguments.count)
        with replacing(arguments.out) as beside:
            beside.write_text(page_of(reports, pictures), encoding="utf-8")
