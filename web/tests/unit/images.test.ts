import { expect, test } from "vitest";
import { greyOf } from "../../src/images/grey";
import { fittedSize, prepared, roundHalfEven } from "../../src/images/prepare";
import { unfit } from "../../src/images/reading";
import { resized } from "../../src/images/resize";
import pillow from "./pillow.json"; // by tests/web/test_pillow_numbers.py

test("grey is Pillow's to the bit", () => {
  const rgba = Uint8ClampedArray.from(pillow.colours.flatMap((rgb) => [...rgb, 255]));
  const levels = [...greyOf(rgba)].map((grey) => Math.round(grey * 255));
  expect(levels).toEqual(pillow.grey);
});

test("transparency counts for nothing", () => {
  expect([...greyOf(Uint8ClampedArray.of(255, 255, 255, 0))]).toEqual([1]);
});

test("a picture is shrunk as Pillow shrinks it", () => {
  const { from, to, pixels, shrunk } = pillow;
  const actual = resized(Float32Array.from(pixels), from, to);
  expect(actual.length).toBe(shrunk.length);
  actual.forEach((x, i) => expect(Math.abs(x - shrunk[i]!)).toBeLessThan(1e-6));
});

test("halves go to the even neighbour", () => {
  expect([0.5, 1.5, 2.5, 2.4, 2.6].map(roundHalfEven)).toEqual([0, 2, 2, 2, 3]);
});

test("sizes are those that Python takes", () => {
  for (const { given, limit, fitted } of pillow.sizes) {
    expect(fittedSize(given, limit)).toEqual(fitted);
  }
});

test("a smaller picture stays as it is, and is padded at the right and at the bottom", () => {
  const rgba = new Uint8ClampedArray(4 * 6).fill(255);
  const { pixels, mask, scale } = prepared(rgba, { height: 2, width: 3 }, { height: 3, width: 4 });
  expect([...mask]).toEqual([1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0]);
  expect([...pixels]).toEqual([...mask]);
  expect(scale).toEqual([1, 1]);
});

test("what cannot be matched is said in words", () => {
  expect(unfit({ width: 640, height: 480 }, "a.png")).toBeNull();
  expect(unfit({ width: 20_000, height: 20_000 }, "a.png")).toMatch(/a\.png is too large: 400 million/);
  expect(unfit({ width: 640, height: 3 }, "a.png")).toMatch(/a\.png is too small: 640 × 3/);
});
