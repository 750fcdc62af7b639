/** The fundamental matrix of two pictures: of any scene that does not move. */

import { smallestEigenvector } from "./eigen";
import { addSquare } from "./homography";
import { matrixOf, normalisationOf, product, transposed, type Matrix } from "./matrix";

export const LEAST_POINTS = 8;

/** F of eight matches or more (normalised eight-point algorithm), of rank two; x1^T F x0 = 0. */
export function fundamentalOf(
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
    addSquare(normal, [u * x, u * y, u, v * x, v * y, v, x, y, 1]);
  }
  const within = rankTwo(smallestEigenvector(normal, 9));
  return product(transposed(matrixOf(n1)), product(within, matrixOf(n0)));
}

/** Squared Sampson distance of a match, pixels. */
export function sampsonError(
  f: Matrix,
  points0: Float32Array,
  points1: Float32Array,
  row: number,
): number {
  const x = points0[2 * row]!;
  const y = points0[2 * row + 1]!;
  const u = points1[2 * row]!;
  const v = points1[2 * row + 1]!;
  const a = f[0]! * x + f[1]! * y + f[2]!;
  const b = f[3]! * x + f[4]! * y + f[5]!;
  const c = f[6]! * x + f[7]! * y + f[8]!;
  const d = f[0]! * u + f[3]! * v + f[6]!;
  const e = f[1]! * u + f[4]! * v + f[7]!;
  const off = u * a + v * b + c;
  return (off * off) / Math.max(a * a + b * b + d * d + e * e, 1e-300);
}

/** The nearest matrix of rank two: without its smallest singular value. */
function rankTwo(f: Matrix): Matrix {
  const right = smallestEigenvector(product(transposed(f), f), 3);
  return f.map((x, k) => {
    const row = 3 * Math.floor(k / 3);
    const along = f[row]! * right[0]! + f[row + 1]! * right[1]! + f[row + 2]! * right[2]!;
    return x - along * right[k % 3]!;
  });
}
