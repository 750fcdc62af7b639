"""Draws training pairs with ground-truth lines, to be looked at.

What is red has no true match: it lies beyond the photograph's edge or behind an occluder; of lifted
photographs also what the other image hides or does not reach.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from astr_jax.data.homography import HomographyConfig, HomographyPairs
from astr_jax.data.lifted import LiftedConfig, LiftedPairs
from astr_jax.geometry import warp_points
from astr_jax.supervision import LayersTruth, PairBatch, PlaneTruth


def draw_pair(
    pair: PairBatch, rng: np.random.Generator, *, lines: int = 12
) -> UInt8[np.ndarray, "H W2 3"]:
    """Draws both images side by side, what is not visible in red, with true matches as lines."""
    sides, (visible0, visible1, points0, points1) = [], true_matches(pair.truth)
    for image, visible in ((pair.image0, visible0), (pair.image1, visible1)):
        colour = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        colour[~visible] = (colour[~visible] * 0.6 + np.array([0, 0, 100])).astype(np.uint8)
        sides.append(colour)
    sheet = np.hstack(sides)
    draw_lines(sheet, points0, points1 + np.array([pair.image0.shape[1], 0]), rng, lines)
    return sheet


def true_matches(truth: PlaneTruth | LayersTruth):
    """What of either image is not red, and the true matches: whole pixels of image 0, and where
    they lie in image 1."""
    if isinstance(truth, PlaneTruth):
        points0 = _pixels(truth.visible0)
        points1 = warp_points(truth.homography.astype(float), points0, signed=True, beyond=-1.0)
        x, y = np.rint(points1).astype(int).T
        height, width = truth.visible1.shape
        seen = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        seen[seen] = truth.visible1[y[seen], x[seen]]
        return truth.visible0, truth.visible1, points0[seen], points1[seen]
    back = LayersTruth(np.linalg.inv(truth.homographies), truth.layer1, truth.layer0)
    found = []
    for one in (truth, back):
        points0 = _pixels(np.ones(one.layer0.shape, bool))
        points1, seen = map(np.asarray, one.locate(points0))
        found.append((points0[seen], points1[seen], seen.reshape(one.layer0.shape)))
    return found[0][2], found[1][2], *found[0][:2]


def _pixels(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "n 2"]:
    """The pixels (x, y) of a mask, row by row."""
    return np.argwhere(mask)[:, ::-1].astype(float)


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
    photos, *, rows: int, columns: int, difficulty: float, seed: int, lifted: bool = False
) -> UInt8[np.ndarray, "H W 3"]:
    """Draws rows x columns pairs, chosen by the seed: homographies, or of lifted photographs."""
    rng = np.random.default_rng(seed)
    pairs = HomographyPairs(photos, HomographyConfig(), seed)
    if lifted:
        pairs = LiftedPairs(photos, LiftedConfig(), seed)
    drawn = [draw_pair(pairs.pair(k, difficulty), rng) for k in range(rows * columns)]
    return np.vstack([np.hstack(drawn[k : k + columns]) for k in range(0, len(drawn), columns)])
