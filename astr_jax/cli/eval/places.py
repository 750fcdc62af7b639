"""Tell pairs of one place from pairs with nothing in common: the pair score, judged by its ROC.

examples:
  astr eval places DIR --weights tiny
  astr eval places DIR --sets lund,statue,buddha --pairs 200 --png places.png
  astr eval places DIR --out places.json               killed half-way, the same command goes on
  astr eval places --from places.json --sets et,kermit --fit     the constants that fit these best
  astr eval places --from places.json --without et,kermit        and what they do on other pairs

DIR has folders with an index.json beside their images, as for astr eval pairs. Listed pairs show
one place; two pictures of different sets have nothing in common. Beside the pair score stand the
number of matches, and that of RANSAC's inliers to a fundamental matrix.
"""

import argparse
import dataclasses
import json
import pathlib

import numpy as np
from rich.console import Console

from astr_jax import pair_score
from astr_jax.cli.eval.matcher import add_matcher
from astr_jax.cli.files import check_marks, check_output, write_between
from astr_jax.cli.progress import progress_bar
from astr_jax.evaluation.benchmarks.pairs import read_pairs
from astr_jax.evaluation.matchers.named import find_matcher
from astr_jax.evaluation.studies.place_figures import draw_places, places_table
from astr_jax.evaluation.studies.places import (
    SIZE,
    apart,
    chosen,
    fitted,
    read_records,
    records_of,
    together,
)
from astr_jax.files import replacing

GOES_ON = "; with --out the same command goes on"
MARK = "places"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr eval places."""
    add = parser.add_argument
    add("folders", nargs="*", metavar="DIR", help="folders of sets, each of another place")
    add("--from", dest="known", metavar="FILE.json", help="match nothing: the pairs of this --out")
    add_matcher(parser)
    sets = {"type": lambda text: text.split(","), "metavar": "A,B"}
    add("--sets", help="only pairs of these sets", **sets)
    add("--without", help="only pairs not wholly of these sets", **sets)
    add("--pairs", type=int, default=320, metavar="N", help="of each kind, at most; default 320")
    add("--seed", type=int, default=0, help="of the draw")
    add("--out", metavar="FILE.json", help="write what each pair holds to this file")
    add("--png", metavar="FILE.png", help="draw the ROC")
    add("--into", metavar="FILE.md", help=f"write the table there, between <!-- {MARK} --> marks")
    add("--fit", action="store_true", help="print the constants that fit these pairs best")


def run(arguments: argparse.Namespace) -> None:
    """Matches pairs of both kinds; prints, draws and writes what tells them apart."""
    console, out = Console(), check_output(arguments.out, ("json",))
    check_output(arguments.png, ("png",))
    if arguments.into:
        check_marks(pathlib.Path(arguments.into), MARK)
    if arguments.pairs < 1:
        raise ValueError(f"--pairs must be at least 1; got {arguments.pairs}.")
    if (arguments.known is None) == (not arguments.folders):
        raise ValueError("give folders of pairs, or --from FILE.json, and not both.")
    if arguments.known:
        settings, records = read_records(arguments.known)
        records = chosen(records, arguments.sets, arguments.without)
    else:
        settings, records = match_places(arguments, console, out)
    table = places_table(records)
    console.print(table, markup=False, highlight=False, soft_wrap=True)
    if arguments.fit:
        evidence = np.array([record.evidence for record in records])
        constants = fitted(evidence, np.array([record.same for record in records]))
        names = (*pair_score.EVIDENCE, "constant")
        words = ", ".join(f"{n} {c:.3f}" for n, c in zip(names, constants, strict=True))
        console.print(f"fitted: {words}", markup=False, highlight=False)
    if arguments.png:
        with replacing(arguments.png) as beside:
            draw_places(records).savefig(beside, dpi=110)
    if arguments.into:
        write_between(pathlib.Path(arguments.into), MARK, table)
    if out:
        rows = [dataclasses.asdict(record) | {"score": record.score} for record in records]
        with replacing(out) as beside:
            beside.write_text(json.dumps({"settings": settings, "pairs": rows}, indent=1) + "\n")
        partial_of(out).unlink(missing_ok=True)


def match_places(arguments, console: Console, out: pathlib.Path | None):
    """Settings and records of pairs that are drawn and matched."""
    listed = read_pairs(arguments.folders, arguments.sets)
    drawn = [kind(listed, arguments.pairs, arguments.seed) for kind in (together, apart)]
    order = chosen([*drawn[0], *drawn[1]], None, arguments.without)
    resize = SIZE.long_side if arguments.matcher == "astr" else None
    matcher = find_matcher(arguments.matcher, arguments.weights, resize)
    records, partial = [], out and partial_of(out)
    with progress_bar(console) as bar:
        task = bar.add_task(arguments.matcher, total=len(order))
        for record in records_of(matcher.match, order, matcher.settings, partial):
            records.append(record)
            bar.update(task, advance=1)
    return matcher.settings | {"seed": arguments.seed}, records


def partial_of(out: pathlib.Path) -> pathlib.Path:
    """Where the records lie until all are there."""
    return out.with_name(f"{out.name}.partial.jsonl")
