"""Turns, for images of which nobody knows which side is up.

A turn is the number of quarter turns anticlockwise, as in np.rot90, by which an image lies turned
when it is matched; a half lies between two quarters. What is found goes back to the image as given.
"""

from collections.abc import Mapping

import numpy as np

from astr_jax.geometry import turned_back
from astr_jax.images import Prepared
from astr_jax.matching.scales import AUTO
from astr_jax.ops.grids import COARSE_STRIDE, cell_xy
from astr_jax.types import Matches

QUARTERS = (0, 1, 2, 3)
BETWEEN = (0.5, 1.5, 2.5, 3.5)
# Of the share of cells whose matches agree with their neighbours in the first look:
SURE = 0.05  # beyond it, of an image as it lies, no other turn is looked at
LEAST = 0.015  # of another turn, at least
SURER = 2.0  # times as much as the image as it lies


def check_upright(upright) -> None:
    """Raises ValueError for what is neither "auto" nor True nor False."""
    if not (isinstance(upright, bool) or (isinstance(upright, str) and upright == AUTO)):
        raise ValueError(f'upright must be "auto", True or False; got {upright!r}.')


def chosen_turn(agreement: Mapping[float, float], *, upright) -> float:
    """The turn whose matches agree most; where upright is "auto", 0 unless another is far better.

    agreement: of each turn that was looked at, the share of agreeing cells.
    """
    turn = max(agreement, key=agreement.get)
    if upright == AUTO and agreement[turn] < max(SURER * agreement[0], LEAST):
        return 0
    return turn


def matches_turned_back(matches: Matches, turned: Prepared, width: int) -> Matches:
    """The same matches, image 1 no longer turned.

    turned: image 1 as it was matched. width: coarse cells in a row of cell1. The two grids do not
    coincide: a match gets the cell of the image that is nearest to its own. After whole quarters no
    two get the same but at the edge.
    """
    turn, upright = turned.turn, turned.upright
    if turn == 0:
        return matches
    to_working, to_given = (
        turned_back(shape, turn) for shape in (upright.shape, upright.given_shape)
    )

    def moved(affine, points):
        return points @ affine[:2, :2].T + affine[:2, 2]

    cells = np.asarray(cell_xy(matches.cell1, width))
    # Not np.round, which takes halves to even numbers: two neighbours would become one cell.
    nearest = np.floor(moved(to_working, cells * COARSE_STRIDE) / COARSE_STRIDE + 0.5)
    last = -(-np.array(upright.shape[::-1]) // COARSE_STRIDE) - 1
    column, row = np.moveaxis(np.clip(nearest, 0, last), -1, 0).astype(np.int32)
    keypoints1 = moved(to_given, np.asarray(matches.keypoints1, np.float64)).astype(np.float32)
    rotation = to_given[:2, :2].astype(np.float32)
    covariance = rotation @ np.asarray(matches.covariance) @ rotation.T
    valid = np.asarray(matches.valid)
    return matches.replace(
        keypoints1=np.where(valid[..., None], keypoints1, np.float32(0)),
        covariance=covariance,
        cell1=np.where(valid, row * width + column, -1).astype(np.int32),
    )
