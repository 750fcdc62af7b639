"""Sixteen bits: levels as grey values in [0, 1]."""

import numpy as np
from jaxtyping import Float, Integer

from astr_jax.images.notices import notice

FULL = 65535
SMALL_PART = 0.5  # of the full range: what spans less is stretched
LEAST_SPAN = 32  # levels: what spans less is flat, and stretching would show its noise alone
TAIL = 0.001  # share of the pixels that are cut at either end


def grey_of_levels(levels: Integer[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Levels from 0 to 65535 in [0, 1]: over the full range, or over the part that is used.

    Thermal cameras and sensors of 12 bits use a small part of the range. Where nearly all pixels
    (but TAIL at either end) lie within less than SMALL_PART of it, that part becomes [0, 1].
    """
    low, high = used_range(levels)
    if not LEAST_SPAN <= high - low < SMALL_PART * FULL:
        return levels.astype(np.float32) / FULL
    notice(
        "an image of 16 bits uses a small part of its range, which is stretched to [0, 1], as for "
        "all such images"
    )
    return np.clip((levels.astype(np.float32) - low) / (high - low), 0.0, 1.0)


def used_range(levels: Integer[np.ndarray, "h w"]) -> tuple[int, int]:
    """The levels between which all but TAIL of the pixels lie at either end."""
    below = np.cumsum(np.bincount(levels.ravel(), minlength=FULL + 1))
    low, high = np.searchsorted(below, below[-1] * np.array([TAIL, 1 - TAIL]))
    return int(low), int(high)
