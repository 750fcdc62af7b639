"""Draws training pairs with ground-truth lines, to be looked at.

python -m astr_jax.data.contact_sheet --photos DIR --out sheet.png [--difficulty 0.7]
"""

import argparse

import cv2
import numpy as np
from jaxtyping import UInt8

from astr_jax.data.cameras import transform
from astr_jax.data.homography import HomographyConfig, HomographyPairs, Pair
from astr_jax.data.photos import list_photos, read_photos


def draw_pair(
    pair: Pair, rng: np.random.Generator, *, lines: int = 12
) -> UInt8[np.ndarray, "H 2*W 3"]:
    """Draws both images side by side, what is not visible in red, with true matches as lines."""
    sides = []
    for image, visible in ((pair.image0, pair.visible0), (pair.image1, pair.visible1)):
        colour = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        colour[~visible] = (colour[~visible] * 0.6 + np.array([0, 0, 100])).astype(np.uint8)
        sides.append(colour)
    sheet = np.hstack(sides)
    height, width = pair.image0.shape
    rows, columns = np.nonzero(pair.visible0)
    points0 = np.stack([columns, rows], -1).astype(float)
    points1 = transform(pair.H_0to1.astype(float), points0)
    x, y = np.rint(points1).astype(int).T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    matched = np.flatnonzero(inside)
    matched = matched[pair.visible1[y[matched], x[matched]]]
    for k in rng.choice(matched, min(lines, len(matched)), replace=False):
        colour = tuple(int(c) for c in rng.integers(80, 256, 3))
        start = tuple(int(c) for c in points0[k])
        end = (int(x[k]) + width, int(y[k]))
        cv2.line(sheet, start, end, colour, 1, cv2.LINE_AA)
        for point in (start, end):
            cv2.circle(sheet, point, 3, colour, 1, cv2.LINE_AA)
    return sheet


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", required=True, help="folder of photographs")
    parser.add_argument("--out", required=True, help="picture to write")
    parser.add_argument("--difficulty", type=float, default=0.7)
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--columns", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)

    rng = np.random.default_rng(args.seed)
    paths = list_photos(args.photos)
    count = args.rows * args.columns
    chosen = rng.choice(len(paths), min(4 * count, len(paths)), replace=False)
    photos = read_photos([paths[k] for k in chosen])
    pairs = HomographyPairs(photos, HomographyConfig(), args.seed)
    drawn = [draw_pair(pairs.pair(k, args.difficulty), rng) for k in range(count)]
    rows = [np.hstack(drawn[k : k + args.columns]) for k in range(0, count, args.columns)]
    if not cv2.imwrite(args.out, np.vstack(rows)):
        raise OSError(f"Could not write {args.out}; its folder must exist, its name end in .png.")


if __name__ == "__main__":
    main()
