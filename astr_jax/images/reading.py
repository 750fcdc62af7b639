"""Every form of an image as an array of pixels, checked."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[Image.Image]:
    """An image file as Pillow opens it, nothing decoded. Raises what Pillow raises.

    Pillow maps a file that it is given by name, and then reads uncompressed TIFF that its tag turns
    by a quarter in rows of the wrong length.
    """
    with open(path, "rb") as file, Image.open(file) as image:
        yield image


def read_image(path: str | os.PathLike, name: str = "image") -> Image.Image:
    """Opens an image file, upright by its EXIF tag. Raises FileNotFoundError or ValueError."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{name}: there is no file {path}.")
    try:
        with opened(path) as image:
            return ImageOps.exif_transpose(image)
    except UnidentifiedImageError:
        raise ValueError(f"{name}: {path} is not an image that Pillow can read.") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name}: {path} cannot be read as an image ({error}).") from None


def to_grey(image, name: str) -> tuple[Float[np.ndarray, "b h w"], bool]:
    """Grey float images in [0, 1], colour weighted as Pillow's 'L'; and whether a batch came."""
    array = read_pixels(image, name)
    colour = array.shape[-1] == 3 and array.ndim > 2
    if array.ndim > 2 and array.shape[-1] in (1, 3):
        channels, batched = array, array.ndim == 4
    else:
        channels, batched = array[..., None], array.ndim == 3
    if not batched:
        channels = channels[None]
    if channels.dtype == np.uint8 and colour:
        grey = np.stack([np.asarray(Image.fromarray(c).convert("L")) for c in channels])
        return grey.astype(np.float32) / 255, batched
    channels = channels.astype(np.float32) / (255 if array.dtype == np.uint8 else 1)
    weights = np.array([0.299, 0.587, 0.114], np.float32) if colour else np.ones(1, np.float32)
    return channels @ weights, batched


def to_rgb(image, name: str = "image") -> UInt8[np.ndarray, "h w 3"]:
    """One image as 8-bit colour, to be drawn."""
    array = read_pixels(image, name)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 2 and (array.ndim != 3 or array.shape[-1] != 3):
        raise ValueError(f"{name} must be one image [H W], [H W 1] or [H W 3]; got {array.shape}.")
    if array.dtype != np.uint8:
        array = np.round(array * 255).astype(np.uint8)
    return array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=-1)


def read_pixels(image, name: str) -> np.ndarray:
    """The pixels of an image or a batch in any form: checked, uint8, or float in [0, 1].

    Of Pillow's modes, I and I;16 hold 0 to 65535 and F holds 0 to 1; transparency is dropped.
    """
    if isinstance(image, str | os.PathLike):
        image = read_image(image, name)
    if isinstance(image, Image.Image):
        array, name = _unpacked(image, name), f"{name} (Pillow's mode {image.mode})"
    else:
        array = np.asarray(image)
    check_array(array, name)
    return array


def _unpacked(image: Image.Image, name: str) -> np.ndarray:
    """[H W] or [H W 3] of an image of any mode."""
    if image.mode == "F":
        return np.asarray(image)
    if image.mode.startswith("I"):  # convert("L") would cut at 255
        levels = np.asarray(image)
        if levels.size and not 0 <= levels.min() <= levels.max() <= 65535:
            raise ValueError(
                f"{name} has Pillow's mode {image.mode} and spans [{levels.min()}, "
                f"{levels.max()}]; integers must lie in 0 to 65535. Scale it to this."
            )
        return levels.astype(np.float32) / 65535
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    if image.mode == "RGB":
        return np.asarray(image)
    return np.asarray(image.convert("RGBA").convert("RGB"))


def check_array(array: np.ndarray, name: str) -> None:
    """Raises ValueError for an array that is no image."""
    shape = array.shape
    shapes = "[H W], [H W 1] or [H W 3], or a batch [b ...] of these"
    if array.ndim not in (2, 3, 4) or (array.ndim == 4 and shape[-1] not in (1, 3)):
        first = array.ndim == 4 and shape[1] in (1, 3)
        hint = " Channels come last: try image.transpose(0, 2, 3, 1)." if first else ""
        raise ValueError(f"{name} must be {shapes}; got {shape}.{hint}")
    if array.ndim == 3 and shape[0] in (1, 3) and shape[-1] not in (1, 3):
        raise ValueError(
            f"{name} must be {shapes}; got {shape}. Channels come last: try "
            "image.transpose(1, 2, 0). (A batch of one or three grey images is [b H W 1].)"
        )
    if 0 in shape:
        raise ValueError(f"{name} is empty: its shape is {shape}.")
    if array.dtype == np.uint8:
        return
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            f"{name} must be uint8, or float in [0, 1]; got {array.dtype}. Divide integers by "
            "their full scale, such as 65535."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity; images must be finite.")
    low, high = array.min(), array.max()
    if low < 0 or high > 1:
        eight_bits = low >= 0 and high <= 255
        advice = "Divide by 255, or pass uint8." if eight_bits else "Scale it to this."
        raise ValueError(
            f"{name} is float and spans [{low:.4g}, {high:.4g}]; floats must lie in [0, 1]. "
            + advice
        )
