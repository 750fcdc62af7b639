/** What was found: drawn, counted, looked at, downloaded. */

import { nearest, nextInDirection } from "../geometry/nearest";
import type { GeometryKind } from "../geometry/ransac";
import { csvOf } from "../matching/csv";
import { countAbove } from "../matching/matches";
import type { Geometry, Matched, Request } from "../matching/messages";
import { byId } from "./elements";
import { inPicture, placedIn, type Point } from "./layout";
import { drawLens, storyOf } from "./lens";
import { Overlay, pointOf, type Drawing } from "./overlay";

type GeometryRequest = Extract<Request, { kind: "geometry" }>;
type Ask = (request: GeometryRequest) => Promise<Geometry>;

const TOLERANCE: Record<GeometryKind, number> = { homography: 3, fundamental: 1.5 }; // pixels
const NEAR = 24; // CSS pixels that a click may miss a match by
const ARROWS: Record<string, Point> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

export class Results {
  private readonly section = byId("results", HTMLElement);
  private readonly slider = byId("confidence", HTMLInputElement);
  private readonly drawing = byId("drawing", HTMLSelectElement);
  private readonly geometry = byId("geometry", HTMLSelectElement);
  private readonly lens = byId("lens", HTMLElement);
  private readonly overlay: Overlay;
  private readonly canvases = [
    byId("lens0", HTMLCanvasElement),
    byId("lens1", HTMLCanvasElement),
  ] as [HTMLCanvasElement, HTMLCanvasElement];
  private found: Matched | null = null;
  private threshold = 0;
  private agreeing: Geometry | null = null;
  private picked: number | null = null;

  constructor(
    private readonly images: readonly [HTMLImageElement, HTMLImageElement],
    private readonly ask: Ask,
  ) {
    this.overlay = new Overlay(byId("overlay", HTMLCanvasElement), images);
    this.slider.addEventListener("input", () => this.draw());
    this.drawing.addEventListener("change", () => this.draw());
    this.geometry.addEventListener("change", () => void this.check());
    byId("csv", HTMLButtonElement).addEventListener("click", () => this.download());
    images[0].addEventListener("click", (event) => this.clicked(event));
    images[0].addEventListener("keydown", (event) => this.pressed(event));
    new ResizeObserver(() => this.draw()).observe(byId("pictures", HTMLElement));
  }

  get shown(): boolean {
    return this.found !== null;
  }

  clear(): void {
    this.found = this.agreeing = this.picked = null;
    this.section.hidden = this.lens.hidden = true;
    document.body.classList.remove("ready");
    this.overlay.clear();
  }

  async show(found: Matched, threshold: number): Promise<void> {
    [this.found, this.threshold, this.agreeing, this.picked] = [found, threshold, null, null];
    Object.assign(this.slider, { min: String(threshold), max: "1" });
    this.slider.value = String(threshold);
    document.body.classList.add("ready");
    this.section.hidden = false;
    text("found", found.matches.count.toLocaleString("en"));
    text("seconds", found.seconds.toFixed(1));
    this.draw();
    await this.check();
  }

  /** Asks which matches agree on the chosen geometry. */
  private async check(): Promise<void> {
    const { found } = this;
    if (!found) return;
    this.agreeing = null;
    const model = this.geometry.value;
    if (model === "homography" || model === "fundamental") {
      const { matches, scale1 } = found;
      const tolerance = TOLERANCE[model] * scale1;
      const request = { kind: "geometry", matches, count: matches.count, model, tolerance } as const;
      const agreeing = await this.ask(request);
      if (this.found !== found || this.geometry.value !== model) return; // asked anew since
      this.agreeing = agreeing;
    }
    this.draw();
  }

  private draw(): void {
    if (!this.found) return;
    const { matches } = this.found;
    const least = Number(this.slider.value);
    const count = this.count;
    const inliers = this.agreeing?.inliers ?? null;
    if (this.picked !== null && this.picked >= count) this.pick(null);
    this.overlay.draw({
      matches,
      count,
      threshold: this.threshold,
      inliers,
      drawing: this.drawing.value as Drawing,
      picked: this.picked,
    });
    text("least", least.toFixed(3));
    text("shown", count.toLocaleString("en"));
    const agree = inliers?.subarray(0, count).reduce((sum, one) => sum + one, 0);
    const share = agree === undefined || !count ? "–" : `${Math.round((100 * agree) / count)} %`;
    text("agree", share);
  }

  private get count(): number {
    return this.found ? countAbove(this.found.matches, Number(this.slider.value) - 1e-9) : 0;
  }

  private clicked(event: MouseEvent): void {
    if (!this.found) return;
    const placed = placedIn(this.images[0], document.body);
    const corner = document.body.getBoundingClientRect();
    const at = inPicture(placed, [event.clientX - corner.left, event.clientY - corner.top]);
    this.pick(nearest(this.found.matches.points0, this.count, at, NEAR / placed.zoom));
    this.draw();
  }

  private pressed(event: KeyboardEvent): void {
    const direction = ARROWS[event.key];
    if (!this.found || !direction) return;
    event.preventDefault();
    const { points0 } = this.found.matches;
    if (this.picked === null) {
      const { naturalWidth, naturalHeight } = this.images[0];
      this.pick(nearest(points0, this.count, [naturalWidth / 2, naturalHeight / 2], Infinity));
    } else {
      this.pick(nextInDirection(points0, this.count, this.picked, direction) ?? this.picked);
    }
    this.draw();
  }

  private pick(row: number | null): void {
    this.picked = row;
    this.lens.hidden = row === null;
    if (row === null || !this.found) return;
    drawLens(this.canvases, this.images, this.found.matches, row);
    text("story", storyOf(this.found.matches, row));
    const [x, y] = pointOf(this.found.matches.points0, row);
    this.lens.dataset["at"] = `${x},${y}`;
  }

  private download(): void {
    if (!this.found) return;
    const rows = csvOf(this.found.matches, this.count, this.agreeing?.inliers ?? null);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([rows], { type: "text/csv" }));
    link.download = "matches.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
}

function text(id: string, words: string): void {
  byId(id, HTMLElement).textContent = words;
}
