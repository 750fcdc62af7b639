"""From whatever people hold to padded grey arrays, and back to their pixels.

One function, read_pixels, reads every form of an image; what is matched is also what is drawn.
"""

import dataclasses
import os
import pathlib

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError


@dataclasses.dataclass(frozen=True)
class Prepared:
    """One or more images of one shape at the working size.

    A point x' of the working image is x = (x' + 0.5) * scale - 0.5 in the image as given; where
    turn is not 0, in that image turned by so many quarters anticlockwise.
    """

    pixels: Float[np.ndarray, "b h w"]
    mask: Bool[np.ndarray, "b h w"]  # True = usable
    scale: tuple[float, float]  # given / working, of x and y
    batched: bool  # the caller gave a batch
    turn: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[1:]

    @property
    def given_shape(self) -> tuple[int, int]:
        """Height and width of the image as given, but turned."""
        return tuple(round(n * s) for n, s in zip(self.shape, self.scale[::-1], strict=True))

    def turned(self, turn: int) -> "Prepared":
        """The same images, lying turned by so many quarters anticlockwise."""
        pixels, mask = (np.rot90(x, turn, axes=(1, 2)) for x in (self.pixels, self.mask))
        scale = self.scale[::-1] if turn % 2 else self.scale
        return Prepared(pixels, mask, scale, self.batched, (self.turn + turn) % 4)

    def shrunk(self, times: int) -> "Prepared":
        """The same images, so many times smaller."""
        size = tuple(max(1, round(side / times)) for side in self.shape)
        if size == self.shape:
            return self
        both = zip(self.pixels, self.mask, strict=True)
        pixels = np.stack([_resized(grey, usable, size) for grey, usable in both])
        mask = np.stack([_sampled(usable, size) for usable in self.mask])
        scale = tuple(
            s * old / new
            for s, old, new in zip(self.scale, self.shape[::-1], size[::-1], strict=True)
        )
        return dataclasses.replace(self, pixels=pixels * mask, mask=mask, scale=scale)


def prepare(image, mask, *, resize: int, name: str) -> Prepared:
    """Reads an image or a batch of one shape, makes it grey, and limits its long side.

    image: uint8 or float in [0, 1]; [H W], [H W 1], [H W 3], with b in front for a batch, a PIL
    image, or a path. mask: bool, [H W] or [b H W], True = usable, or None; what it hides takes no
    part in the result, where its pixels are 0.
    Raises ValueError (FileNotFoundError for a missing file) that says what was expected.
    """
    grey, batched = to_grey(image, name)
    h, w = grey.shape[1:]
    usable = to_mask(mask, grey.shape, batched, name)
    shrink = min(1.0, resize / max(h, w))
    size = max(1, round(h * shrink)), max(1, round(w * shrink))
    if size != (h, w):
        grey = np.stack([_resized(g, u, size) for g, u in zip(grey, usable, strict=True)])
        usable = np.stack([_sampled(u, size) for u in usable])
    return Prepared(grey * usable, usable, (w / size[1], h / size[0]), batched)


def read_image(path: str | os.PathLike, name: str = "image") -> Image.Image:
    """Opens an image file, upright by its EXIF tag. Raises FileNotFoundError or ValueError."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{name}: there is no file {path}.")
    try:
        with Image.open(path) as image:
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


def to_mask(mask, shape: tuple[int, ...], batched: bool, name: str) -> Bool[np.ndarray, "b h w"]:
    """The mask for each image of a batch, all True for None."""
    if mask is None:
        return np.ones(shape, bool)
    mask = np.asarray(mask)
    wanted = shape if batched else shape[1:]
    if mask.dtype != bool or mask.shape not in (wanted, shape[1:]):
        raise ValueError(
            f"the mask of {name} must be bool {wanted}, True where usable; "
            f"got {mask.dtype} {mask.shape}."
        )
    return np.broadcast_to(mask, shape)


def _resized(grey: np.ndarray, usable: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mean of the usable pixels, weighted as in a resize; 0 where there are none."""

    def smaller(array):
        image = Image.fromarray(np.ascontiguousarray(array, np.float32))
        return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR))  # averages

    if usable.all():
        return np.clip(smaller(grey), 0.0, 1.0)
    weight = smaller(usable)
    mean = smaller(grey * usable) / np.where(weight > 0, weight, 1.0)
    return np.clip(mean, 0.0, 1.0)


def _sampled(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(mask, np.uint8))
    return np.asarray(image.resize(size[::-1], Image.Resampling.NEAREST)).astype(bool)


def padded(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Zeros (False) at the right and the bottom, up to size."""
    rows, columns = size[0] - array.shape[1], size[1] - array.shape[2]
    return np.pad(array, ((0, 0), (0, rows), (0, columns)))
