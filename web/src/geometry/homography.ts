/** The homography between two pictures: of a flat scene, or of a camera that only turned. */

import { smallestEigenvector } from "./eigen";
import { inverseOf, matrixOf, normalisationOf, product, type Matrix } from "./matrix";

export const LEAST_POINTS = 4;

/** The homography of four matches or more (normalised DLT, least squares). */
export function homographyOf(
  points0: Float32Array,
  points1: Float32Array,
  rows: readonly number[],
): Matrix {
  const n0 = normalisationOf(points0, rows);
  const n1 = normalisationOf(points1, rows);
  const normal = new Float64Array(81);
  for (const row of rows) {
    const x = n0.scale * (points0[2 * row]! - n0.x);
    const y = n0.scale * (points0[2 * row + 1]! - n0.y);
    const u = n1.scale * (points1[2 * row]! - n1.x);
    const v = n1.scale * (points1[2 * row + 1]! - n1.y);
    addSquare(normal, [x, y, 1, 0, 0, 0, -u * x, -u * y, -u]);
    addSquare(normal, [0, 0, 0, x, y, 1, -v * x, -v * y, -v]);
  }
  const within = smallestEigenvector(normal, 9);
  return product(inverseOf(n1), product(within, matrixOf(n0)));
}

/** Squared distance in picture 1, pixels, between where a match lies and where H puts it. */
export function homographyError(
  h: Matrix,
  points0: Float32Array,
  points1: Float32Array,
  row: number,
): number {
  const x = points0[2 * row]!;
  const y = points0[2 * row + 1]!;
  const depth = h[6]! * x + h[7]! * y + h[8]!;
  const dx = (h[0]! * x + h[1]! * y + h[2]!) / depth - points1[2 * row]!;
  const dy = (h[3]! * x + h[4]! * y + h[5]!) / depth - points1[2 * row + 1]!;
  return dx * dx + dy * dy;
}

/** Adds the outer product of a row with itself. */
export function addSquare(normal: Float64Array, row: readonly number[]): void {
  const n = row.length;
  for (let i = 0; i < n; i++) {
    const x = row[i]!;
    if (x === 0) continue;
    for (let j = 0; j < n; j++) normal[i * n + j]! += x * row[j]!;
  }
}
