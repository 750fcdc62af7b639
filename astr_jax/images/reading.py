"""Every form of an image as an array of pixels, checked."""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from astr_jax.images.arrays import as_array, check_array, without_alpha
from astr_jax.images.files import is_file, read_image
from astr_jax.images.levels import FULL, grey_of_levels


def to_grey(image, name: str) -> tuple[Float[np.ndarray, "b h w"], bool]:
    """Grey float images in [0, 1], colour weighted as Pillow's 'L'; and whether a batch came."""
    array, batched, channels = _read(image, name)
    array = without_alpha(array, channels) if channels else array[..., None]
    if not batched:
        array = array[None]
    colour = array.shape[-1] == 3
    if array.dtype == np.uint8 and colour:
        grey = np.stack(
            [np.asarray(Image.fromarray(np.ascontiguousarray(c)).convert("L")) for c in array]
        )
        return grey.astype(np.float32) / 255, batched
    array = array.astype(np.float32) / (255 if array.dtype == np.uint8 else 1)
    weights = np.array([0.299, 0.587, 0.114], np.float32) if colour else np.ones(1, np.float32)
    return array @ weights, batched


def to_rgb(image, name: str = "image") -> UInt8[np.ndarray, "h w 3"]:
    """One image as 8-bit colour, to be drawn."""
    array, batched, channels = _read(image, name)
    if batched:
        raise ValueError(f"{name} must be one image [H W] or [H W c]; got {array.shape}.")
    array = without_alpha(array, channels) if channels else array[..., None]
    if array.dtype != np.uint8:
        array = np.round(array * 255).astype(np.uint8)
    return array if array.shape[-1] == 3 else np.repeat(array, 3, axis=-1)


def read_pixels(image, name: str) -> np.ndarray:
    """The pixels of an image or a batch in any form: checked, uint8, or float in [0, 1].

    Of Pillow's modes, I and I;16 hold 0 to 65535 (`grey_of_levels`) and F holds 0 to 1;
    transparency is dropped.
    """
    return _read(image, name)[0]


def loaded(image, name: str):
    """The PIL image of a file; anything else as it is. Raises ValueError for None."""
    if image is None:
        raise ValueError(
            f"{name} is None, no image. cv2.imread returns None for a file that it cannot read: "
            "check the path, or give the path itself."
        )
    return read_image(image, name) if is_file(image) else image


def _read(image, name: str) -> tuple[np.ndarray, bool, int]:
    """read_pixels, and what the axes are (`axes`)."""
    image = loaded(image, name)
    if isinstance(image, Image.Image):
        array, name = _unpacked(image, name), f"{name} (Pillow's mode {image.mode})"
    else:
        array = as_array(image, name)
    return array, *check_array(array, name)


def _unpacked(image: Image.Image, name: str) -> np.ndarray:
    """[H W] or [H W 3] of an image of any mode."""
    if image.mode == "F":
        return np.asarray(image)
    if image.mode.startswith("I"):  # convert("L") would cut at 255
        levels = np.asarray(image)
        if levels.size and not 0 <= levels.min() <= levels.max() <= FULL:
            raise ValueError(
                f"{name} has Pillow's mode {image.mode} and spans [{levels.min()}, "
                f"{levels.max()}]; integers must lie in 0 to 65535. Scale it to this."
            )
        return grey_of_levels(levels)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    if image.mode == "RGB":
        return np.asarray(image)
    return np.asarray(image.convert("RGBA").convert("RGB"))
