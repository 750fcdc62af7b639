/** The matches over both pictures. */

import type { Matches } from "../matching/matches";
import { colourOf, DISAGREEING, OUTLINE } from "./colours";
import { onPage, placedIn, sharp, type Placed, type Point } from "./layout";

export type Drawing = "lines" | "dots";

const MOST_LINES = 200; // more hide the pictures
const DOT = 2.2; // CSS pixels
const WIDE = 900; // of a page where dots have that size
const TAU = 2 * Math.PI;

export interface Shown {
  readonly matches: Matches;
  readonly count: number; // of them, the surest
  readonly threshold: number; // the confidence that the ramp begins with
  readonly inliers: Uint8Array | null;
  readonly drawing: Drawing;
  readonly picked: number | null; // a row
}

export class Overlay {
  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly images: readonly [HTMLImageElement, HTMLImageElement],
  ) {}

  clear(): void {
    sharp(this.canvas);
  }

  draw(shown: Shown): void {
    const context = sharp(this.canvas);
    const ends = this.ends(shown.matches);
    const all = Array.from({ length: shown.count }, (_, i) => shown.count - 1 - i); // surest last
    const rows = shown.drawing === "lines" ? spread(all, MOST_LINES) : all;
    if (shown.drawing === "lines") {
      context.lineWidth = 1;
      context.globalAlpha = 0.8;
      for (const row of rows) {
        context.strokeStyle = colour(shown, row);
        line(context, ...ends(row));
      }
      context.globalAlpha = 1;
    }
    const radius = Math.min(DOT, Math.max(1, DOT * (this.canvas.clientWidth / WIDE)));
    for (const row of rows) {
      for (const end of ends(row)) dot(context, end, radius, colour(shown, row));
    }
    if (shown.picked !== null) mark(context, ends(shown.picked), colour(shown, shown.picked));
  }

  private ends(matches: Matches): (row: number) => [Point, Point] {
    const [one, other] = this.images.map((image) => placedIn(image, this.canvas)) as [Placed, Placed];
    return (row) => [
      onPage(one, pointOf(matches.points0, row)),
      onPage(other, pointOf(matches.points1, row)),
    ];
  }
}

/** Where a confidence stands on the ramp: most are near 1, and take half of it. */
export function shareOf(confidence: number, threshold: number): number {
  return 1 - Math.sqrt(Math.max(0, 1 - confidence) / (1 - threshold));
}

export function pointOf(points: Float32Array, row: number): Point {
  return [points[2 * row]!, points[2 * row + 1]!];
}

/** At most `most` of the rows, evenly spread over them. */
export function spread(rows: readonly number[], most: number): number[] {
  if (rows.length <= most) return [...rows];
  return Array.from({ length: most }, (_, i) => rows[Math.floor((i * rows.length) / most)]!);
}

function colour({ matches, threshold, inliers }: Shown, row: number): string {
  if (inliers && !inliers[row]) return DISAGREEING;
  return colourOf(shareOf(matches.confidence[row]!, threshold));
}

function line(context: CanvasRenderingContext2D, from: Point, to: Point): void {
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
}

function dot(context: CanvasRenderingContext2D, [x, y]: Point, radius: number, fill: string): void {
  context.fillStyle = OUTLINE;
  context.beginPath();
  context.arc(x, y, radius + 0.7, 0, TAU);
  context.fill();
  context.fillStyle = fill;
  context.beginPath();
  context.arc(x, y, radius, 0, TAU);
  context.fill();
}

/** The picked match, above all others. */
function mark(context: CanvasRenderingContext2D, ends: [Point, Point], fill: string): void {
  for (const [width, style] of [
    [5, "#000"],
    [2.5, "#fff"],
  ] as const) {
    context.lineWidth = width;
    context.strokeStyle = style;
    line(context, ...ends);
    for (const [x, y] of ends) {
      context.beginPath();
      context.arc(x, y, 8, 0, TAU);
      context.stroke();
    }
  }
  for (const end of ends) dot(context, end, 3.5, fill);
}
