"""Change one thing at a time: what breaks a matcher, and by how much.

examples:
  astr eval sweep --photos DIR --weights tiny --matcher sift --png sweep.png
  astr eval sweep --photos DIR --sweep scale=1,2,4 rotation --out sweep.json

Image 1 is image 0 seen again from further aside, turned, smaller, blurred, in another light or
noisy. The truth is a homography, and exact.
"""

import argparse
import json

import numpy as np
from rich.console import Console
from rich.progress import track

from astr_jax.cli.eval.matcher import add_matchers, find_matchers
from astr_jax.cli.files import check_output
from astr_jax.data.photos import read_photos
from astr_jax.evaluation.reports.tables import print_table
from astr_jax.evaluation.studies.sweep_figures import draw_sweeps, tables_of
from astr_jax.evaluation.studies.sweeps import (
    ESTIMATOR,
    changes_of,
    choose_photos,
    match_changes,
    parse_sweeps,
    sweep_rows,
)
from astr_jax.files import replacing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr eval sweep."""
    add = parser.add_argument
    add(
        "--photos", required=True, nargs="+", metavar="PATH", help="photographs, or folders of them"
    )
    add("--count", type=int, default=20, metavar="N", help="photographs drawn at most; default 20")
    add("--seed", type=int, default=0, help="of the draw, of the views and of the noise")
    add("--long-side", type=int, default=640, metavar="PX", help="photographs are shrunk to it")
    add_matchers(parser)
    add("--sweep", nargs="+", metavar="NAME[=A,B]", help="these alone, at these amounts if given")
    add("--out", metavar="FILE.json", help="write all scores to this file")
    add("--png", metavar="FILE.png", help="draw them")


def run(arguments: argparse.Namespace) -> None:
    """Matches every change of every photograph by every matcher; prints and writes the scores."""
    console = Console()
    check_output(arguments.out, ("json",)), check_output(arguments.png, ("png",))
    if arguments.long_side < 64:
        raise ValueError(f"--long-side must be at least 64 pixels; got {arguments.long_side}.")
    sweeps = parse_sweeps(arguments.sweep)
    paths = choose_photos(arguments.photos, arguments.count, arguments.seed)
    photos = read_photos(paths, long_side=arguments.long_side)
    matchers = find_matchers(arguments.weights, arguments.matcher, arguments.long_side)
    changes, rows = changes_of(sweeps), []
    for name, matcher in matchers.items():
        pairs = match_changes(matcher.match, photos, changes, arguments.seed)
        scores = {change: [] for change in changes}
        total = len(photos) * len(changes)
        for change, score in track(pairs, name, total=total, console=console):
            scores[change].append(score)
        rows += sweep_rows(name, scores, sweeps)
        _print_speed(name, [score for group in scores.values() for score in group], console)
    for table in tables_of(rows, sweeps):
        print_table(table, console)
    if arguments.png:
        with replacing(arguments.png) as beside:
            draw_sweeps(rows, sweeps).savefig(beside, dpi=130)
    if arguments.out:
        settings = {
            "photographs": list(photos.names),
            "sizes": sorted({f"{p.shape[1]} x {p.shape[0]}" for p in photos}),
            "seed": arguments.seed,
            "homography_estimator": ESTIMATOR,
            "matchers": {name: matcher.settings for name, matcher in matchers.items()},
        }
        with replacing(arguments.out) as beside:
            beside.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n")


def _print_speed(name: str, scores, console: Console) -> None:
    failures = [score.failure for score in scores if score.failure]
    if len(failures) == len(scores):
        raise ValueError(f"{name} failed on every pair; the first one: {failures[0]}")
    seconds = np.median([score.seconds for score in scores if not score.failure])
    text = f"{name}: {len(scores)} pairs, {seconds:.2f} s a pair"
    if failures:
        text += f"; {len(failures)} failed, the first one: {failures[0]}"
    console.print(text, markup=False, highlight=False)
