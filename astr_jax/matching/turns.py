"""Quarter turns, for images of which nobody knows which side is up.

A turn is the number of quarter turns anticlockwise, as in np.rot90, by which an image lies turned
when it is matched. What is found in it goes back to the image as given.
"""

from collections.abc import Mapping

import numpy as np

from astr_jax.geometry import turned_back
from astr_jax.matching.scales import AUTO
from astr_jax.ops.grids import COARSE_STRIDE, cell_xy
from astr_jax.types import Matches

TURNS = (0, 1, 2, 3)
# Of the share of cells whose matches agree with their neighbours in the first look:
SURE = 0.035  # beyond it, of an image as it lies, no other turn is looked at
LEAST = 0.017  # of another turn, at least
SURER = 2.0  # times as much as the image as it lies


def check_upright(upright) -> None:
    """Raises ValueError for what is neither "auto" nor True nor False."""
    if not (isinstance(upright, bool) or (isinstance(upright, str) and upright == AUTO)):
        raise ValueError(f'upright must be "auto", True or False; got {upright!r}.')


def chosen_turn(agreement: Mapping[int, float], *, upright) -> int:
    """The turn whose matches agree most; where upright is "auto", 0 unless another is far better.

    agreement: of each turn that was looked at, the share of agreeing cells.
    """
    turn = max(agreement, key=agreement.get)
    if upright == AUTO and agreement[turn] < max(SURER * agreement[0], LEAST):
        return 0
    return turn


def matches_turned_back(
    matches: Matches,
    turn: int,
    *,
    shape: tuple[int, int],
    working_shape: tuple[int, int],
    width: int,
) -> Matches:
    """The same matches, image 1 no longer turned.

    shape, working_shape: (height, width) of the turned image 1, as given and at its working size.
    width: coarse cells in a row of cell1. The two grids do not coincide: a match gets the cell of
    the image that is nearest to its own, no two the same but at the edge.
    """
    if turn == 0:
        return matches

    def back(points, shape):
        affine = turned_back(shape, turn)
        return points @ affine[:2, :2].T + affine[:2, 2]

    cells = np.asarray(cell_xy(matches.cell1, width))
    # Not np.round, which takes halves to even numbers: two neighbours would become one cell.
    nearest = np.floor(back(cells * COARSE_STRIDE, working_shape) / COARSE_STRIDE + 0.5)
    height_before, width_before = working_shape[::-1] if turn % 2 else working_shape
    last = -(-np.array([width_before, height_before]) // COARSE_STRIDE) - 1
    column, row = np.moveaxis(np.clip(nearest, 0, last), -1, 0).astype(np.int32)
    keypoints1 = back(np.asarray(matches.keypoints1, np.float64), shape).astype(np.float32)
    rotation = turned_back(shape, turn)[:2, :2].astype(np.float32)
    covariance = rotation @ np.asarray(matches.covariance) @ rotation.T
    valid = np.asarray(matches.valid)
    return matches.replace(
        keypoints1=np.where(valid[..., None], keypoints1, np.float32(0)),
        covariance=covariance,
        cell1=np.where(valid, row * width + column, -1).astype(np.int32),
    )
