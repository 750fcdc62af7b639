/** Where a picture lies on the page, and from its pixels to the page's and back. */

export interface Placed {
  readonly left: number; // CSS pixels
  readonly top: number;
  readonly zoom: number; // CSS pixels for one of the picture's
}

export type Point = readonly [number, number];

interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** A picture of width x height that is fitted into a box, in its middle. */
export function fittedInto(box: Box, width: number, height: number): Placed {
  const zoom = Math.min(box.width / width, box.height / height);
  return {
    left: box.left + (box.width - zoom * width) / 2,
    top: box.top + (box.height - zoom * height) / 2,
    zoom,
  };
}

/** Pixel centres lie at whole numbers, so the picture begins at -0.5. */
export function onPage({ left, top, zoom }: Placed, [x, y]: Point): Point {
  return [left + zoom * (x + 0.5), top + zoom * (y + 0.5)];
}

export function inPicture({ left, top, zoom }: Placed, [x, y]: Point): Point {
  return [(x - left) / zoom - 0.5, (y - top) / zoom - 0.5];
}

/** Where an <img> shows its picture, from the corner of another element. */
export function placedIn(image: HTMLImageElement, parent: HTMLElement): Placed {
  const [inner, outer] = [image.getBoundingClientRect(), parent.getBoundingClientRect()];
  const box = {
    left: inner.left - outer.left - parent.clientLeft,
    top: inner.top - outer.top - parent.clientTop,
    width: inner.width,
    height: inner.height,
  };
  return fittedInto(box, image.naturalWidth || 1, image.naturalHeight || 1);
}

/** A canvas with as many pixels as the screen gives it, and its context in CSS pixels. */
export function sharp(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const { width, height } = canvas.getBoundingClientRect();
  const density = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * density));
  canvas.height = Math.max(1, Math.round(height * density));
  const context = canvas.getContext("2d");
  if (!context) throw new Error("This browser cannot draw.");
  context.scale(canvas.width / Math.max(1, width), canvas.height / Math.max(1, height));
  return context;
}
