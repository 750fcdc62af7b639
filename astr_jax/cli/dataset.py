"""A data set of posed pairs, named on a command line."""

import argparse
from collections.abc import Sequence

from astr_jax.data.readers import KINDS, PosedDataset, open_dataset

KIND_HELP = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}, and where they are"


def add_dataset_arguments(parser) -> None:
    """What a kind and its folders do not say. parser: of argparse, or a group of one."""
    parser.add_argument("--index", metavar="PATH", help="index files (.npz) of megadepth, scannet")
    parser.add_argument("--scenes", metavar="FILE", help="megadepth: a list of index files' names")
    parser.add_argument("--intrinsics", metavar="FILE", help="scannet: intrinsics.npz")
    parser.add_argument("--name", help="of the tables; default: the kind")
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out missing and damaged files, and name them"
    )


def dataset_of(words: Sequence[str], options: argparse.Namespace) -> PosedDataset:
    """The data set of a kind and its folders, with the options of add_dataset_arguments."""
    kind, *paths = words
    return open_dataset(
        kind,
        paths,
        index=options.index,
        scenes=options.scenes,
        intrinsics=options.intrinsics,
        name=options.name,
    )
