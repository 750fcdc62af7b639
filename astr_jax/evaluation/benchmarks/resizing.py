"""How images are brought to the size that a matcher is given."""

import dataclasses
import pathlib

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import ImageOps

from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.truths import PairTruth
from astr_jax.geometry import resize_matrix
from astr_jax.images import opened, to_grey


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resize:
    """One rule for all images of a benchmark; exactly one of the sides, or the size, is given."""

    long_side: int | None = None  # pixels
    short_side: int | None = None
    size: tuple[int, int] | None = None  # (w, h), whatever the aspect ratio
    multiple: int = 1  # both sides are rounded down to it

    def __post_init__(self):
        given = [v for v in (self.long_side, self.short_side, self.size) if v is not None]
        if len(given) != 1:
            raise ValueError(
                "give one of long_side, short_side and size; got "
                f"{self.long_side}, {self.short_side} and {self.size}."
            )
        sides = given[0] if self.size is not None else given
        if min(*sides, self.multiple) < 1:
            raise ValueError(f"sides and multiples are positive; got {given[0]}, {self.multiple}.")
        if self.size is not None and self.multiple != 1:
            raise ValueError(f"a fixed size {self.size} knows no multiple; got {self.multiple}.")

    def new_size(self, width: int, height: int) -> tuple[int, int]:
        """(w, h) of an image after the resize."""
        if self.size is not None:
            return self.size
        wanted, side = (
            (self.long_side, max(width, height))
            if self.long_side is not None
            else (self.short_side, min(width, height))
        )
        scale, m = wanted / side, self.multiple
        return tuple(max(round(s * scale) // m * m, m) for s in (width, height))

    def __str__(self) -> str:
        if self.size is not None:
            return f"{self.size[0]} x {self.size[1]} px"
        side = f"long side {self.long_side}" if self.long_side else f"short side {self.short_side}"
        cut = f", sides rounded down to multiples of {self.multiple}" if self.multiple > 1 else ""
        return f"{side} px{cut}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedPair:
    """A pair's images as a matcher is given them, and the truth in their pixels."""

    image0: UInt8[np.ndarray, "h w"]
    image1: UInt8[np.ndarray, "h1 w1"]
    truth: PairTruth
    resize0: Float[np.ndarray, "3 3"]  # pixels of the file to those of image0
    resize1: Float[np.ndarray, "3 3"]


def load_pair(pair: Pair, resize: Resize) -> LoadedPair:
    """Reads and resizes both images. Raises what reading them raises."""
    image0, resize0 = load_image(pair.image0, resize)
    image1, resize1 = load_image(pair.image1, resize)
    return LoadedPair(
        image0=image0,
        image1=image1,
        truth=pair.truth.resized(resize0, resize1),
        resize0=resize0,
        resize1=resize1,
    )


def load_image(
    path: pathlib.Path, resize: Resize
) -> tuple[UInt8[np.ndarray, "h w"], Float[np.ndarray, "3 3"]]:
    """A grey image at the working size, and the matrix from pixels of the file to its pixels.

    Grey by Pillow's 'L', where a JPEG gives its own luma; 16 bits and floats as `astr_jax.match`
    takes them. Turned as its EXIF says, and resized by area averaging.
    """
    with opened(path) as file:
        file.draft("L", file.size)
        upright = ImageOps.exif_transpose(file)
        if upright.mode[0] in "IF":  # which Pillow would clip at 255
            (grey,), _ = to_grey(upright, str(path))
            grey = np.rint(255 * grey).astype(np.uint8)
        else:
            grey = np.asarray(upright.convert("L"))
    height, width = grey.shape
    new = resize.new_size(width, height)
    matrix = resize_matrix((height, width), new[::-1])
    shrinks = new[0] <= width or new[1] <= height
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(grey, new, interpolation=interpolation), matrix
