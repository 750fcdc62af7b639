/** One match, enlarged: its surroundings in both pictures, and its ellipse. */

import { ellipseOf, type Ellipse } from "../geometry/ellipse";
import { sigmaOf, type Matches } from "../matching/matches";
import { sharp, type Point } from "./layout";
import { pointOf } from "./overlay";

const LEAST_REACH = 12; // pixels of the picture, to each side
const ELLIPSES = 6; // reach, in ellipses

export function drawLens(
  canvases: readonly [HTMLCanvasElement, HTMLCanvasElement],
  images: readonly [HTMLImageElement, HTMLImageElement],
  matches: Matches,
  row: number,
): void {
  const ellipse = ellipseOf(matches.covariance.subarray(4 * row, 4 * row + 4));
  const reach = Math.max(LEAST_REACH, ELLIPSES * ellipse.long);
  const scale = Math.min(4, Math.max(0.25, matches.scale[row]!));
  drawSurroundings(canvases[0], images[0], pointOf(matches.points0, row), reach / scale, null);
  drawSurroundings(canvases[1], images[1], pointOf(matches.points1, row), reach, ellipse);
}

/** What is known of a match, in words. */
export function storyOf(matches: Matches, row: number): string {
  const [from, to] = [matches.points0, matches.points1].map((points) => {
    const [x, y] = pointOf(points, row);
    return `(${x.toFixed(1)}, ${y.toFixed(1)})`;
  });
  const scale = matches.scale[row]!;
  const size =
    scale >= 1
      ? `${scale.toFixed(2)} times larger`
      : `${(1 / Math.max(scale, 1e-3)).toFixed(2)} times smaller`;
  return (
    `${from} in the left picture is ${to} in the right one, ` +
    `within ${sigmaOf(matches, row).toFixed(2)} pixels (one sigma). ` +
    `Confidence ${matches.confidence[row]!.toFixed(3)}. Things look ${size} there.`
  );
}

function drawSurroundings(
  canvas: HTMLCanvasElement,
  image: HTMLImageElement,
  [x, y]: Point,
  reach: number,
  ellipse: Ellipse | null,
): void {
  const context = sharp(canvas);
  const side = canvas.getBoundingClientRect().width;
  const zoom = side / (2 * reach);
  context.imageSmoothingEnabled = zoom < 6;
  context.save();
  context.scale(zoom, zoom);
  context.translate(reach - x - 0.5, reach - y - 0.5);
  context.drawImage(image, 0, 0);
  context.restore();
  context.translate(side / 2, side / 2);
  for (const [width, style] of [
    [4, "rgb(0 0 0 / 70%)"],
    [2, "#fff"],
  ] as const) {
    context.lineWidth = width;
    context.strokeStyle = style;
    context.beginPath();
    if (ellipse) {
      const { long, short, angle } = ellipse;
      context.ellipse(0, 0, Math.max(1, zoom * long), Math.max(1, zoom * short), angle, 0, 7);
    }
    for (const [dx, dy] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ] as const) {
      context.moveTo(dx * 0.3 * side, dy * 0.3 * side);
      context.lineTo(dx * 0.42 * side, dy * 0.42 * side);
    }
    context.stroke();
  }
}
