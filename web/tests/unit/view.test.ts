import { expect, test } from "vitest";
import { colourOf } from "../../src/view/colours";
import { fittedInto, inPicture, onPage } from "../../src/view/layout";
import { shareOf, spread } from "../../src/view/overlay";

test("a picture lies in the middle of its box, and points come back", () => {
  const placed = fittedInto({ left: 10, top: 20, width: 200, height: 200 }, 400, 200);
  expect(placed).toEqual({ left: 10, top: 70, zoom: 0.5 });
  expect(onPage(placed, [-0.5, -0.5])).toEqual([10, 70]); // its corner
  expect(inPicture(placed, onPage(placed, [123, 45]))).toEqual([123, 45]);
});

test("the ramp runs from coral to aqua and ends there", () => {
  expect(colourOf(0)).toBe("rgb(255 107 74)");
  expect(colourOf(0.5)).toBe("rgb(255 209 102)");
  expect(colourOf(1)).toBe(colourOf(7));
});

test("lines are spread over all rows", () => {
  const rows = [...Array(1000).keys()];
  expect(spread(rows, 4)).toEqual([0, 250, 500, 750]);
  expect(spread([3, 1], 4)).toEqual([3, 1]);
});

test("a confidence near 1 has room on the ramp", () => {
  expect([0.9, 0.975, 1].map((x) => Number(shareOf(x, 0.9).toFixed(6)))).toEqual([0, 0.5, 1]);
});
