/** Shrinking that averages: Pillow's bilinear resize of float images, number by number. */

export interface Size {
  readonly height: number;
  readonly width: number;
}

/** Which input pixels make one output pixel: the first of them, and their weights. */
interface Taps {
  readonly first: number;
  readonly weights: Float64Array;
}

/** An image [height, width] at another size: rows first, then columns. */
export function resized(pixels: Float32Array, from: Size, to: Size): Float32Array {
  const across = to.width === from.width ? pixels : shrunkRows(pixels, from, to.width);
  if (to.height === from.height) return across;
  return shrunkColumns(across, from.height, to.width, to.height);
}

function shrunkRows(pixels: Float32Array, from: Size, width: number): Float32Array {
  const taps = tapsOf(from.width, width);
  const out = new Float32Array(from.height * width);
  for (let y = 0; y < from.height; y++) {
    const row = y * from.width;
    for (let x = 0; x < width; x++) {
      const { first, weights } = taps[x]!;
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += pixels[row + first + k]! * weights[k]!;
      out[y * width + x] = sum;
    }
  }
  return out;
}

function shrunkColumns(pixels: Float32Array, rows: number, width: number, height: number) {
  const out = new Float32Array(height * width);
  const sums = new Float64Array(width);
  tapsOf(rows, height).forEach(({ first, weights }, y) => {
    sums.fill(0);
    for (let k = 0; k < weights.length; k++) {
      const row = (first + k) * width;
      const weight = weights[k]!;
      for (let x = 0; x < width; x++) sums[x]! += pixels[row + x]! * weight;
    }
    out.set(sums, y * width);
  });
  return out;
}

/** A triangle as wide as the step from one output pixel to the next, on both sides. */
function tapsOf(from: number, to: number): Taps[] {
  const step = from / to;
  const reach = Math.max(step, 1);
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * step;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const last = Math.min(from, Math.trunc(centre + reach + 0.5));
    const weights = new Float64Array(last - first);
    let sum = 0;
    for (let k = 0; k < weights.length; k++) {
      const away = Math.abs((first + k - centre + 0.5) / reach);
      weights[k] = Math.max(0, 1 - away);
      sum += weights[k]!;
    }
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}
