/** Matches as a table that any program reads. */

import { sigmaOf, type Matches } from "./matches";

const HEAD = "x0,y0,x1,y1,confidence,sigma,cov_xx,cov_xy,cov_yy,scale";

/** The first `count` matches, a line each; inliers: one byte a match, or null where unknown. */
export function csvOf(matches: Matches, count: number, inliers: Uint8Array | null): string {
  const lines = [inliers ? `${HEAD},inlier` : HEAD];
  for (let row = 0; row < count; row++) {
    const [xx, xy, , yy] = matches.covariance.subarray(4 * row, 4 * row + 4);
    const numbers = [
      ...matches.points0.subarray(2 * row, 2 * row + 2),
      ...matches.points1.subarray(2 * row, 2 * row + 2),
      matches.confidence[row]!,
      sigmaOf(matches, row),
      xx!,
      xy!,
      yy!,
      matches.scale[row]!,
    ].map((x) => String(Number(x.toPrecision(7))));
    if (inliers) numbers.push(String(inliers[row]));
    lines.push(numbers.join(","));
  }
  return `${lines.join("\r\n")}\r\n`;
}
