"""Look through a data set of pairs with depth, or write it as tables.

examples:
  astr data check megadepth ROOT --index DIR
  astr data check scannet ROOT --index FILE_OR_DIR --intrinsics intrinsics.npz
  astr data check colmap SCENE SCENE
  astr data check folders SCENE SCENE --tables OUT --name NAME

Counts the pairs of each scene, reads some of each, and names the files that are missing or damaged.
With bad files, and without --skip-bad, the exit code is 1.
"""

import argparse
import sys

from astr_jax.cli.dataset import add_dataset_arguments, dataset_of
from astr_jax.data.readers import KINDS, BadFiles, write_tables
from astr_jax.data.readers.looking import look_through


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr data check."""
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="DIR",
        help="its folder, or its scenes' folders; astr_jax/data/readers/README.md has the layouts",
    )
    add_dataset_arguments(parser)
    parser.add_argument(
        "--reads", type=int, default=3, metavar="N", help="pairs to read of each scene; default 3"
    )
    parser.add_argument("--tables", metavar="DIR", help="write the data set there, as tables")
    parser.add_argument("--side", type=int, metavar="PIXELS", help="fit the tables' views into it")


def run(arguments: argparse.Namespace) -> None:
    """Prints the number of pairs and the bad files, or writes the tables."""
    dataset = dataset_of([arguments.kind, *arguments.paths], arguments)
    if arguments.tables is None:
        bad = BadFiles(skip=True)
        counts = look_through(dataset, arguments.reads, bad)
        for scene, count in counts.items():
            print(f"{count:10} pairs  {scene}")
        print(f"{sum(counts.values()):10} pairs in {len(counts)} scenes")
    else:
        size = None if arguments.side is None else (arguments.side, arguments.side)
        name = arguments.name or arguments.kind
        bad = write_tables(
            dataset, arguments.tables, name=name, size=size, skip_bad=arguments.skip_bad
        )
        print(f"{arguments.tables}: {name}_views, {name}_pairs")
    print(bad.report())
    if bad and not arguments.skip_bad:
        sys.exit(1)
