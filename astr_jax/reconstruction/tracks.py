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
    """The chosen of all stars. cells: the side of each image's cells, pixels as given."""
    whole = joined(names, parts)
    if not whole.count:
        return whole
    length = np.bincount(whole.track)
    sigma = np.bincount(whole.track, whole.sigma) / length
    ends = np.concatenate([[0], np.cumsum(length)])
    place = np.floor(whole.points / cells[whole.image, None]).astype(np.int64)
    place = np.concatenate([whole.image[:, None].astype(np.int64), place], axis=1)
    _, place = np.unique(place, axis=0, return_inverse=True)
    place = place.reshape(-1)
    covered, chosen = np.zeros(place.max() + 1, bool), np.zeros(len(length), bool)
    for track in np.lexsort([sigma, -length]):
        mine = place[ends[track] : ends[track + 1]]
        if np.count_nonzero(~covered[mine]) >= LEAST_NEW * len(mine):
            chosen[track], covered[mine] = True, True
    rows = chosen[whole.track]
    track = np.cumsum(chosen)[whole.track[rows]] - 1
    return Tracks(whole.names, track, whole.image[rows], whole.points[rows], whole.sigma[rows])


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
