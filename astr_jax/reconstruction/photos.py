"""The photographs of a folder, by the names that COLMAP gives them."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from astr_jax.files import files_below
from astr_jax.images import UNREADABLE, orientation, stored_shape

ENDINGS = ("bmp", "jpeg", "jpg", "png", "tif", "tiff", "webp")
FOREIGN = ("webp",)  # of these, what COLMAP does not read


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photograph: its name is its path within the folder, with "/", as COLMAP has it."""

    name: str
    path: pathlib.Path
    orientation: int  # EXIF; COLMAP's points lie in pixels as stored, ours in the upright image
    stored_shape: tuple[int, int]  # (h, w) as stored

    @property
    def upright_shape(self) -> tuple[int, int]:
        """(h, w) of the upright image."""
        return self.stored_shape[::-1] if self.orientation >= 5 else self.stored_shape


def find_photos(folder: str | os.PathLike, *, fewest: int = 2) -> tuple[Photo, ...]:
    """All photographs in a folder and below it, linked folders too, by name; hidden files are left
    out.

    Raises FileNotFoundError without such a folder, ValueError for fewer than `fewest` photographs
    or a file that cannot be read.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}.")
    files = [path for path in files_below(folder) if path.suffix[1:].lower() in ENDINGS]
    names = {path.relative_to(folder).as_posix(): path for path in files}
    names = {
        name: path
        for name, path in names.items()
        if not any(part.startswith(".") for part in name.split("/"))
    }
    if len(names) < fewest:
        words = "a photograph" if fewest == 1 else "at least two photographs"
        raise ValueError(
            f"{folder} must hold {words} (.{', .'.join(ENDINGS)}); it has {len(names)}."
        )
    return tuple(read_photo(name, names[name]) for name in sorted(names))


def check_colmap_reads(photos: Sequence[Photo]) -> None:
    """Raises ValueError for photographs that can be matched, but of which COLMAP makes no model:
    said before hours of matching."""
    foreign = [photo.name for photo in photos if photo.path.suffix[1:].lower() in FOREIGN]
    if foreign:
        raise ValueError(
            f"COLMAP cannot read .{' or .'.join(FOREIGN)} files: convert the {len(foreign)} of "
            f"them to .jpg or .png, {foreign[0]} first."
        )


def read_photo(name: str, path: pathlib.Path) -> Photo:
    """A photograph by its header. Raises ValueError for a file that cannot be read."""
    if any(mark in name for mark in "\t\n\r"):
        raise ValueError(f"{path}: the name holds a tab or a line's end; rename the file.")
    try:
        return Photo(name, path, orientation(path), stored_shape(path))
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read as an image ({error}); take it away.") from None
