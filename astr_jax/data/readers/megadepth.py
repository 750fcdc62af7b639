"""MegaDepth: an index per sub-scene, pictures, and depth maps (.h5, key `depth`).

Two kinds of index: the LoFTR family's (`pair_infos`: ((i, j), overlap, ...) per pair) and D2-Net's
(`overlap_matrix`); both have image_paths, depth_paths, intrinsics and poses (cam_from_world).
"""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from astr_jax.data.readers.bad_files import UnreadableFile
from astr_jax.data.readers.calibration import checked_intrinsics
from astr_jax.data.readers.pairs import LazyPairs, PosedDataset, chosen_pairs, pairs_of_views
from astr_jax.data.readers.pickles import read_object_npz
from astr_jax.data.readers.views import View

KEYS = ("image_paths", "depth_paths", "intrinsics", "poses", "pair_infos", "overlap_matrix")
# Where the published archive keeps its scenes, and where people unpack it.
ARCHIVE_FOLDERS = ("phoenix/S6/zl548/MegaDepth_v1", "MegaDepth_v1", "")


class MegaDepth(PosedDataset):
    """Reads MegaDepth below `root` by the index files (.npz) of a folder.

    A scene is an index file, named without .npz; scene_list is a text file of such names.
    Pictures are taken where the index has them (Undistorted_SfM/0022/images/a.jpg), else from the
    published archive (MegaDepth_v1/0022/dense0/imgs/a.jpg), which fit their cameras less well.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        index: str | os.PathLike,
        *,
        scene_list: str | os.PathLike | None = None,
        min_overlap: float = 0.1,
        max_overlap: float = 0.7,
    ):
        self.root, self.index = pathlib.Path(root), pathlib.Path(index)
        self.overlaps = min_overlap, max_overlap
        if scene_list is None:
            scenes = sorted(path.stem for path in self.index.glob("*.npz"))
        else:
            lines = pathlib.Path(scene_list).read_text().splitlines()
            scenes = [line.strip().removesuffix(".npz") for line in lines if line.strip()]
        if not scenes:
            raise FileNotFoundError(f"Expected index files *.npz in {self.index}; found none.")
        super().__init__(scenes)

    def read_scene(self, scene: str) -> LazyPairs:
        path = self.index / f"{scene}.npz"
        index = read_object_npz(path, KEYS)
        missing = set(KEYS[:4]) - set(index)
        if missing or not {"pair_infos", "overlap_matrix"} & set(index):
            raise UnreadableFile(
                path,
                "an index of MegaDepth has image_paths, depth_paths, intrinsics, poses, and "
                f"pair_infos or overlap_matrix; this one has {', '.join(sorted(index)) or 'none'}",
            )
        try:
            pairs, overlap = self._listed_pairs(index)
            self._check_rows(index, pairs)
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            raise UnreadableFile(path, f"its pairs cannot be read ({error})") from None

        kept = {key: index[key] for key in KEYS[:3]}  # the list of all pairs is let go

        def view(i: int) -> View:
            return self._view(kept, i, path)

        return pairs_of_views(scene, view, index["poses"], pairs, overlap)

    def _listed_pairs(self, index: dict) -> tuple[np.ndarray, np.ndarray]:
        least, most = self.overlaps
        if "pair_infos" not in index:
            return chosen_pairs(np.asarray(index["overlap_matrix"], float), least, most)
        kept = [(i, j, o) for (i, j), o, *_ in index["pair_infos"] if least <= o <= most]
        table = np.array(kept, float).reshape(-1, 3)
        return table[:, :2].astype(np.int32), table[:, 2]

    @staticmethod
    def _check_rows(index: dict, pairs: np.ndarray) -> None:
        """Every pair names two pictures that have a path, a camera and a pose."""
        count = min(len(index[key]) for key in KEYS[:4])
        for i in np.unique(pairs):
            if not 0 <= i < count:
                raise IndexError(f"a pair names picture {i} of {count}")
            empty = [k for k in ("image_paths", "intrinsics", "poses") if index[k][i] is None]
            if empty:
                raise ValueError(f"a pair names picture {i}, which has no {', '.join(empty)}")

    def _view(self, index: dict, i: int, path: pathlib.Path) -> View:
        image, depth = index["image_paths"][i], index["depth_paths"][i]
        if not pathlib.PurePosixPath(str(image)).name:
            raise UnreadableFile(path, f"picture {i} has no name of a file; got {image!r}")
        depth = None if depth is None else str(depth)
        return View(
            name=str(image),
            image=first_existing(self.root, image_candidates(str(image), depth)),
            depth=None if depth is None else first_existing(self.root, in_archive(depth)),
            K=checked_intrinsics(index["intrinsics"][i], f"{path}, picture {i}"),
            K_of_depth=depth is not None,  # where the picture is the undistorted one, the same
        )


def image_candidates(image: str, depth: str | None) -> list[str]:
    """Where a picture may lie below the root, the index's own path first."""
    parts = pathlib.PurePosixPath(image).parts
    candidates = [image]
    if depth is not None and "depths" in pathlib.PurePosixPath(depth).parts:
        folder = pathlib.PurePosixPath(depth).parent.parent  # .../0022/dense0
        candidates += in_archive(str(folder / "imgs" / parts[-1]))
    elif len(parts) >= 3:  # .../0022/images/a.jpg
        candidates += in_archive(f"{ARCHIVE_FOLDERS[0]}/{parts[-3]}/dense0/imgs/{parts[-1]}")
    return candidates


def in_archive(path: str) -> list[str]:
    """A path of the published archive, wherever the archive was unpacked."""
    inner = path.removeprefix(f"{ARCHIVE_FOLDERS[0]}/")
    return list(dict.fromkeys([path, *(f"{f}/{inner}".lstrip("/") for f in ARCHIVE_FOLDERS)]))


def first_existing(root: pathlib.Path, candidates: Sequence[str]) -> pathlib.Path:
    """The first of the paths that is there, else the first: its absence is told when it is read."""
    found = (root / path for path in candidates if (root / path).is_file())
    return next(found, root / candidates[0])
