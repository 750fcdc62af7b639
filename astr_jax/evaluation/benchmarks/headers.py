"""What the headers of a benchmark's pictures tell, before anything is matched."""

import pathlib

from PIL import Image

from astr_jax.data.readers.bad_files import UnreadableFile
from astr_jax.data.readers.views import ORIENTATION

UPRIGHT = 1


def picture_size(path: pathlib.Path) -> tuple[int, int]:
    """(w, h) of a picture whose camera is known, by its header alone.

    Raises UnreadableFile where it is missing or no picture. So it does where its EXIF tag turns it:
    the camera belongs to the pixels as they are stored.
    """
    try:
        with Image.open(path) as file:
            size, turned = file.size, file.getexif().get(ORIENTATION, UPRIGHT)
    except FileNotFoundError:
        raise UnreadableFile(path, "there is no such picture") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableFile(path, f"it is no picture that can be read ({error})") from None
    if turned != UPRIGHT:
        raise UnreadableFile(
            path,
            f"its EXIF orientation is {turned}, but its camera is of the pixels as stored; remove "
            "the tag, as with `exiftool -Orientation= FILE`",
        )
    return size
