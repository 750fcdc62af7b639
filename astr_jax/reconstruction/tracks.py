"""Tracks: one point of the scene in many images, at most once in each.

Every image grows stars of its own (stars.py), so that many show the same piece of the scene. Here
the best are chosen: the longest first, and of those the surest; one whose observations lie, most of
them, in cells where others have been chosen is left out.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Float, Int

from astr_jax.files import replacing

LEAST_NEW = 0.5  # of a track's observations: in cells of no track yet


@dataclasses.dataclass(frozen=True)
class Tracks:
    """Observations of scene points, sorted by track; each image at most once in a track."""

    names: tuple[str, ...]  # of all images
    track: Int[np.ndarray, " n"]  # numbers from 0 on, ascending
    image: Int[np.ndarray, " n"]  # into names
    points: Float[np.ndarray, "n 2"]  # pixels of the upright image as given
    sigma: Float[np.ndarray, " n"]  # standard deviation per axis, the same pixels; 0: reference

    @property
    def count(self) -> int:
        """How many tracks there are."""
        return int(self.track[-1]) + 1 if len(self.track) else 0

    @property
    def mean_length(self) -> float:
        """Images per track."""
        return len(self.track) / max(self.count, 1)


def choose_tracks(
    names: Sequence[str], parts: Sequence[Tracks], cells: Float[np.ndarray, " n"]
) -> Tracks:
    """The chosen of all stars. cells: the side of each image's cells, pixels as given.

    parts is gone through three times, so that it may read each from its file: of all stars together
    only the cells of their observations are held at once, 4 bytes each.
    """
    length, sigma, place = _of_stars(parts, _Cells.of(parts, cells))
    ends = np.concatenate([[0], np.cumsum(length)])
    covered, chosen = np.zeros(place.max(initial=0) + 1, bool), np.zeros(len(length), bool)
    for track in np.lexsort([sigma, -length]):
        mine = place[ends[track] : ends[track + 1]]
        if np.count_nonzero(~covered[mine]) >= LEAST_NEW * len(mine):
            chosen[track], covered[mine] = True, True
    kept, start = [], 0
    for part in parts:
        mine = chosen[start : start + part.count]
        start += part.count
        rows = mine[part.track]
        track = (np.cumsum(mine) - 1)[part.track[rows]]
        kept.append(Tracks((), track, part.image[rows], part.points[rows], part.sigma[rows]))
    return joined(names, kept)


@dataclasses.dataclass(frozen=True)
class _Cells:
    """Numbers for the cells of all images, each image's in rows of its own width."""

    side: np.ndarray  # [n] of a cell, pixels
    least: np.ndarray  # [n 2] cell of each image
    width: np.ndarray  # [n] cells
    start: np.ndarray  # [n] number of the first

    @classmethod
    def of(cls, parts: Sequence[Tracks], side: np.ndarray) -> "_Cells":
        least, most = np.full((len(side), 2), 2**30), np.full((len(side), 2), -(2**30))
        for part in parts:
            cell = _cell(part, side)
            np.minimum.at(least, part.image, cell)
            np.maximum.at(most, part.image, cell)
        width, height = np.maximum(most - least + 1, 0).T
        start = np.cumsum(np.concatenate([[0], width * height]))[:-1]
        return cls(side, least, width, start)

    def numbers(self, part: Tracks) -> np.ndarray:
        """Of each observation."""
        image = part.image
        x, y = (_cell(part, self.side) - self.least[image]).T
        return (self.start[image] + y * self.width[image] + x).astype(np.int32)


def _cell(part: Tracks, side: np.ndarray) -> np.ndarray:
    return np.floor(part.points / side[part.image, None]).astype(np.int64)


def _of_stars(parts: Sequence[Tracks], cells: _Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The length and the mean sigma of each star, and the cell of each observation."""
    length, sigma, place = [np.zeros(0, int)], [np.zeros(0)], [np.zeros(0, np.int32)]
    for part in parts:
        count = np.bincount(part.track)
        length.append(count)
        sigma.append(np.bincount(part.track, part.sigma) / count)
        place.append(cells.numbers(part))
    return tuple(map(np.concatenate, (length, sigma, place)))


def joined(names: Sequence[str], parts: Sequence[Tracks]) -> Tracks:
    """All tracks of several parts, one part after the other."""
    starts = np.cumsum([0, *(part.count for part in parts)])[:-1]
    none = np.zeros(0, int)
    track = [none, *(part.track + start for part, start in zip(parts, starts, strict=True))]
    image = [none, *(part.image for part in parts)]
    points = [np.zeros((0, 2)), *(part.points for part in parts)]
    sigma = [np.zeros(0), *(part.sigma for part in parts)]
    return Tracks(tuple(names), *map(np.concatenate, (track, image, points, sigma)))


def write_tracks(file: str | os.PathLike, tracks: Tracks, *, stamp: str = "") -> None:
    """Writes tracks: the fields as arrays, the names in the header; stamp: what they came from."""
    arrays = {
        "track": tracks.track.astype(np.int32),
        "image": tracks.image.astype(np.int32),
        "points": tracks.points.astype(np.float32),
        "sigma": tracks.sigma.astype(np.float32),
    }
    header = {"names": json.dumps(tracks.names, ensure_ascii=False), "stamp": stamp}
    with replacing(file) as beside:
        beside.write_bytes(safetensors.numpy.save(arrays, metadata=header))


def read_tracks(file: str | os.PathLike) -> tuple[Tracks, str]:
    """Tracks and their stamp. Raises FileNotFoundError, or ValueError for another file."""
    if not pathlib.Path(file).is_file():
        raise FileNotFoundError(f"there are no tracks {file}; astr tracks makes them.")
    try:
        with safetensors.safe_open(file, framework="numpy") as opened:
            header = opened.metadata()
            names = tuple(json.loads(header["names"]))
            fields = (opened.get_tensor(f) for f in ("track", "image", "points", "sigma"))
            return Tracks(names, *fields), header["stamp"]
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} holds no tracks, or is damaged ({error}).") from None
