"""Photographs as grey arrays in memory, read from a folder, or from one file that travels.

    astr data pack DIR --out photos.npz

packs a folder: grey, shrunk to --side, as WebP. Training takes the file in the folder's place.
`packing.py` puts scenes into the same file, and bounds its size.
"""

import collections.abc
import concurrent.futures
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import SupportsIndex

import cv2
import numpy as np
from jaxtyping import UInt8

from astr_jax.data.readers.bad_files import BadFiles
from astr_jax.files import files_below, replacing
from astr_jax.images import check_photo, grey_of_levels, to_grey

LONG_SIDE = 640  # pixels
MOST_NAMED = 50  # files that an error names
QUALITY = 90  # of packed photographs, as WebP has it
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # how its files begin
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
        for name, image in zip(self.names, self.images, strict=True):
            check_photo(image, name)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: SupportsIndex) -> UInt8[np.ndarray, "h w"]:
        return self.images[index]


def list_photos(folder: str | os.PathLike) -> list[pathlib.Path]:
    """Lists the photographs of a folder and of those below it, linked ones too, sorted by path."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"Expected a folder of photographs, but {folder} is not a folder.")
    paths = sorted(p for p in files_below(folder) if p.suffix.lower() in SUFFIXES and p.is_file())
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


def read_photos(paths, *, long_side: int = LONG_SIDE, bad: BadFiles | None = None) -> Photos:
    """Reads photographs into memory (about 0.2 MB each at a long side of 640).

    bad: files that cannot be read are noted there and left out, if it skips. Raises ValueError
    that names all of them if not, and where none can be read.
    """
    read = list(_readable(paths, long_side, BadFiles(skip=False) if bad is None else bad))
    return Photos(tuple(path.name for path, _ in read), tuple(image for _, image in read))


def _readable(paths, long_side: int, bad: BadFiles) -> Iterator[tuple[pathlib.Path, np.ndarray]]:
    """Those of the photographs that can be read, one by one. Raises as read_photos, in the end."""
    found, whole = BadFiles(skip=True), 0
    for path in map(pathlib.Path, paths):
        try:
            image = read_photo(path, long_side=long_side)
        except (OSError, ValueError) as error:
            found[str(path)] = str(error).replace(f"the photograph {path}", "it")
        else:
            whole += 1
            yield path, image
    bad.update(found)
    if found and not (bad.skip and whole):
        raise ValueError(found.report(most=MOST_NAMED))


def pack_photos(
    paths: Iterable[pathlib.Path],
    out: str | os.PathLike,
    *,
    long_side: int = LONG_SIDE,
    quality: int = QUALITY,
    bad: BadFiles | None = None,
) -> None:
    """Writes photographs into one .npz file: their names, and their WebP streams end to end.

    In the order of the paths, read one by one: only the streams are held in memory. quality: of
    WebP, 1 to 100. bad: as in read_photos.
    """
    out = check_packing(out, quality, "photographs")
    names, streams = [], []
    for path, image in _readable(paths, long_side, BadFiles(skip=False) if bad is None else bad):
        names.append(path.name)
        streams.append(encode_photo(image, quality))
    with replacing(out) as beside:
        np.savez(beside, **packed_photos(names, streams))


def packed_photos(
    names: Sequence[str], streams: Sequence[UInt8[np.ndarray, " _"]]
) -> dict[str, np.ndarray]:
    """The arrays of a packed file, of photographs as WebP streams."""
    ends = np.cumsum([len(stream) for stream in streams])
    return {"names": np.array(names), "ends": ends, "webp": np.concatenate(streams)}


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
    return Photos(names, decode_photos(streams, [f"{name} in {path}" for name in names]))


def open_photos(path: str | os.PathLike, bad: BadFiles | None = None) -> tuple[Photos, Photos]:
    """Photographs to train on, and those held back, of a folder or of a packed file.

    bad: as in read_photos.
    """
    packed = pathlib.Path(path).suffix == ".npz"
    photos = unpack_photos(path) if packed else read_photos(list_photos(path), bad=bad)
    train, held_back = (
        Photos(tuple(photos.names[i] for i in part), tuple(photos[i] for i in part))
        for part in split_photos(range(len(photos)))
    )
    if not train:
        raise ValueError(
            f"{path} holds one photograph, which is held back to validate on: give two or more."
        )
    return train, held_back


def encode_photo(image: UInt8[np.ndarray, "h w"], quality: int) -> UInt8[np.ndarray, " n"]:
    """A photograph as a WebP stream."""
    return cv2.imencode(".webp", image, (cv2.IMWRITE_WEBP_QUALITY, quality))[1].reshape(-1)


def decode_photos(
    streams: Sequence[UInt8[np.ndarray, " _"]], names: Sequence[str]
) -> tuple[np.ndarray, ...]:
    """decode_photo of many, by all cores."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return tuple(pool.map(decode_photo, streams, names))


def decode_photo(encoded: np.ndarray, name: str) -> np.ndarray:
    """Decodes to grey, upright by the EXIF tag; sixteen bits and TIFF as `astr_jax.match` does.

    OpenCV decodes, which is quick; TIFF, which may have several pages, Pillow.
    """
    if encoded[:4].tobytes() in TIFF:
        (grey,), _ = to_grey(encoded.tobytes(), name)
        return np.rint(255 * grey).astype(np.uint8)
    as_deep = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
    image = cv2.imdecode(encoded, as_deep) if encoded.size else None
    if image is not None and image.dtype == np.uint16:
        image = np.rint(255 * grey_of_levels(image)).astype(np.uint8)
    if image is None:
        raise ValueError(
            f"Could not decode the photograph {name}: it is empty, damaged, or in a format that "
            "OpenCV does not read. Remove it or write it again as JPEG or PNG."
        )
    return image
