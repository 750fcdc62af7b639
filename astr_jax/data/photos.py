"""Photographs as grey arrays in memory, read from a folder, or from one file that travels.

    astr data pack DIR --out photos.npz

packs a folder: grey, shrunk to --side, as WebP. Training takes the file in the folder's place.
"""

import collections.abc
import dataclasses
import os
import pathlib
from collections.abc import Iterable
from typing import SupportsIndex

import cv2
import numpy as np
from jaxtyping import UInt8

from astr_jax.files import replacing

LONG_SIDE = 640  # pixels
QUALITY = 90  # of packed photographs, as WebP has it
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


@dataclasses.dataclass(frozen=True, eq=False)
class Photos(collections.abc.Sequence):
    """Grey photographs with their names; a sequence of uint8 arrays [h w], each of its own size."""

    names: tuple[str, ...]
    images: tuple[np.ndarray, ...]

    def __post_init__(self):
        if len(self.names) != len(self.images):
            raise ValueError(
                f"Every photograph needs one name; got {len(self.names)} names "
                f"for {len(self.images)} images."
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: SupportsIndex) -> UInt8[np.ndarray, "h w"]:
        return self.images[index]


def list_photos(folder: str | os.PathLike) -> list[pathlib.Path]:
    """Lists the photographs of a folder and of the folders below it, sorted by path."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"Expected a folder of photographs, but {folder} is not a folder.")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise FileNotFoundError(
            f"{folder} holds no photograph; expected files ending in {', '.join(SUFFIXES)}."
        )
    return paths


def split_photos(paths, *, every: int = 40) -> tuple[list, list]:
    """Splits into (train, validation): every 40th photograph in sorted order is held back."""
    paths = sorted(paths)
    train = [path for index, path in enumerate(paths) if index % every]
    return train, paths[::every]


def read_photo(path: str | os.PathLike, *, long_side: int = LONG_SIDE) -> UInt8[np.ndarray, "h w"]:
    """Reads one photograph as grey, turned upright by its EXIF tag, shrunk to long_side at most."""
    try:
        encoded = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise OSError(f"Could not open the photograph {path}: {error.strerror}.") from error
    return shrunk_photo(decode_photo(encoded, str(path)), long_side)


def shrunk_photo(image: UInt8[np.ndarray, "h w"], long_side: int) -> UInt8[np.ndarray, "h2 w2"]:
    """The image, its long side shrunk to long_side pixels at most."""
    shrink = long_side / max(image.shape)
    if shrink >= 1:
        return image
    height, width = (max(1, round(side * shrink)) for side in image.shape)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def read_photos(paths, *, long_side: int = LONG_SIDE) -> Photos:
    """Reads photographs into memory (about 0.2 MB each at a long side of 640)."""
    paths = [pathlib.Path(path) for path in paths]
    images = tuple(read_photo(path, long_side=long_side) for path in paths)
    return Photos(tuple(path.name for path in paths), images)


def pack_photos(
    paths: Iterable[pathlib.Path],
    out: str | os.PathLike,
    *,
    long_side: int = LONG_SIDE,
    quality: int = QUALITY,
) -> None:
    """Writes photographs into one .npz file: their names, and their WebP streams end to end.

    In the order of the paths, read one by one: only the streams are held in memory. quality: of
    WebP, 1 to 100.
    """
    out = check_packing(out, quality, "photographs")
    names, streams = [], []
    for path in paths:
        image = read_photo(path, long_side=long_side)
        names.append(path.name)
        streams.append(encode_photo(image, quality))
    ends = np.cumsum([len(stream) for stream in streams])
    with replacing(out) as beside:
        np.savez(beside, names=np.array(names), ends=ends, webp=np.concatenate(streams))


def check_packing(out: str | os.PathLike, quality: int, of: str) -> pathlib.Path:
    """Where a packed file of something goes. Raises ValueError or FileNotFoundError for a path or
    a quality of WebP that cannot be."""
    if not 1 <= quality <= 100:
        raise ValueError(f"The quality of WebP is a number from 1 to 100; got {quality}.")
    out = pathlib.Path(out)
    if out.suffix != ".npz":
        raise ValueError(f"A packed file of {of} must end in .npz; got {out}.")
    if not out.resolve().parent.is_dir():
        raise FileNotFoundError(f"{out} cannot be written: its folder does not exist.")
    return out


def unpack_photos(path: str | os.PathLike) -> Photos:
    """Reads the file that pack_photos wrote."""
    with np.load(path, allow_pickle=False) as packed:
        missing = {"names", "ends", "webp"} - set(packed.files)
        if missing:
            raise ValueError(
                f"{path} is not a packed file of photographs: it lacks {sorted(missing)}. "
                "Write one with astr data pack."
            )
        names = tuple(str(name) for name in packed["names"])
        streams = np.split(packed["webp"], packed["ends"][:-1])
    images = (decode_photo(s, f"{name} in {path}") for s, name in zip(streams, names, strict=True))
    return Photos(names, tuple(images))


def open_photos(path: str | os.PathLike) -> tuple[Photos, Photos]:
    """Photographs to train on, and those held back, of a folder or of a packed file."""
    if pathlib.Path(path).suffix == ".npz":
        photos = unpack_photos(path)
        parts = split_photos(range(len(photos)))
        train, held_back = (
            Photos(tuple(photos.names[i] for i in part), tuple(photos[i] for i in part))
            for part in parts
        )
        return train, held_back
    train, held_back = map(read_photos, split_photos(list_photos(path)))
    return train, held_back


def encode_photo(image: UInt8[np.ndarray, "h w"], quality: int) -> UInt8[np.ndarray, " n"]:
    """A photograph as a WebP stream."""
    return cv2.imencode(".webp", image, (cv2.IMWRITE_WEBP_QUALITY, quality))[1].reshape(-1)


def decode_photo(encoded: np.ndarray, name: str) -> np.ndarray:
    """Decodes to grey; OpenCV turns the photograph upright by its EXIF tag."""
    image = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) if encoded.size else None
    if image is None:
        raise ValueError(
            f"Could not decode the photograph {name}: it is empty, damaged, or in a format that "
            "OpenCV does not read. Remove it or write it again as JPEG or PNG."
        )
    return image
