"""A data set of posed pairs, named on a command line."""

import argparse
from collections.abc import Sequence

from astr_jax.data.readers.colmap import ColmapModels
from astr_jax.data.readers.megadepth import MegaDepth
from astr_jax.data.readers.pairs import PosedDataset
from astr_jax.data.readers.posed_folder import PosedFolders
from astr_jax.data.readers.scannet import ScanNet
from astr_jax.data.readers.tables import Tables

KINDS = ("megadepth", "scannet", "colmap", "folders", "tables")


def add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """What a kind and its folders do not say."""
    parser.add_argument("--index", metavar="PATH", help="index files (.npz) of megadepth, scannet")
    parser.add_argument("--scenes", metavar="FILE", help="megadepth: a list of index files' names")
    parser.add_argument("--intrinsics", metavar="FILE", help="scannet: intrinsics.npz")
    parser.add_argument("--name", help="of the tables; default: the kind")
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out missing and damaged files, and name them"
    )


def open_dataset(kind: str, paths: Sequence[str], options: argparse.Namespace) -> PosedDataset:
    """The data set of a kind. Raises ValueError where the options do not fit it."""
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of data set: take one of {', '.join(KINDS)}.")
    if not paths:
        raise ValueError(f"{kind} takes a folder.")
    if kind in ("colmap", "folders"):
        return (ColmapModels if kind == "colmap" else PosedFolders)(paths)
    if len(paths) != 1 or (kind != "tables" and options.index is None):
        wanted = "--name" if kind == "tables" else "--index"
        raise ValueError(f"{kind} takes one folder and {wanted}; see --help.")
    if kind == "tables":
        return Tables(paths[0], name=options.name or kind)
    if kind == "megadepth":
        return MegaDepth(paths[0], options.index, scene_list=options.scenes)
    return ScanNet(paths[0], options.index, intrinsics=options.intrinsics)
