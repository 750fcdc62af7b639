"""What the axes of an array of pixels mean: decided here, for every door that takes images.

    [H W]                           grey
    [H W 1], [H W 2]                grey, grey with alpha
    [H W 3], [H W 4]                red, green and blue; with alpha
    [b H W], [b H W 1], ..., [b H W 4]    a batch of these

The last axis holds channels where it has at most four. Channels in front, [3 H W] or [4 H W], and
a batch [b H W] of strips are refused: what was meant can be told by a fourth axis.
"""

import numpy as np

MOST_CHANNELS = 4
LEAST_SIDE = 8  # pixels, of the images of a batch [b H W]: a coarse cell
STRIP = 64  # pixels: what is narrower, and more of them than they are wide, is no batch
SHAPES = "[H W], or [H W c] with 1 to 4 channels, or a batch [b ...] of these"


def as_array(image, name: str) -> np.ndarray:
    """What is no file as an array. Raises ValueError for nested lists whose rows differ."""
    try:
        return np.asarray(image)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{name} must be {SHAPES}; it is no array ({error}).") from None


def axes(shape: tuple[int, ...], name: str) -> tuple[bool, int]:
    """Whether a shape is of a batch, and how many channels its last axis has; 0: it is no axis of
    channels. Raises ValueError where the shape is of no image, or of one that cannot be told."""
    rank, last = len(shape), shape[-1] if shape else 0
    if rank not in (2, 3, 4):
        raise ValueError(f"{name} must be {SHAPES}; got {shape}.")
    if 0 in shape:
        raise ValueError(f"{name} is empty: its shape is {shape}.")
    if rank == 2:
        return False, 0
    if last <= MOST_CHANNELS:
        return rank == 4, last
    first, order = (shape[0], "1, 2, 0") if rank == 3 else (shape[1], "0, 2, 3, 1")
    if rank == 4 or first in (1, 3, 4):
        batch = f" (A batch of {first} grey images is [b H W 1].)" if rank == 3 else ""
        in_front = f" Channels come last: try image.transpose({order}).{batch}"
        hint = in_front if first <= MOST_CHANNELS else ""
        raise ValueError(f"{name} must be {SHAPES}; got {shape}.{hint}")
    if min(shape[1:]) < LEAST_SIDE or last < min(STRIP, first):
        raise ValueError(
            f"{name} must be {SHAPES}; got {shape}, which would be {first} images of {last} x "
            f"{shape[1]} pixels. Choose at most four channels; if it is a batch of grey images, "
            "say so by [b H W 1]."
        )
    return True, 0


def check_array(array: np.ndarray, name: str) -> tuple[bool, int]:
    """`axes` of an array of pixels. Raises ValueError also where its numbers are of no image."""
    found = axes(array.shape, name)
    if array.dtype == np.uint8:
        return found
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
    return found


def without_alpha(array: np.ndarray, channels: int) -> np.ndarray:
    """[... c] of 1 or 3 channels, of an array with an axis of channels."""
    return array[..., : channels - 1] if channels in (2, 4) else array


def check_photo(photo: np.ndarray, name: str, *, least: int = 1) -> np.ndarray:
    """The array of a photograph to train on or to measure with: grey uint8 [h w], of at least so
    many pixels a side. Raises ValueError."""
    shape, kind = np.shape(photo), getattr(photo, "dtype", type(photo).__name__)
    if len(shape) != 2 or kind != np.uint8 or min(shape) < least:
        raise ValueError(
            f"{name} must be uint8 grey [h w] of at least {least} x {least} pixels; got {kind} "
            f"{shape}. astr_jax.data.photos.read_photo reads a file so."
        )
    return photo
