"""Looks through a data set of posed pairs, and writes it as tables.

python -m astr_jax.data.readers megadepth ROOT --index DIR
python -m astr_jax.data.readers scannet ROOT --index FILE_OR_DIR --intrinsics intrinsics.npz
python -m astr_jax.data.readers colmap|folders SCENE_DIR... [--tables OUT_DIR --name NAME]
"""

import argparse
import sys

from rich.progress import track

from astr_jax.data.readers.bad_files import BadFiles
from astr_jax.data.readers.opening import KINDS, add_dataset_arguments, open_dataset
from astr_jax.data.readers.pairs import PosedDataset
from astr_jax.data.readers.tables import write_tables


def look_through(dataset: PosedDataset, reads: int, bad: BadFiles) -> dict[str, int]:
    """The number of pairs of each scene; reads some of each, spread evenly, and notes bad files."""
    counts = {}
    for scene in track(dataset.scenes, "reading", transient=True):
        counts[scene] = 0
        with bad.skipped():
            counts[scene] = len(dataset.pairs(scene))
        count = counts[scene]
        for k in range(min(reads, count)):
            with bad.skipped():
                dataset.load(dataset.pairs(scene)[k * count // min(reads, count)], (64, 64))
    return counts


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m astr_jax.data.readers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("paths", nargs="+", metavar="DIR", help="the data; README.md: the layouts")
    add_dataset_arguments(parser)
    parser.add_argument(
        "--reads", type=int, default=3, metavar="N", help="pairs to read of each scene; default 3"
    )
    parser.add_argument("--tables", metavar="DIR", help="write the data set there, as tables")
    parser.add_argument("--side", type=int, metavar="PIXELS", help="fit the tables' views into it")
    arguments = parser.parse_args(argv)
    try:
        dataset = open_dataset(arguments.kind, arguments.paths, arguments)
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
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(bad.report())
    if bad and not arguments.skip_bad:
        sys.exit(1)


if __name__ == "__main__":
    main()
