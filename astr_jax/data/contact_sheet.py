"""Draws training pairs with ground-truth lines, to be looked at.

What is red has no true match: it lies beyond the photograph's edge or behind an occluder.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from astr_jax.data.homography import HomographyConfig, HomographyPairs
from astr_jax.geometry import warp_points
from astr_jax.supervision import PairBatch


def draw_pair(
    pair: PairBatch, rng: np.random.Generator, *, lines: int = 12
) -> UInt8[np.ndarray, "H W2 3"]:
    """Draws both images side by side, what is not visible in red, with true matches as lines."""
    truth, sides = pair.truth, []
    for image, visible in ((pair.image0, truth.visible0), (pair.image1, truth.visible1)):
        colour = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        colour[~visible] = (colour[~visible] * 0.6 + np.array([0, 0, 100])).astype(np.uint8)
        sides.append(colour)
    sheet = np.hstack(sides)
    height, width = pair.image0.shape
    rows, columns = np.nonzero(truth.visible0)
    points0 = np.stack([columns, rows], -1).astype(float)
    points1 = warp_points(truth.homography.astype(float), points0, signed=True, beyond=-1.0)
    x, y = np.rint(points1).astype(int).T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    matched = np.flatnonzero(inside)
    matched = matched[truth.visible1[y[matched], x[matched]]]
    draw_lines(sheet, points0[matched], points1[matched] + np.array([width, 0]), rng, lines)
    return sheet


def draw_lines(
    sheet: UInt8[np.ndarray, "h w 3"],
    starts: Float[np.ndarray, "k 2"],
    ends: Float[np.ndarray, "k 2"],
    rng: np.random.Generator,
    most: int,
) -> None:
    """Draws some of the matches into the sheet, at most so many: pixels (x, y) of it."""
    for k in rng.choice(len(starts), min(most, len(starts)), replace=False):
        colour = tuple(int(c) for c in rng.integers(80, 256, 3))
        start, end = (tuple(int(c) for c in np.rint(points[k])) for points in (starts, ends))
        cv2.line(sheet, start, end, colour, 1, cv2.LINE_AA)
        for point in (start, end):
            cv2.circle(sheet, point, 3, colour, 1, cv2.LINE_AA)


def draw_sheet(
    photos, *, rows: int, columns: int, difficulty: float, seed: int
) -> UInt8[np.ndarray, "H W 3"]:
    """Draws rows x columns pairs, chosen by the seed."""
    rng = np.random.default_rng(seed)
    pairs = HomographyPairs(photos, HomographyConfig(), seed)
    drawn = [draw_pair(pairs.pair(k, difficulty), rng) for k in range(rows * columns)]
    return np.vstack([np.hstack(drawn[k : k + columns]) for k in range(0, len(drawn), columns)])
