"""Do the spots hold the true cells: what each spot-guided block looks at.

examples:
  astr eval spots --weights tiny --photos DIR

On homographies of held-back photographs, for every block: how many cells a spot has, how often the
true partner is among them, and how much the sparse matching matrix inflates.
"""

import argparse

from rich.console import Console
from rich.table import Table

from astr_jax.data.homography import HomographyConfig, HomographyPairs
from astr_jax.data.photos import list_photos, read_photos, split_photos
from astr_jax.evaluation.reports.tables import print_table
from astr_jax.evaluation.studies.spots import spot_statistics
from astr_jax.params import find_weights, load_params


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr eval spots."""
    parser.add_argument("--weights", default="tiny", help="a shipped name or a file; default tiny")
    parser.add_argument(
        "--photos", required=True, metavar="DIR", help="photographs; every 40th, held back, is used"
    )
    parser.add_argument("--pairs", type=int, default=64, help="how many; default 64")
    parser.add_argument(
        "--difficulty", type=float, default=0.5, help="of the pairs, in [0, 1]; default 0.5"
    )
    parser.add_argument("--size", type=int, nargs=2, default=(256, 320), metavar=("H", "W"))


def run(arguments: argparse.Namespace) -> None:
    """Measures every block and prints a table."""
    if arguments.pairs < 1:
        raise ValueError(f"--pairs must be positive; got {arguments.pairs}.")
    params = load_params(find_weights(arguments.weights))
    photos = read_photos(split_photos(list_photos(arguments.photos))[1])
    height, width = arguments.size
    data = HomographyPairs(photos, HomographyConfig(height=height, width=width), seed=2)
    batches = [
        data.stack(range(4 * i, 4 * i + 4), arguments.difficulty)
        for i in range(-(-arguments.pairs // 4))
    ]
    table = Table(title=f"spots of {len(batches) * 4} pairs of {width} x {height}")
    for column in ("block", "cells", "recall", "keys listed once", "P here / P at the end"):
        table.add_column(column, justify="right")
    for number, s in enumerate(spot_statistics(params, batches), start=1):
        table.add_row(
            str(number),
            f"{s.cells:.1f}",
            f"{s.recall:.1%}",
            f"{s.listed_once:.1%}",
            f"{s.inflation:.2f}",
        )
    print_table(table, Console())
