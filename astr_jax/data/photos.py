"""Photographs as grey arrays in memory: read from a folder, or from one file that travels."""

import collections.abc
import dataclasses
import os
import pathlib

import cv2
import numpy as np
from jaxtyping import UInt8

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

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "h w"]:
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


def read_photo(path: str | os.PathLike, *, long_side: int = 640) -> UInt8[np.ndarray, "h w"]:
    """Reads one photograph as grey, turned upright by its EXIF tag, shrunk to long_side at most."""
    try:
        encoded = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise OSError(f"Could not open the photograph {path}: {error.strerror}.") from error
    image = _decode(encoded, str(path))
    shrink = long_side / max(image.shape)
    if shrink >= 1:
        return image
    height, width = (max(1, round(side * shrink)) for side in image.shape)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def read_photos(paths, *, long_side: int = 640) -> Photos:
    """Reads photographs into memory (about 0.2 MB each at a long side of 640)."""
    paths = [pathlib.Path(path) for path in paths]
    images = tuple(read_photo(path, long_side=long_side) for path in paths)
    return Photos(tuple(path.name for path in paths), images)


def pack_photos(photos: Photos, path: str | os.PathLike, *, quality: int = 92) -> None:
    """Writes photographs into one .npz file: their names, and their JPEG streams end to end."""
    if pathlib.Path(path).suffix != ".npz":
        raise ValueError(f"A packed file of photographs must end in .npz; got {path}.")
    streams = [
        cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))[1] for image in photos
    ]
    ends = np.cumsum([len(stream) for stream in streams])
    np.savez(path, names=np.array(photos.names), ends=ends, jpeg=np.concatenate(streams))


def unpack_photos(path: str | os.PathLike) -> Photos:
    """Reads the file that pack_photos wrote."""
    with np.load(path, allow_pickle=False) as packed:
        missing = {"names", "ends", "jpeg"} - set(packed.files)
        if missing:
            raise ValueError(
                f"{path} is not a packed file of photographs: it lacks {sorted(missing)}. "
                "Write one with pack_photos."
            )
        names = tuple(str(name) for name in packed["names"])
        streams = np.split(packed["jpeg"], packed["ends"][:-1])
    images = (_decode(s, f"{name} in {path}") for s, name in zip(streams, names, strict=True))
    return Photos(names, tuple(images))


def _decode(encoded: np.ndarray, name: str) -> np.ndarray:
    """Decodes to grey; OpenCV turns the photograph upright by its EXIF tag."""
    image = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) if encoded.size else None
    if image is None:
        raise ValueError(
            f"Could not decode the photograph {name}: it is empty, damaged, or in a format that "
            "OpenCV does not read. Remove it or write it again as JPEG or PNG."
        )
    return image
