"""Draws pairs of synthetic worlds, to be looked at: images, true correspondences, depth.

python -m astr_jax.data.worlds --photos DIR --out sheet.png [--difficulty 0.7]
"""

import argparse

import cv2
import jax
import numpy as np
from jaxtyping import UInt8

from astr_jax.data.contact_sheet import draw_lines
from astr_jax.data.photos import list_photos, read_photos
from astr_jax.data.worlds.atlas import make_atlas
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
) -> UInt8[np.ndarray, "h 3*w 3"]:
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


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", required=True, help="folder of photographs")
    parser.add_argument("--out", required=True, help="picture to write")
    parser.add_argument("--difficulty", type=float, default=0.7)
    parser.add_argument("--rows", type=int, default=7)
    parser.add_argument("--columns", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)

    rng = np.random.default_rng(args.seed)
    paths = list_photos(args.photos)
    chosen = rng.choice(len(paths), min(48, len(paths)), replace=False)
    atlas = make_atlas(read_photos([paths[k] for k in chosen]), args.seed)
    config = WorldConfig(kinds=tuple(args.kinds))
    drawn = []
    for key in jax.random.split(jax.random.key(args.seed), args.rows):
        rendered = render_pairs(key, atlas, args.difficulty, config=config, batch=args.columns)
        batch, kinds = jax.device_get(rendered)
        pairs = (batch[k] for k in range(args.columns))
        named = zip(pairs, (KINDS[kind] for kind in kinds), strict=True)
        drawn.append(np.hstack([draw_pair(pair, kind, rng) for pair, kind in named]))
    if not cv2.imwrite(args.out, np.vstack(drawn)):
        raise OSError(f"Could not write {args.out}; its folder must exist, its name end in .png.")


if __name__ == "__main__":
    main()
