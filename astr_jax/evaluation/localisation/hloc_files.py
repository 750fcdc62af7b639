"""The h5 files of a localisation: features and matches as hloc reads them, and dense matches.

    features.h5        NAME/keypoints [k 2] float32      NAME/score [k] float32
    matches-LIST.h5    A/B/matches0 [k0] int32, -1 none  A/B/matching_scores0 [k0] float16
    dense.h5           A/B/{keypoints0,keypoints1} [n 2] float32, A/B/scores [n] float32

NAME is the picture's path in the list; A and B are the paths of a pair with "-" for "/". Keypoints
are in pixels of the files as stored, whatever their EXIF orientation, (0, 0) the centre of the
top-left one, as in hloc, which adds the half pixel of COLMAP. The first two are written whole;
dense.h5 grows pair by pair.
"""

import json
import pathlib
import shutil
from collections.abc import Callable, Iterable, Mapping

import h5py
import numpy as np

from astr_jax.evaluation.scores.found import FoundMatches
from astr_jax.files import check_settings, replacing

DENSE = ("keypoints0", "keypoints1", "scores")
DAMAGE = (OSError, RuntimeError, KeyError, ValueError)  # what HDF5 raises on it


def group_name(pair: tuple[str, str]) -> str:
    """Where the matches of a pair stand in hloc's file."""
    return "/".join(name.replace("/", "-") for name in pair)


class DenseMatches:
    """dense.h5, open to go on: the matches of each pair as a matcher gave them.

    A damaged file, as a kill may leave it, is moved aside, and `say` is told. Raises ValueError
    where it was begun with other settings.
    """

    def __init__(self, path: pathlib.Path, settings: dict, say: Callable[[str], None]):
        try:
            self.file, self._done = self._open(path)
        except DAMAGE as error:
            if getattr(error, "errno", None) is not None:  # locked or forbidden, maybe whole
                raise
            taken = len(list(path.parent.glob(f"{path.stem}.damaged*")))
            aside = path.rename(path.with_suffix(f".damaged{taken + 1}"))
            say(f"{path} is damaged ({error}): moved to {aside}; its pairs are matched anew.")
            self.file, self._done = self._open(path)
        stated = json.dumps(settings, sort_keys=True)
        found, stated = (
            json.loads(self.file.attrs.setdefault("settings", stated)),
            json.loads(stated),
        )
        self.file.flush()
        try:
            check_settings(found, stated, path)
        except ValueError:
            self.file.close()
            raise

    @staticmethod
    def _open(path: pathlib.Path) -> tuple[h5py.File, set[str]]:
        file = h5py.File(path, "a")
        try:
            return file, {
                f"{a}/{b}" for a in file for b in file[a] if set(DENSE) <= set(file[a][b])
            }
        except DAMAGE:
            file.close()
            raise

    def __enter__(self) -> "DenseMatches":
        return self

    def __exit__(self, *_) -> None:
        self.file.close()

    def __contains__(self, pair: tuple[str, str]) -> bool:
        return group_name(pair) in self._done

    def read(self, pair: tuple[str, str]) -> FoundMatches:
        """The matches of a pair; none for one that failed."""
        if pair in self:
            arrays = [self.file[f"{group_name(pair)}/{name}"][()] for name in DENSE]
        else:
            arrays = [np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0)]
        points0, points1, confidence = (array.astype(np.float64) for array in arrays)
        return FoundMatches(points0=points0, points1=points1, confidence=confidence)

    def write(self, pair: tuple[str, str], found: FoundMatches) -> None:
        group = group_name(pair)
        if group in self.file:  # cut short by a kill
            del self.file[group]
        for name, values in zip(
            DENSE, (found.points0, found.points1, found.confidence), strict=True
        ):
            self.file[f"{group}/{name}"] = values.astype(np.float32)
        self.file.flush()
        self._done.add(group)


def read_keypoints(path: pathlib.Path) -> dict[str, np.ndarray]:
    """All keypoints of a features file, by picture; none where there is no file."""
    found: dict[str, np.ndarray] = {}

    def visit(name: str, item) -> None:
        if isinstance(item, h5py.Dataset) and name.endswith("/keypoints"):
            found[name.removesuffix("/keypoints")] = item[()]

    if path.exists():
        try:
            with h5py.File(path, "r") as features:
                features.visititems(visit)
        except DAMAGE as error:
            if getattr(error, "errno", None) is not None:
                raise
            raise ValueError(
                f"{path} is damaged ({error}), and a model made from it cannot be gone on with: "
                "remove it, and begin with the first list of pairs again."
            ) from None
    return found


def add_keypoints(
    path: pathlib.Path, keypoints: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    """Adds pictures' keypoints and their scores to a features file; all of them or none."""
    with replacing(path) as beside:
        if path.exists():
            shutil.copyfile(path, beside)
        with h5py.File(beside, "a") as file:
            for name, (points, score) in keypoints.items():
                file[f"{name}/keypoints"], file[f"{name}/score"] = points, score


def write_hloc_matches(
    path: pathlib.Path, matches: Iterable[tuple[tuple[str, str], np.ndarray, np.ndarray]]
) -> None:
    """Writes a matches file from pairs, their matches0 and the confidence of each."""
    with replacing(path) as beside, h5py.File(beside, "w") as file:
        for pair, partner, score in matches:
            # A query has many keypoints, and one pair matches few of them.
            packed = {"compression": "gzip", "compression_opts": 1} if len(partner) else {}
            group = file.create_group(group_name(pair))
            group.create_dataset("matches0", data=partner.astype(np.int32), **packed)
            group.create_dataset("matching_scores0", data=score.astype(np.float16), **packed)
