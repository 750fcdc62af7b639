"""Draws pairs of synthetic worlds, to be looked at: images, true correspondences, depth."""

import cv2
import jax
import numpy as np
from jaxtyping import UInt8

from astr_jax.data.contact_sheet import draw_lines
from astr_jax.data.worlds.atlas import Atlas
from astr_jax.data.worlds.config import WorldConfig
from astr_jax.data.worlds.layouts import KINDS
from astr_jax.data.worlds.pairs import render_pairs
from astr_jax.supervision import DepthTruth, PairBatch


def true_matches(truth: DepthTruth) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (x, y) of image 0 and where they lie in image 1, of all that both see."""
    rows, columns = np.nonzero(truth.depth0)
    points0 = np.stack([columns, rows], axis=-1)
    points1, seen = map(np.asarray, truth.locate(points0))
    return points0[seen], points1[seen]


def draw_pair(
    pair: PairBatch, kind: str, rng: np.random.Generator, *, lines: int = 10
) -> UInt8[np.ndarray, "h w3 3"]:
    """Draws both images side by side with true matches as lines, then the depth of image 0."""
    depth0 = pair.truth.depth0
    height, width = depth0.shape
    sheet = cv2.cvtColor(np.hstack([pair.image0, pair.image1]), cv2.COLOR_GRAY2BGR)
    points0, points1 = true_matches(pair.truth)
    draw_lines(sheet, points0, points1 + np.array([width, 0]), rng, lines)
    known = depth0 > 0
    near = depth0[known].min() if known.any() else 1.0
    closeness = np.where(known, 255 * near / np.where(known, depth0, 1.0), 0)
    depth = cv2.applyColorMap(closeness.astype(np.uint8), cv2.COLORMAP_INFERNO)
    share = len(points0) / max(1, known.sum())
    text = f"{kind}  seen in both {share:.2f}"
    cv2.putText(depth, text, (4, height - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1)
    return np.hstack([sheet, depth])


def draw_worlds(
    atlas: Atlas,
    rng: np.random.Generator,
    *,
    rows: int,
    columns: int,
    difficulty: float,
    config: WorldConfig,
    seed: int = 0,
) -> UInt8[np.ndarray, "H W 3"]:
    """Draws rows x columns pairs of worlds, chosen by the seed. rng: which of the true matches are
    drawn."""
    drawn = []
    for key in jax.random.split(jax.random.key(seed), rows):
        rendered = render_pairs(key, atlas, difficulty, config=config, batch=columns)
        batch, numbers = jax.device_get(rendered)
        pairs = (batch[k] for k in range(columns))
        named = zip(pairs, (KINDS[number] for number in numbers), strict=True)
        drawn.append(np.hstack([draw_pair(pair, kind, rng) for pair, kind in named]))
    return np.vstack(drawn)
