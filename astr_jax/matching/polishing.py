"""The last stage of a match: least-squares matching of what was found."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from astr_jax.geometry import enlarged_points, shrunk_points
from astr_jax.images import Prepared, padded
from astr_jax.matching import programs
from astr_jax.matching.canvases import canvases, capacity_for, with_rows
from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.types import Matches

ALL = "all"  # of the matches stay, whether they settle or not


def check_polish(polish) -> None:
    """Raises ValueError for what is neither True nor "all" nor False."""
    if not (isinstance(polish, bool) or (isinstance(polish, str) and polish == ALL)):
        raise ValueError(f'polish must be True, "all" or False; got {polish!r}.')


def polished(
    matches: Matches, image0: Prepared, image1: Prepared, resize: int
) -> tuple[Matches, Bool[np.ndarray, "*b k"]]:
    """The same matches, of images as given, with keypoints1 and covariance from least-squares
    matching where they settle; and which do. At the working size.

    matches: at whatever scales and turn they were found; [k], of batches [b k].
    """
    square = canvases(resize)[-1]
    batched = matches.valid.ndim == 2
    matches = jax.tree.map(np.asarray if batched else lambda x: np.asarray(x)[None], matches)
    rows = matches.valid.shape[1]
    used = int(np.max(np.arange(1, rows + 1) * matches.valid, initial=0))
    cells = (square[0] // COARSE_STRIDE) * (square[1] // COARSE_STRIDE)
    room = capacity_for(used, max(cells, used))  # a caller's points may be more than the cells
    points = (
        shrunk_points(points, image.scale).astype(np.float32)
        for points, image in ((matches.keypoints0, image0), (matches.keypoints1, image1))
    )
    fitted = programs.run_polish(
        *(padded(image.pixels, square) for image in (image0, image1)),
        *(padded(image.mask, square) for image in (image0, image1)),
        *(with_rows(x, room) for x in (*points, matches.scale, matches.valid)),
    )
    fitted = jax.tree.map(lambda x: with_rows(np.asarray(x), rows), fitted)  # beyond: not settled
    points1 = enlarged_points(fitted.points1, image1.scale).astype(np.float32)
    covariance = fitted.covariance * np.outer(image1.scale, image1.scale).astype(np.float32)
    settled = fitted.settled[..., None]
    matches = matches.replace(
        keypoints1=np.where(settled, points1, matches.keypoints1),
        covariance=np.where(settled[..., None], covariance, matches.covariance),
    )
    if batched:
        return jax.tree.map(jnp.asarray, matches), fitted.settled
    return jax.tree.map(lambda x: x[0], matches), fitted.settled[0]
