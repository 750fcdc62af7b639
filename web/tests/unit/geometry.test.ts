import { expect, test } from "vitest";
import { smallestEigenvector } from "../../src/geometry/eigen";
import { ellipseOf } from "../../src/geometry/ellipse";
import { fundamentalOf, sampsonError } from "../../src/geometry/fundamental";
import { homographyError, homographyOf } from "../../src/geometry/homography";
import { nearest, nextInDirection } from "../../src/geometry/nearest";
import { randomOf, sampleOf } from "../../src/geometry/random";
import { estimated } from "../../src/geometry/ransac";

const HOMOGRAPHY = [1.1, 0.1, 20, -0.05, 0.9, 30, 1e-4, -2e-4, 1] as const;

function through([x, y]: [number, number]): [number, number] {
  const [a, b, c, d, e, f, g, h, i] = HOMOGRAPHY;
  const depth = g * x + h * y + i;
  return [(a * x + b * y + c) / depth, (d * x + e * y + f) / depth];
}

/** Points of a plane, or of a scene with depth seen by two cameras; the last ones are wrong. */
function scene(count: number, wrong: number, flat: boolean) {
  const random = randomOf(7);
  const [points0, points1] = [new Float32Array(2 * count), new Float32Array(2 * count)];
  for (let row = 0; row < count; row++) {
    const [x, y] = [640 * random(), 480 * random()];
    points0.set([x, y], 2 * row);
    if (row >= count - wrong) points1.set([640 * random(), 480 * random()], 2 * row);
    else if (flat) points1.set(through([x, y]), 2 * row);
    else points1.set(seenAgain(x, y, 2 + 4 * random()), 2 * row);
  }
  return { points0, points1 };
}

/** From a camera that moved to the side and a little forward, and turned. */
function seenAgain(x: number, y: number, depth: number): [number, number] {
  const [X, Y] = [((x - 320) / 500) * depth, ((y - 240) / 500) * depth];
  const [c, s] = [Math.cos(0.1), Math.sin(0.1)];
  const [U, V, W] = [c * X + s * depth - 0.8, Y + 0.1, -s * X + c * depth - 0.2];
  return [(500 * U) / W + 320, (500 * V) / W + 240];
}

test("the eigenvector of the smallest eigenvalue is found", () => {
  const v = smallestEigenvector(Float64Array.of(2, 1, 0, 1, 2, 0, 0, 0, 9), 3); // 1, 3 and 9
  expect(Math.abs(v[0]! + v[1]!)).toBeLessThan(1e-12);
  expect(Math.abs(v[0]!)).toBeCloseTo(Math.SQRT1_2);
});

test("four matches of a plane give its homography", () => {
  const { points0, points1 } = scene(8, 0, true);
  const h = homographyOf(points0, points1, [0, 1, 2, 3]);
  HOMOGRAPHY.forEach((x, k) => expect(h[k]! / h[8]!).toBeCloseTo(x, 3));
  expect(Math.sqrt(homographyError(h, points0, points1, 7))).toBeLessThan(1e-2);
});

test("eight matches of a scene give its fundamental matrix, of rank two", () => {
  const { points0, points1 } = scene(20, 0, false);
  const f = fundamentalOf(points0, points1, [...Array(8).keys()]);
  for (let row = 8; row < 20; row++) {
    expect(Math.sqrt(sampsonError(f, points0, points1, row))).toBeLessThan(0.05);
  }
  const [a, b, c, d, e, g, h, i, j] = f as unknown as number[];
  const determinant = a! * (e! * j! - g! * i!) - b! * (d! * j! - g! * h!) + c! * (d! * i! - e! * h!);
  const size = Math.hypot(...f);
  expect(Math.abs(determinant) / size ** 3).toBeLessThan(1e-9);
});

test.each([
  ["homography", true],
  ["fundamental", false],
] as const)("RANSAC finds the right matches among the wrong: %s", (kind, flat) => {
  const { points0, points1 } = scene(300, 120, flat);
  const { inliers, count } = estimated(points0, points1, 300, kind, 1);
  expect(inliers.subarray(0, 180).every((one) => one === 1)).toBe(true);
  expect(count).toBeLessThan(180 + 12); // a line has room for a few of the wrong ones
  expect([...estimated(points0, points1, 300, kind, 1).inliers]).toEqual([...inliers]);
});

test("too few matches agree on nothing", () => {
  const { points0, points1 } = scene(3, 0, true);
  expect(estimated(points0, points1, 3, "homography", 3).count).toBe(0);
});

test("the same seed draws the same numbers, and samples do not repeat", () => {
  const [one, other] = [randomOf(3), randomOf(3)];
  expect(sampleOf(one, 5, 9)).toEqual(sampleOf(other, 5, 9));
  expect(new Set(sampleOf(one, 8, 8)).size).toBe(8);
});

test("an ellipse lies along the larger variance", () => {
  const { long, short, angle } = ellipseOf([1, 0, 0, 4]);
  expect(long / short).toBeCloseTo(2);
  expect(Math.abs(angle)).toBeCloseTo(Math.PI / 2);
  expect(short).toBeCloseTo(2.4477, 3); // of 95 %
});

test("the nearest match is found, and the next one to the right", () => {
  const points = Float32Array.of(0, 0, 10, 1, 10, 30, 30, 0);
  expect(nearest(points, 4, [9, 2], 5)).toBe(1);
  expect(nearest(points, 4, [100, 100], 5)).toBeNull();
  expect(nearest(points, 1, [9, 2], 50)).toBe(0);
  expect(nextInDirection(points, 4, 0, [1, 0])).toBe(1);
  expect(nextInDirection(points, 4, 0, [-1, 0])).toBeNull();
});
