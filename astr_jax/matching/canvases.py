"""Few sizes for any images, so that few programs compile: canvases, and capacities of matches.

Images are padded to one of two canvases (4:3 and square) at one `resize`; padding does not change
results. The features of either are padded to those of the square one. The number of coarse matches
picks one of two capacities of the fine stage, and of polishing.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.arrays import Array


def canvases(resize: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The two sizes (h, w) that images are padded to: 4:3, and square."""
    side = -(-resize // 32) * 32
    return (-(-3 * resize // 128) * 32, side), (side, side)


def canvas_of(shape: tuple[int, int], resize: int) -> tuple[int, int]:
    """The canvas of an image of the given working size."""
    wide, square = canvases(resize)
    return wide if shape[0] <= wide[0] else square


def capacity_for(count: int, cells: int) -> int:
    """How many matches a program takes: 256 * 2^k, of two sizes, so that few compile."""
    sizes = [256 * 2 ** max(0, (-(-n // 256) - 1).bit_length()) for n in (-(-cells // 8), cells)]
    return sizes[0] if count <= sizes[0] else sizes[1]


def to_rows(x: Array, rows: int) -> Array:
    """Cuts or pads (with zeros) axis 1 of an array [b n ...] to `rows`."""
    if x.shape[1] >= rows:
        return jax.lax.slice_in_dim(x, 0, rows, axis=1)
    return jnp.pad(x, [(0, rows - x.shape[1] if axis == 1 else 0) for axis in range(x.ndim)])


def with_rows(x: np.ndarray, rows: int) -> np.ndarray:
    """to_rows of what lies in memory, without a program."""
    x = x[:, :rows]
    return np.pad(x, [(0, rows - x.shape[1] if axis == 1 else 0) for axis in range(x.ndim)])


def limit_at(resize: int, shrink: int) -> int:
    """The limit of the long side of images that are so many times smaller."""
    return max(32, -(-resize // shrink))
