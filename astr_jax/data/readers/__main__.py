"""Looks through a data set of posed pairs, and writes it as tables.

python -m astr_jax.data.readers megadepth ROOT --index DIR
python -m astr_jax.data.readers scannet ROOT --index FILE_OR_DIR --intrinsics intrinsics.npz
python -m astr_jax.data.readers colmap|folders SCENE_DIR... [--tables OUT_DIR --name NAME]
"""

import argparse
import sys

from rich.progress import track

from astr_jax.data.readers import (
    BadFiles,
    ColmapModels,
    MegaDepth,
    PosedDataset,
    PosedFolders,
    ScanNet,
    write_tables,
)


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


def open_dataset(arguments: argparse.Namespace) -> PosedDataset:
    """The data set that the command line names."""
    if arguments.kind in ("colmap", "folders"):
        reader = ColmapModels if arguments.kind == "colmap" else PosedFolders
        return reader(arguments.paths)
    if len(arguments.paths) != 1 or arguments.index is None:
        raise ValueError(f"{arguments.kind} takes one folder and --index; see --help.")
    root = arguments.paths[0]
    if arguments.kind == "megadepth":
        return MegaDepth(root, arguments.index, scene_list=arguments.scenes)
    return ScanNet(root, arguments.index, intrinsics=arguments.intrinsics)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m astr_jax.data.readers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=("megadepth", "scannet", "colmap", "folders"))
    parser.add_argument("paths", nargs="+", metavar="DIR", help="the data; README.md: the layouts")
    parser.add_argument("--index", metavar="PATH", help="index files (.npz) of megadepth, scannet")
    parser.add_argument("--scenes", metavar="FILE", help="megadepth: a list of index files' names")
    parser.add_argument("--intrinsics", metavar="FILE", help="scannet: intrinsics.npz")
    parser.add_argument(
        "--reads", type=int, default=3, metavar="N", help="pairs to read of each scene; default 3"
    )
    parser.add_argument("--tables", metavar="DIR", help="write the data set there, as tables")
    parser.add_argument("--name", help="of the tables; default: the kind")
    parser.add_argument("--side", type=int, metavar="PIXELS", help="fit the tables' views into it")
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out missing and damaged files, and name them"
    )
    arguments = parser.parse_args(argv)
    try:
        dataset = open_dataset(arguments)
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
