"""The matches of many pairs on disk, a file for some pairs; killed at any moment, nothing breaks.

    FOLDER/settings.json        what the matches depend on; a folder begun with others is refused
    FOLDER/part-*.safetensors   header "pairs": JSON, [name0, name1, count] of each pair in turn
        keypoints0 [n 2] float32, keypoints1 [n 2] float32     the pairs' rows one after the other
        confidence [n] float16, sigma [n] float16

Points are (x, y) in pixels of the upright images as given, (0, 0) the centre of the top-left pixel.
A part is written beside and renamed, and is named after its pairs: shards of one list, run apart,
may write into one folder, or into several that are put together by copying. Of a pair that is in
two parts the first counts.
"""

import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Float

from astr_jax.files import check_settings, replacing
from astr_jax.reconstruction.pairs import Pair
from astr_jax.types import Matches


class StoredMatches(NamedTuple):
    """The matches of a pair."""

    keypoints0: Float[np.ndarray, "k 2"]
    keypoints1: Float[np.ndarray, "k 2"]
    confidence: Float[np.ndarray, " k"]
    sigma: Float[np.ndarray, " k"]

    @classmethod
    def of(cls, matches: Matches) -> "StoredMatches":
        """The valid rows of one pair."""
        rows = matches.compact()
        return cls(rows.keypoints0, rows.keypoints1, rows.confidence, rows.sigma)


DTYPES = StoredMatches(np.float32, np.float32, np.float16, np.float16)


class _Place(NamedTuple):
    part: pathlib.Path
    start: int
    count: int


class MatchStore:
    """The matches of a folder. Raises ValueError where it was begun with other settings.

    settings: fit for JSON; None takes the folder as it is.
    """

    def __init__(self, folder: str | os.PathLike, settings: dict | None = None):
        self.folder = pathlib.Path(folder)
        self._places: dict[Pair, _Place] = {}
        self._parts: set[pathlib.Path] = set()
        if settings is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            _check_settings(self.folder / "settings.json", settings)
        elif not self.folder.is_dir():
            raise FileNotFoundError(f"there is no folder of matches {self.folder}.")
        self.refresh()

    def refresh(self) -> None:
        """Looks for parts that others have written since."""
        for part in sorted(self.folder.glob("part-*.safetensors")):
            if part not in self._parts:
                self._parts.add(part)
                start = 0
                for name0, name1, count in _pairs_of(part):
                    self._places.setdefault((name0, name1), _Place(part, start, count))
                    start += count

    @property
    def pairs(self) -> dict[Pair, int]:
        """How many matches each pair has."""
        return {pair: place.count for pair, place in self._places.items()}

    def __contains__(self, pair: Pair) -> bool:
        return pair in self._places

    def read(self, pair: Pair) -> StoredMatches:
        """The matches of a pair; only its own rows are read. Raises KeyError."""
        part, start, count = self._places[pair]
        with safetensors.safe_open(part, framework="numpy") as file:
            rows = (
                file.get_slice(field)[start : start + count] if count else None
                for field in StoredMatches._fields
            )
            shapes = (0, 2), (0, 2), (0,), (0,)
            return StoredMatches(
                *(
                    np.zeros(shape, np.float32) if x is None else x.astype(np.float32)
                    for x, shape in zip(rows, shapes, strict=True)
                )
            )

    def write(self, found: Sequence[tuple[Pair, StoredMatches]]) -> pathlib.Path | None:
        """Writes the matches of some pairs as one part; None for none."""
        if not found:
            return None
        pairs = [[*pair, len(matches.confidence)] for pair, matches in found]
        columns = zip(*(matches for _, matches in found), strict=True)
        tensors = {
            field: np.concatenate([np.asarray(x) for x in column]).astype(dtype)
            for field, column, dtype in zip(StoredMatches._fields, columns, DTYPES, strict=True)
        }
        named = json.dumps([pair[:2] for pair in pairs], ensure_ascii=False)
        name = hashlib.sha256(named.encode()).hexdigest()[:16]
        part = self.folder / f"part-{name}.safetensors"
        header = {"pairs": json.dumps(pairs, ensure_ascii=False)}
        with replacing(part) as beside:
            beside.write_bytes(safetensors.numpy.save(tensors, metadata=header))
        self.refresh()
        return part

    def gather(self, folder: str | os.PathLike) -> int:
        """Takes over the parts of another folder, file by file; returns how many were new.

        Parts whose pairs are all here are left. Raises ValueError for a folder of other settings,
        or a part that is damaged.
        """
        folder, taken = pathlib.Path(folder), 0
        settings = [place / "settings.json" for place in (self.folder, folder)]
        here, there = (json.loads(file.read_text(encoding="utf-8")) for file in settings)
        check_settings(here, there, self.folder)
        for part in sorted(folder.glob("part-*.safetensors")):
            if any((a, b) not in self for a, b, _ in _pairs_of(part)):
                with replacing(self.folder / part.name) as beside:
                    shutil.copyfile(part, beside)
                taken += 1
        self.refresh()
        return taken


def _pairs_of(part: pathlib.Path) -> list[tuple[str, str, int]]:
    try:
        with safetensors.safe_open(part, framework="numpy") as file:
            return [tuple(pair) for pair in json.loads(file.metadata()["pairs"])]
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{part} is damaged ({error}); delete it, and its pairs are matched anew."
        ) from None


def _check_settings(file: pathlib.Path, settings: dict) -> None:
    settings = json.loads(json.dumps(settings))
    if not file.exists():
        with replacing(file) as beside:
            beside.write_text(json.dumps(settings, indent=1, sort_keys=True), encoding="utf-8")
    found = json.loads(file.read_text(encoding="utf-8"))
    check_settings(found, settings, file.parent)
