"""Photographs and scenes in one file that is no larger than a given size.

    astr data pack PHOTOS --scenes SCENES --side 400 --most 38 --out data.npz

Training takes it for both: `--photos data.npz --tracks data.npz`. What gives way, in this order:
the quality of all pictures alike, down to LEAST_QUALITY; then photographs, evenly by their order;
scenes never.
"""

import bisect
import concurrent.futures
import functools
import io
import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from astr_jax.data.photos import Photos, check_packing, encode_photo, packed_photos
from astr_jax.data.scenes import BESIDE_PHOTOS, Scene, packed_scenes
from astr_jax.files import replacing

LEAST_QUALITY = 40  # of WebP
SOME = 16  # one in so many pictures says which quality may fit
MARGIN = 1 / 1000  # of a file: what its packing adds to streams, which do not get smaller

Streams = list[UInt8[np.ndarray, " _"]]


def pack(
    photos: Photos, scenes: Sequence[Scene], out: str | os.PathLike, *, quality: int, most: float
) -> tuple[int, int]:
    """Writes photographs and scenes (may be none) into one .npz file of at most so many bytes.

    quality: of WebP, at best. Returns the quality that fits, and how many photographs do. Raises
    ValueError where the scenes alone are too large.
    """
    out = check_packing(out, quality, "photographs")
    pictures = [*photos.images, *(image for scene in scenes for image in scene.images)]
    none = [np.zeros(0, np.uint8)]
    beside = _arrays(photos.names, none * len(photos), scenes, none * (len(pictures) - len(photos)))
    room = most * (1 - MARGIN) - _written(beside)
    quality, streams = fitted(pictures, room, range(min(LEAST_QUALITY, quality), quality + 1))
    of_photos, of_scenes = streams[: len(photos)], streams[len(photos) :]
    kept = evenly(of_photos, room - _bytes(of_scenes))
    if not len(kept):
        raise ValueError(
            f"The scenes do not fit into {most / 2**20:.1f} MiB: leave some out, or shrink the "
            "pictures further."
        )
    names = [photos.names[k] for k in kept]
    arrays = _arrays(names, [of_photos[k] for k in kept], scenes, of_scenes)
    with replacing(out) as beside:
        np.savez_compressed(beside, **arrays)
    return quality, len(kept)


def fitted(pictures: Sequence[np.ndarray], room: float, qualities: range) -> tuple[int, Streams]:
    """The best of the qualities at which all pictures together take at most so many bytes, and
    their streams; the least one where none does.

    Some of the pictures say about which it is, so that all are encoded two or three times only.
    """
    few = pictures[::SOME]
    share = len(few) / len(pictures)
    guess = bisect.bisect_right(qualities, room * share, key=lambda q: _bytes(encoded(few, q)))
    at = max(0, guess - 1)
    streams = encoded(pictures, qualities[at])
    while at and _bytes(streams) > room:
        at -= 1
        streams = encoded(pictures, qualities[at])
        if _bytes(streams) <= room:
            return qualities[at], streams
    while at + 1 < len(qualities) and _bytes(streams) <= room:
        better = encoded(pictures, qualities[at + 1])
        if _bytes(better) > room:
            break
        at, streams = at + 1, better
    return qualities[at], streams


def encoded(pictures: Sequence[np.ndarray], quality: int) -> Streams:
    """The pictures as WebP streams, by all cores."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(functools.partial(encode_photo, quality=quality), pictures))


def evenly(streams: Streams, room: float) -> list[int]:
    """The numbers of as many streams as fit into so many bytes, spread over all of them."""

    def chosen(count: int) -> list[int]:
        return np.linspace(0, len(streams) - 1, count).round().astype(int).tolist()

    counts = range(len(streams) + 1)
    if _bytes(streams) <= room:
        return list(counts[:-1])
    fit = bisect.bisect_right(
        counts, room, key=lambda count: _bytes([streams[k] for k in chosen(count)])
    )
    return chosen(max(0, fit - 1))


def _arrays(names, of_photos: Streams, scenes, of_scenes: Streams) -> dict[str, np.ndarray]:
    """All arrays of the file."""
    arrays = packed_photos(names, of_photos)
    if scenes:
        more = packed_scenes(scenes, of_scenes)
        arrays |= {BESIDE_PHOTOS + name: array for name, array in more.items()}
    return arrays


def _bytes(streams: Streams) -> int:
    return sum(map(len, streams))


def _written(arrays: dict[str, np.ndarray]) -> int:
    """The bytes of a file of these arrays."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.tell()
