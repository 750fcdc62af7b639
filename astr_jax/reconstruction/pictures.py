"""Images made ready for tracks: seeds at the working size, smoothed grey values at a larger one."""

import dataclasses
import os

import numpy as np
from jaxtyping import Bool

from astr_jax.images import padded, prepare, read_image
from astr_jax.matching.canvases import canvases
from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.reconstruction.carrying import smooth
from astr_jax.reconstruction.seeds import Seeds, find_seeds


@dataclasses.dataclass(frozen=True)
class Picture:
    """What tracks need of an image. Scales are given over own pixels, (x, y)."""

    seeds: Seeds  # in working pixels
    working_shape: tuple[int, int]
    working_scale: tuple[float, float]
    polish_scale: tuple[float, float]
    levels: tuple  # of ops.least_squares_matching.levels_of, at the polishing size
    mask: Bool[np.ndarray, "h w"]

    @property
    def grid(self) -> tuple[int, int]:
        """Coarse cells of the image, (h, w)."""
        return tuple(-(-side // COARSE_STRIDE) for side in self.working_shape)


def make_picture(path: str | os.PathLike, *, resize: int, polish_size: int) -> Picture:
    """Reads an image at both sizes. Raises FileNotFoundError or ValueError."""
    image = read_image(path, str(path))
    working = prepare(image, None, resize=resize, name=str(path))
    large = prepare(image, None, resize=polish_size, name=str(path))
    square = canvases(polish_size)[-1]
    pixels, mask = (padded(x, square)[0] for x in (large.pixels, large.mask))
    return Picture(
        seeds=find_seeds(working, resize),
        working_shape=working.shape,
        working_scale=working.scale,
        polish_scale=large.scale,
        levels=smooth(pixels, mask),
        mask=mask,
    )
