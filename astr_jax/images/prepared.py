"""Images and masks at the working size."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from astr_jax.geometry import resize_matrix, turned_back, turned_shape
from astr_jax.images.masks import DROP, MASK, opaque, to_mask
from astr_jax.images.reading import loaded, to_grey


@dataclasses.dataclass(frozen=True)
class Prepared:
    """One or more images of one shape at the working size.

    A point x' of the working image is x = (x' + 0.5) * scale - 0.5 in the image as given; where
    turn is not 0, in that image turned by so many quarters anticlockwise, half ones among them.
    """

    pixels: Float[np.ndarray, "b h w"]
    mask: Bool[np.ndarray, "b h w"]  # True = usable
    scale: tuple[float, float]  # given / working, of x and y
    batched: bool  # the caller gave a batch
    turn: float = 0
    before: "Prepared | None" = None  # of what was turned: as it was

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[1:]

    @property
    def given_shape(self) -> tuple[int, int]:
        """Height and width of the image as given, but turned."""
        return tuple(round(n * s) for n, s in zip(self.shape, self.scale[::-1], strict=True))

    @property
    def upright(self) -> "Prepared":
        """The same images before they were turned."""
        return self.before or self

    def turned(self, turn: float) -> "Prepared":
        """The same images, lying turned by so many quarters anticlockwise: whole ones, or a half
        more, which hides what lies beyond the square of the longer side."""
        upright, turn = self.upright, (self.turn + turn) % 4
        if turn == 0:
            return upright
        pixels, mask, scale = upright.pixels, upright.mask, upright.scale
        if turn % 1:
            pixels, mask, scale = _half_turned(upright, turn % 1)
        pixels, mask = (np.rot90(x, int(turn), axes=(1, 2)) for x in (pixels, mask))
        if turn // 1 % 2:
            scale = scale[::-1]
        return Prepared(pixels, mask, scale, self.batched, turn, upright)

    def shrunk(self, times: int) -> "Prepared":
        """The same images, so many times smaller."""
        size = tuple(max(1, round(side / times)) for side in self.shape)
        if size == self.shape:
            return self
        if self.turn:
            return self.upright.shrunk(times).turned(self.turn)
        both = zip(self.pixels, self.mask, strict=True)
        pixels = np.stack([_resized(grey, usable, size) for grey, usable in both])
        mask = np.stack([_sampled(usable, size) for usable in self.mask])
        scale = tuple(
            s * old / new
            for s, old, new in zip(self.scale, self.shape[::-1], size[::-1], strict=True)
        )
        return dataclasses.replace(self, pixels=pixels * mask, mask=mask, scale=scale)


def prepare(image, mask, *, resize: int, name: str, alpha: str = DROP) -> Prepared:
    """Reads an image or a batch of one shape, makes it grey, and limits its long side.

    image: uint8 or float in [0, 1], of the shapes of `astr_jax.images.arrays`, a PIL image, or a
    file. mask: bool, [H W] or [b H W], True = usable, a file of one, or None; what it hides takes
    no part in the result, where its pixels are 0. alpha: "drop", or "mask", which hides what is
    more than half transparent.
    Raises ValueError (FileNotFoundError for a missing file) that says what was expected.
    """
    image = loaded(image, name)
    grey, batched = to_grey(image, name)
    h, w = grey.shape[1:]
    usable = to_mask(mask, grey.shape, batched, name)
    if alpha == MASK:
        usable = usable & opaque(image, name)
    shrink = min(1.0, resize / max(h, w))
    size = max(1, round(h * shrink)), max(1, round(w * shrink))
    if size != (h, w):
        grey = np.stack([_resized(g, u, size) for g, u in zip(grey, usable, strict=True)])
        usable = np.stack([_sampled(u, size) for u in usable])
    return Prepared(grey * usable, usable, (w / size[1], h / size[0]), batched)


def _half_turned(upright: Prepared, turn: float) -> tuple[np.ndarray, np.ndarray, tuple]:
    """Pixels, mask and scale after less than a quarter turn, sampled bilinearly."""
    given, (side, _) = upright.given_shape, turned_shape(upright.shape, turn)
    enlarge = resize_matrix((side, side), turned_shape(given, turn))
    back = resize_matrix(given, upright.shape) @ turned_back(given, turn) @ enlarge
    back[:2, 2] += 0.5 - back[:2, :2].sum(axis=1) / 2  # Pillow counts from the corner of a pixel

    def sampled(array):
        image = Image.fromarray(np.ascontiguousarray(array, np.float32))
        size, how = (side, side), Image.Transform.AFFINE
        return np.asarray(image.transform(size, how, back[:2].ravel(), Image.Resampling.BILINEAR))

    mask = np.stack([sampled(usable) for usable in upright.mask]) > 0.999
    pixels = np.stack([sampled(grey) for grey in upright.pixels])
    return pixels * mask, mask, (max(given) / side,) * 2


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
