"""The last stage of a match: least-squares matching of what was found.

Where it settles, a match is true to a fraction of a pixel. Elsewhere (on edges, where texture is
weak, at the rims of things) it stays as the network had it, a pixel or two off, and a few of these
spoil what many good ones say: so they are left out where enough are left without them.
"""

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
from pallas_kernels.arrays import Array

ALL = "all"  # of the matches stay, whether they settle or not
ENOUGH = 20  # settled matches of a pair: then the others are left out


def check_polish(polish) -> None:
    """Raises ValueError for what is neither True nor "all" nor False."""
    if not (isinstance(polish, bool) or (isinstance(polish, str) and polish == ALL)):
        raise ValueError(f'polish must be True, "all" or False; got {polish!r}.')


def kept(valid: Bool[Array, "*b k"], settled: Bool[Array, "*b k"]) -> Bool[Array, "*b k"]:
    """The matches that stay: the settled ones, or all where fewer than ENOUGH settle."""
    return valid & (settled | (settled.sum(axis=-1, keepdims=True) < ENOUGH))


def polished(
    matches: Matches, image0: Prepared, image1: Prepared, resize: int, *, keep_all: bool = False
) -> Matches:
    """The matches that stay, of images as given, with keypoints1 and covariance from least-squares
    matching where the surroundings agree; at the working size.

    matches: at whatever scales and turn they were found; [k], of batches [b k]. keep_all: every
    row stays where it is.
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
    if not keep_all:
        matches = only(matches, kept(matches.valid, fitted.settled))
    return jax.tree.map(jnp.asarray if batched else lambda x: x[0], matches)


def only(matches: Matches, keep: Bool[np.ndarray, "b k"]) -> Matches:
    """The rows to keep, in their order; the others become padding behind them."""
    order = np.argsort(~keep, axis=1, kind="stable")
    keep = np.take_along_axis(keep, order, axis=1)

    def rows(x, empty=0):
        beyond = (1,) * (x.ndim - 2)
        x = np.take_along_axis(x, order.reshape(order.shape + beyond), axis=1)
        return np.where(keep.reshape(keep.shape + beyond), x, np.asarray(empty, x.dtype))

    cells = {name: rows(getattr(matches, name), -1) for name in ("cell0", "cell1")}
    return jax.tree.map(rows, matches).replace(**cells)
