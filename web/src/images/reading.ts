/** Picture files as pixels, and words for those that are none. */

import type { Size } from "./resize";

export const MOST_PIXELS = 89_000_000; // of a picture: Pillow's own limit
const MOST_BYTES = 200_000_000; // of a file
const LEAST_SIDE = 32; // pixels

/** What a person is told: a whole sentence. */
export class PictureError extends Error {}

export interface Pixels extends Size {
  readonly rgba: Uint8ClampedArray;
}

/** Decodes a file, upright by its EXIF tag, its colours as they are stored. */
export async function decoded(file: Blob, name: string): Promise<ImageBitmap> {
  if (file.size > MOST_BYTES) {
    throw new PictureError(
      `${name} is too large: ${megabytes(file.size)}. Files up to ${megabytes(MOST_BYTES)} are read.`,
    );
  }
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file, {
      colorSpaceConversion: "none",
      imageOrientation: "from-image",
    });
  } catch {
    throw new PictureError(
      `${name} is not a picture that this browser can read. JPEG, PNG and WebP are.`,
    );
  }
  const words = unfit(bitmap, name);
  if (words === null) return bitmap;
  bitmap.close();
  throw new PictureError(words);
}

/** Why a picture of this size cannot be matched; null where it can. */
export function unfit({ width, height }: Size, name: string): string | null {
  if (width * height > MOST_PIXELS) {
    const millions = Math.round((width * height) / 1e6);
    return `${name} is too large: ${millions} million pixels. Up to ${MOST_PIXELS / 1e6} million are read.`;
  }
  if (Math.min(width, height) < LEAST_SIDE) {
    return `${name} is too small: ${width} × ${height} pixels. Each side needs at least ${LEAST_SIDE}.`;
  }
  return null;
}

/** The bytes of a decoded picture. */
export function pixelsOf(bitmap: ImageBitmap, name: string): Pixels {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new PictureError(`${name} is too large for this browser.`);
  context.drawImage(bitmap, 0, 0);
  try {
    return { width, height, rgba: context.getImageData(0, 0, width, height).data };
  } catch {
    throw new PictureError(`${name} is too large for this browser's memory.`);
  }
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`;
}
