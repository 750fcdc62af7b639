"""The last stage of a match: least-squares matching of what was found."""

import jax
import jax.numpy as jnp
import numpy as np

from astr_jax.images import Prepared, padded
from astr_jax.matching import programs
from astr_jax.matching.canvases import canvases, capacity_for, with_rows
from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.types import Matches


def polished(matches: Matches, image0: Prepared, image1: Prepared, resize: int) -> Matches:
    """The same matches, of images as given, with keypoints1 and covariance from least-squares
    matching where the surroundings agree; at the working size.

    matches: at whatever scales and turn they were found; [k], of batches [b k].
    """
    square = canvases(resize)[-1]
    batched = matches.valid.ndim == 2
    matches = jax.tree.map(np.asarray if batched else lambda x: np.asarray(x)[None], matches)
    rows = matches.valid.shape[1]
    used = int(np.max(np.arange(1, rows + 1) * matches.valid, initial=0))
    cells = (square[0] // COARSE_STRIDE) * (square[1] // COARSE_STRIDE)
    room = capacity_for(used, max(cells, used))  # a caller's points may be more than the cells
    found = programs.run_polish(
        *(padded(image.pixels, square) for image in (image0, image1)),
        *(padded(image.mask, square) for image in (image0, image1)),
        jax.tree.map(lambda x: with_rows(x, room), matches),
        np.array([image0.scale, image1.scale], np.float32),
    )
    keypoints1, covariance = (
        np.concatenate([np.asarray(new)[:, :rows], old[:, room:]], axis=1)
        for new, old in (
            (found.keypoints1, matches.keypoints1),
            (found.covariance, matches.covariance),
        )
    )
    matches = matches.replace(keypoints1=keypoints1, covariance=covariance)
    return jax.tree.map(jnp.asarray if batched else lambda x: x[0], matches)
