"""EXIF orientation: from pixels of the upright picture to pixels as its file stores them.

Here an image is matched as it is seen, turned upright by its EXIF tag. COLMAP (pycolmap) and hloc
read pixels as stored and know nothing of the tag: what is written for them goes through to_stored.
"""

import os

import numpy as np
from jaxtyping import Float, Real
from PIL import Image

from astr_jax.images.files import HEIGHT, ORIENTATION, UPRIGHT, WIDTH, opened

# Of each orientation: whether rows and columns change places, then whether x and y run backwards;
# from the upright picture to the stored one.
_CHANGES = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def orientation(path: str | os.PathLike) -> int:
    """The EXIF orientation of a picture, 1 to 8; 1, upright, where it has none or a wrong one.

    Raises what Pillow raises for a file that is no picture.
    """
    with opened(path) as image:
        return orientation_of(image)


def orientation_of(image: Image.Image) -> int:
    """The same of a picture that is open."""
    tag = image.getexif().get(ORIENTATION, UPRIGHT)
    return tag if tag in _CHANGES else UPRIGHT


def stored_shape(path: str | os.PathLike) -> tuple[int, int]:
    """(h, w) of a picture's pixels as stored, by its header. Raises what Pillow raises."""
    with opened(path) as image:
        if image.format == "TIFF":  # which Pillow turns by itself, stating the turned size
            return image.tag_v2[HEIGHT], image.tag_v2[WIDTH]
        return image.size[::-1]


def to_stored(
    points: Real[np.ndarray, "*b 2"], orientation: int, shape: tuple[int, int]
) -> Float[np.ndarray, "*b 2"]:
    """Points (x, y) of the upright picture in pixels as stored; centres at whole numbers.

    shape: (h, w) of the pixels as stored.
    """
    swapped, *backwards = _CHANGES[orientation]
    points = np.asarray(points, float)
    points = points[..., ::-1] if swapped else points
    last = np.array(shape[::-1]) - 1
    return np.where(backwards, last - points, points)


def to_upright(
    points: Real[np.ndarray, "*b 2"], orientation: int, shape: tuple[int, int]
) -> Float[np.ndarray, "*b 2"]:
    """Points (x, y) in pixels as stored in pixels of the upright picture: to_stored undone.

    shape: (h, w) of the pixels as stored.
    """
    swapped, *backwards = _CHANGES[orientation]
    points = np.asarray(points, float)
    points = np.where(backwards, np.array(shape[::-1]) - 1 - points, points)
    return points[..., ::-1] if swapped else points
