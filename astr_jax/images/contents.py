"""What tells images apart that recur: the name of a file, the pixels of everything else."""

import hashlib
import os
import pathlib
from collections.abc import Hashable

import numpy as np
from PIL import Image

from astr_jax.images.arrays import as_array
from astr_jax.images.files import is_file


def content_key(image) -> Hashable:
    """Equal for two images (or masks) only if they hold the same pixels.

    A file is told by its path, size and time of change. An array is told by what it holds: the
    buffer of a camera, filled again, is another image.
    """
    if image is None:
        return None
    if isinstance(image, str | os.PathLike):
        path = pathlib.Path(image)
        state = path.stat() if path.is_file() else None
        return str(path), state and (state.st_size, state.st_mtime_ns)
    if isinstance(image, Image.Image):
        palette = image.getpalette() if image.mode == "P" else None
        pixels = np.asarray(image)
        return image.mode, str(palette), str(image.info.get("transparency")), _digest(pixels)
    if is_file(image):
        if hasattr(image, "read"):
            image.seek(0)
            return "bytes", hashlib.sha256(image.read()).digest()
        return "bytes", hashlib.sha256(image).digest()
    return _digest(as_array(image, "the image or the mask"))


def _digest(array: np.ndarray) -> tuple:
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return array.shape, array.dtype.str, hashlib.sha256(content).digest()
