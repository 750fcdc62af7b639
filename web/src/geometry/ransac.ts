/** Which matches agree on one geometry: RANSAC, with random numbers that are always the same. */

import * as fundamental from "./fundamental";
import * as homography from "./homography";
import type { Matrix } from "./matrix";
import { randomOf, sampleOf } from "./random";

export type GeometryKind = "homography" | "fundamental";

const SEED = 1;
const MOST_SAMPLES = 3000;
const SURE = 0.9999; // probability that one sample was free of wrong matches
const REFITS = 3; // to all that agree

interface Model {
  readonly least: number;
  readonly fit: (p0: Float32Array, p1: Float32Array, rows: readonly number[]) => Matrix;
  readonly squaredError: (m: Matrix, p0: Float32Array, p1: Float32Array, row: number) => number;
}

const MODELS: Record<GeometryKind, Model> = {
  homography: {
    least: homography.LEAST_POINTS,
    fit: homography.homographyOf,
    squaredError: homography.homographyError,
  },
  fundamental: {
    least: fundamental.LEAST_POINTS,
    fit: fundamental.fundamentalOf,
    squaredError: fundamental.sampsonError,
  },
};

export interface Agreeing {
  readonly inliers: Uint8Array; // one byte a match, 1 where it agrees
  readonly count: number;
}

/** The largest agreeing set among the first `count` matches; tolerance: pixels of picture 1. */
export function estimated(
  points0: Float32Array,
  points1: Float32Array,
  count: number,
  kind: GeometryKind,
  tolerance: number,
): Agreeing {
  const model = MODELS[kind];
  const agreeing = (matrix: Matrix): Agreeing => {
    const inliers = new Uint8Array(count);
    let found = 0;
    for (let row = 0; row < count; row++) {
      if (model.squaredError(matrix, points0, points1, row) <= tolerance ** 2) {
        inliers[row] = 1;
        found++;
      }
    }
    return { inliers, count: found };
  };
  let best: Agreeing = { inliers: new Uint8Array(count), count: 0 };
  if (count < model.least) return best;
  const random = randomOf(SEED);
  for (let i = 0; i < samplesNeeded(best.count / count, model.least); i++) {
    const rows = sampleOf(random, model.least, count);
    const found = agreeing(model.fit(points0, points1, rows));
    if (found.count > best.count) best = found;
  }
  for (let i = 0; i < REFITS && best.count >= model.least; i++) {
    const rows = [...best.inliers.keys()].filter((row) => best.inliers[row]);
    const found = agreeing(model.fit(points0, points1, rows));
    if (found.count <= best.count) break;
    best = found;
  }
  return best;
}

/** How many samples of `size` matches must be drawn where this share of them is right. */
function samplesNeeded(share: number, size: number): number {
  const good = share ** size;
  if (good <= 0) return MOST_SAMPLES;
  if (good >= 1) return 1;
  return Math.min(MOST_SAMPLES, Math.ceil(Math.log(1 - SURE) / Math.log1p(-good)));
}
