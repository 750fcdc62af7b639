/** Finding a match by where it lies in the left picture. */

import type { Point } from "../view/layout";

/** The row of the nearest of the first `count` points within `most` pixels; null for none. */
export function nearest(
  points: Float32Array,
  count: number,
  [x, y]: Point,
  most: number,
): number | null {
  return leastOf(count, (row) => {
    const away = Math.hypot(points[2 * row]! - x, points[2 * row + 1]! - y);
    return away <= most ? away : Infinity;
  });
}

/** The next point from a row in a direction, such as [1, 0]: what lies aside counts twice. */
export function nextInDirection(
  points: Float32Array,
  count: number,
  from: number,
  [dx, dy]: Point,
): number | null {
  return leastOf(count, (row) => {
    const x = points[2 * row]! - points[2 * from]!;
    const y = points[2 * row + 1]! - points[2 * from + 1]!;
    const along = x * dx + y * dy;
    const aside = Math.abs(x * dy - y * dx);
    return along > 0.5 && aside <= along ? along + 2 * aside : Infinity;
  });
}

function leastOf(count: number, cost: (row: number) => number): number | null {
  let [best, least] = [-1, Infinity];
  for (let row = 0; row < count; row++) {
    const found = cost(row);
    if (found < least) [best, least] = [row, found];
  }
  return best < 0 ? null : best;
}
