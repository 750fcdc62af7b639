/** From pixels as given to what the graphs take: grey, shrunk until it fits, padded. */

import { greyOf } from "./grey";
import { resized, type Size } from "./resize";

export interface Prepared {
  readonly pixels: Float32Array; // grey in [0, 1], [height, width] of the graphs
  readonly mask: Uint8Array; // 1 where there is a picture
  readonly scale: readonly [number, number]; // (x, y): how much larger the picture as given is
  readonly given: Size;
}

/** The size that a picture is shrunk to, so that it fits into the size of the graphs. */
export function fittedSize(given: Size, limit: Size): Size {
  const share = Math.min(1, limit.height / given.height, limit.width / given.width);
  if (share === 1) return given;
  const longer = Math.max(given.height, given.width);
  const shrink = Math.max(1, Math.trunc(longer * share + 1e-6)) / longer;
  return {
    height: Math.max(1, roundHalfEven(given.height * shrink)),
    width: Math.max(1, roundHalfEven(given.width * shrink)),
  };
}

/** A picture of RGBA bytes at the size of the graphs. */
export function prepared(rgba: Uint8ClampedArray, given: Size, limit: Size): Prepared {
  const size = fittedSize(given, limit);
  const grey = greyOf(rgba);
  const small = resized(grey, given, size);
  const pixels = new Float32Array(limit.height * limit.width);
  const mask = new Uint8Array(pixels.length);
  for (let y = 0; y < size.height; y++) {
    const row = y * limit.width;
    for (let x = 0; x < size.width; x++) {
      pixels[row + x] = Math.min(1, Math.max(0, small[y * size.width + x]!));
    }
    mask.fill(1, row, row + size.width);
  }
  return { pixels, mask, given, scale: [given.width / size.width, given.height / size.height] };
}

/** As Python rounds: halves go to the even neighbour. */
export function roundHalfEven(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}
