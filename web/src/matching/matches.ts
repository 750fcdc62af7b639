/** Matches of two pictures, sorted by confidence, in pixels of the pictures as given. */

import type { Prepared } from "../images/prepare";

export interface Matches {
  readonly count: number;
  readonly points0: Float32Array; // (x, y) of each; pixel centres lie at whole numbers
  readonly points1: Float32Array;
  readonly covariance: Float32Array; // of points1: xx, xy, yx, yy of each, pixels squared
  readonly confidence: Float32Array; // in [0, 1]
  readonly scale: Float32Array; // how much larger things look in picture 1
}

/** What the graphs return, by name; rows without a match are marked in `valid`. */
export interface Found {
  readonly keypoints0: Float32Array;
  readonly keypoints1: Float32Array;
  readonly covariance: Float32Array;
  readonly confidence: Float32Array;
  readonly scale: Float32Array;
  readonly valid: Uint8Array;
}

type Scale = Prepared["scale"];

/** The valid rows, in pixels of the pictures as given. */
export function asGiven(found: Found, scale0: Scale, scale1: Scale): Matches {
  const rows = [...found.valid.keys()].filter((row) => found.valid[row]);
  const [x, y] = scale1;
  const squared = [x * x, x * y, x * y, y * y];
  return {
    count: rows.length,
    points0: enlarged(found.keypoints0, rows, scale0),
    points1: enlarged(found.keypoints1, rows, scale1),
    covariance: gathered(rows, 4, (row, k) => found.covariance[4 * row + k]! * squared[k]!),
    confidence: gathered(rows, 1, (row) => found.confidence[row]!),
    scale: gathered(rows, 1, (row) => found.scale[row]!),
  };
}

/** How far a match may be off along an axis: the root of the mean variance, in pixels. */
export function sigmaOf(matches: Matches, row: number): number {
  return Math.sqrt((matches.covariance[4 * row]! + matches.covariance[4 * row + 3]!) / 2);
}

/** How many matches have at least this confidence. They are the first ones. */
export function countAbove(matches: Matches, confidence: number): number {
  let low = 0;
  let high = matches.count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (matches.confidence[middle]! >= confidence) low = middle + 1;
    else high = middle;
  }
  return low;
}

function enlarged(points: Float32Array, rows: readonly number[], scale: Scale): Float32Array {
  return gathered(rows, 2, (row, axis) => (points[2 * row + axis]! + 0.5) * scale[axis]! - 0.5);
}

function gathered(rows: readonly number[], width: number, value: (row: number, k: number) => number) {
  const out = new Float32Array(rows.length * width);
  rows.forEach((row, i) => {
    for (let k = 0; k < width; k++) out[i * width + k] = value(row, k);
  });
  return out;
}
