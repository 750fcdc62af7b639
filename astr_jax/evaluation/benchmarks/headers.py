"""What the headers of a benchmark's pictures tell, before anything is matched."""

import pathlib

from astr_jax.data.readers.bad_files import UnreadableFile
from astr_jax.images import UNREADABLE, orientation, stored_shape

FIRST_LYING = 5  # EXIF orientations from here on change rows and columns


def upright_shape(path: pathlib.Path) -> tuple[int, int] | None:
    """(h, w) of a picture as it is seen, by its header alone; None for one that cannot be read."""
    try:
        shape, turned = stored_shape(path), orientation(path)
    except UNREADABLE:
        return None
    return shape[::-1] if turned >= FIRST_LYING else shape


def picture_size(path: pathlib.Path) -> tuple[int, int]:
    """(w, h) of a picture whose camera is known, by its header alone.

    Raises UnreadableFile where it is missing or no picture. So it does where its EXIF tag turns it:
    the camera belongs to the pixels as they are stored.
    """
    try:
        (height, width), turned = stored_shape(path), orientation(path)
    except FileNotFoundError:
        raise UnreadableFile(path, "there is no such picture") from None
    except UNREADABLE as error:
        raise UnreadableFile(path, f"it is no picture that can be read ({error})") from None
    if turned != 1:
        raise UnreadableFile(
            path,
            f"its EXIF orientation is {turned}, but its camera is of the pixels as stored; remove "
            "the tag, as with `exiftool -Orientation= FILE`",
        )
    return width, height
