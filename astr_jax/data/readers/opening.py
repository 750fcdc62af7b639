"""A data set of posed pairs, by the name of its kind."""

from collections.abc import Sequence

from astr_jax.data.readers.colmap import ColmapModels
from astr_jax.data.readers.megadepth import MegaDepth
from astr_jax.data.readers.pairs import PosedDataset
from astr_jax.data.readers.posed_folder import PosedFolders
from astr_jax.data.readers.scannet import ScanNet
from astr_jax.data.readers.tables import Tables

KINDS = ("megadepth", "scannet", "colmap", "folders", "tables")


def open_dataset(
    kind: str,
    paths: Sequence[str],
    *,
    index: str | None = None,
    scenes: str | None = None,
    intrinsics: str | None = None,
    name: str | None = None,
) -> PosedDataset:
    """The data set of a kind.

    paths: its folders. index: the index files of megadepth and scannet. scenes: megadepth's list of
    them. intrinsics: scannet's file. name: of the tables, by default "tables". Raises ValueError
    where these do not fit the kind.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of data set: take one of {', '.join(KINDS)}.")
    if not paths:
        raise ValueError(f"{kind} takes a folder.")
    if kind in ("colmap", "folders"):
        return (ColmapModels if kind == "colmap" else PosedFolders)(paths)
    if len(paths) != 1 or (kind != "tables" and index is None):
        wanted = "--name" if kind == "tables" else "--index"
        raise ValueError(f"{kind} takes one folder and {wanted}; see --help.")
    if kind == "tables":
        return Tables(paths[0], name=name or kind)
    if kind == "megadepth":
        return MegaDepth(paths[0], index, scene_list=scenes)
    return ScanNet(paths[0], index, intrinsics=intrinsics)
