/** Matrices [3 3], row by row, and the normalisation that keeps linear solutions well posed. */

export type Matrix = Float64Array; // nine numbers

export function product(a: Matrix, b: Matrix): Matrix {
  return Float64Array.from({ length: 9 }, (_, k) => {
    const row = 3 * Math.floor(k / 3);
    const column = k % 3;
    return a[row]! * b[column]! + a[row + 1]! * b[column + 3]! + a[row + 2]! * b[column + 6]!;
  });
}

export function transposed(a: Matrix): Matrix {
  return Float64Array.from({ length: 9 }, (_, k) => a[3 * (k % 3) + Math.floor(k / 3)]!);
}

/** Takes points so that their middle is 0 and their mean distance from it is sqrt 2 (Hartley). */
export interface Normalisation {
  readonly scale: number;
  readonly x: number;
  readonly y: number;
}

export function normalisationOf(points: Float32Array, rows: readonly number[]): Normalisation {
  let [x, y, away] = [0, 0, 0];
  for (const row of rows) {
    x += points[2 * row]! / rows.length;
    y += points[2 * row + 1]! / rows.length;
  }
  for (const row of rows) {
    away += Math.hypot(points[2 * row]! - x, points[2 * row + 1]! - y) / rows.length;
  }
  return { scale: away > 0 ? Math.SQRT2 / away : 1, x, y };
}

export function matrixOf({ scale, x, y }: Normalisation): Matrix {
  return Float64Array.of(scale, 0, -scale * x, 0, scale, -scale * y, 0, 0, 1);
}

export function inverseOf({ scale, x, y }: Normalisation): Matrix {
  return Float64Array.of(1 / scale, 0, x, 0, 1 / scale, y, 0, 0, 1);
}
