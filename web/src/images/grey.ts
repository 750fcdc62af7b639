/** Colour as grey, weighted as Pillow's mode L: in whole numbers, so that both agree to the bit. */

const RED = 19595;
const GREEN = 38470;
const BLUE = 7471; // their sum is 2^16
const HALF = 1 << 15;

/** Grey in [0, 1] of RGBA bytes; alpha counts for nothing. */
export function greyOf(rgba: Uint8ClampedArray | Uint8Array): Float32Array {
  const grey = new Float32Array(rgba.length >> 2);
  for (let i = 0, j = 0; i < grey.length; i++, j += 4) {
    const level = (rgba[j]! * RED + rgba[j + 1]! * GREEN + rgba[j + 2]! * BLUE + HALF) >>> 16;
    grey[i] = level / 255;
  }
  return grey;
}
