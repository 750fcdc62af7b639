"""Does adaptive scaling help: the same matches refined with it, without, and by the truth.

examples:
  astr eval scaling --weights tiny --photos DIR                  on synthetic worlds
  astr eval scaling --weights tiny --photos DIR --cells true     the fine stage alone
  astr eval scaling --weights tiny --posed folders DIR           on real pairs with depth

Takes synthetic worlds whose cameras stand at distances of ratio 2 to 4 from the point looked at, or
pairs of a data set whose median scale ratio is --min-ratio or more, either way. With --cells true
the coarse matches are the true ones.
"""

import argparse
import json
from collections.abc import Iterable

from rich.console import Console

from astr_jax.cli.dataset import KIND_HELP, add_dataset_arguments, dataset_of
from astr_jax.cli.files import check_output
from astr_jax.data.photos import list_photos, read_photos, split_photos
from astr_jax.data.readers import BadFiles
from astr_jax.data.worlds import WorldConfig
from astr_jax.evaluation.reports.tables import print_table
from astr_jax.evaluation.studies.scaling import refine, summaries, table_of
from astr_jax.evaluation.studies.scaling_pairs import (
    BATCH,
    find_pairs,
    posed_batches,
    world_batches,
)
from astr_jax.files import replacing
from astr_jax.params import find_weights, load_params
from astr_jax.supervision import PairBatch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr eval scaling."""
    parser.add_argument("--weights", default="tiny", help="a shipped name or a file; default tiny")
    parser.add_argument(
        "--photos", metavar="DIR", help="for worlds: photographs; every 40th, held back, is used"
    )
    parser.add_argument(
        "--posed",
        nargs="+",
        metavar=("KIND", "DIR"),
        help=f"pairs with depth instead: {KIND_HELP}",
    )
    parser.add_argument("--min-ratio", type=float, default=1.5, help="of --posed; default 1.5")
    parser.add_argument("--pairs", type=int, default=64, help="how many; default 64")
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320), metavar=("H", "W"))
    parser.add_argument("--difficulty", type=float, default=0.5, help="of worlds, default 0.5")
    parser.add_argument("--cells", choices=("found", "true"), default="found", help="see above")
    parser.add_argument("--estimator", choices=("pose", "affine"), default="pose")
    parser.add_argument("--out", metavar="FILE.json", help="write all figures there too")
    add_dataset_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Matches, refines in every way, and prints what differs."""
    check_output(arguments.out)
    params = load_params(find_weights(arguments.weights))
    batches, what = pairs_of(arguments)
    ways = {"estimator": arguments.estimator, "cells": arguments.cells}
    rows = summaries(refine(params, batches, **ways))
    height, width = arguments.size
    title = f"adaptive scaling ({arguments.estimator}), {arguments.cells} cells, {what} of "
    title += f"{width} x {height}"
    print_table(table_of(rows, title), Console())
    if arguments.out:
        settings = {"what": what, "size": [height, width], "weights": arguments.weights, **ways}
        with replacing(arguments.out) as beside:
            beside.write_text(json.dumps({"settings": settings, "rows": rows}, indent=2) + "\n")


def pairs_of(arguments: argparse.Namespace) -> tuple[Iterable[PairBatch], str]:
    """The batches that the command line names, and what they are in words. Raises ValueError."""
    if bool(arguments.photos) == bool(arguments.posed):
        raise ValueError("name either photographs by --photos, or pairs with depth by --posed.")
    if arguments.pairs < 1:
        raise ValueError(f"--pairs must be positive; got {arguments.pairs}.")
    if arguments.posed:
        if arguments.min_ratio < 1:
            raise ValueError(f"--min-ratio must be 1 or more; got {arguments.min_ratio}.")
        dataset = dataset_of(arguments.posed, arguments)
        bad = BadFiles(skip=arguments.skip_bad)
        found = find_pairs(dataset, arguments.size, arguments.pairs, arguments.min_ratio, bad)
        if bad:
            print(bad.report())
        return posed_batches(found), f"{len(found)} pairs of ratio {arguments.min_ratio:g} and more"
    if not 0 <= arguments.difficulty <= 1:
        raise ValueError(f"--difficulty must lie in [0, 1]; got {arguments.difficulty}.")
    height, width = arguments.size
    config = WorldConfig(height=height, width=width, min_depth_ratio=2.0, easy_depth_ratio=4.0)
    photos = read_photos(split_photos(list_photos(arguments.photos))[1])
    pairs = -(-arguments.pairs // BATCH) * BATCH
    what = f"{pairs} worlds of difficulty {arguments.difficulty:g}"
    return world_batches(photos, config, pairs, arguments.difficulty), what
