import { expect, test } from "vitest";
import { csvOf } from "../../src/matching/csv";
import { fetched } from "../../src/matching/fetched";
import { asGiven, countAbove, sigmaOf, type Found } from "../../src/matching/matches";

const FOUND: Found = {
  keypoints0: Float32Array.of(8, 16, 0, 0, 24, 32),
  keypoints1: Float32Array.of(9, 17, 0, 0, 25, 33),
  covariance: Float32Array.of(4, 1, 1, 2, 0, 0, 0, 0, 1, 0, 0, 1),
  confidence: Float32Array.of(0.95, 0, 0.9),
  scale: Float32Array.of(1, 0, 2),
  valid: Uint8Array.of(1, 0, 1),
};

test("valid rows come back in pixels of the pictures as given", () => {
  const matches = asGiven(FOUND, [2, 2], [2, 3]);
  expect(matches.count).toBe(2);
  expect([...matches.points0]).toEqual([16.5, 32.5, 48.5, 64.5]); // (x + 0.5) a - 0.5
  expect([...matches.points1]).toEqual([18.5, 52, 50.5, 100]);
  expect([...matches.covariance.subarray(0, 4)]).toEqual([16, 6, 6, 18]);
  expect(sigmaOf(matches, 0)).toBeCloseTo(Math.sqrt(17));
});

test("the surest are counted", () => {
  const matches = asGiven(FOUND, [1, 1], [1, 1]);
  expect([0.5, 0.92, 0.96].map((least) => countAbove(matches, least))).toEqual([2, 1, 0]);
});

test("the table has a line for each match, and says which agree", () => {
  const matches = asGiven(FOUND, [1, 1], [1, 1]);
  const lines = csvOf(matches, 2, Uint8Array.of(1, 0)).split("\r\n");
  expect(lines[0]).toBe("x0,y0,x1,y1,confidence,sigma,cov_xx,cov_xy,cov_yy,scale,inlier");
  expect(lines[1]).toBe("8,16,9,17,0.95,1.732051,4,1,2,1,1");
  expect(lines[2]!.endsWith(",2,0")).toBe(true);
  expect(csvOf(matches, 1, null).split("\r\n")).toHaveLength(3);
});

test("bytes are told of as they come", async () => {
  const said: number[] = [];
  const bytes = await fetched(new Response(Uint8Array.of(1, 2, 3)), (n) => said.push(n));
  expect([...bytes]).toEqual([1, 2, 3]);
  expect(said.reduce((a, b) => a + b)).toBe(3);
});
