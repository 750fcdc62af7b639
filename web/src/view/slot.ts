/** One of the two places for a picture: by file, by drop, from the camera. */

import type { Picture } from "../matching/messages";
import { within } from "./elements";

export type Taken = (file: Blob, name: string) => void;

let pictures = 0;

export class Slot {
  readonly image: HTMLImageElement;
  picture: Picture | null = null;
  private readonly what: HTMLElement;

  constructor(
    readonly element: HTMLElement,
    readonly side: "left" | "right",
    takes: Taken,
    camera: () => void,
  ) {
    this.image = within(element, "img", HTMLImageElement);
    this.image.classList.add(side);
    this.what = within(element, ".what", HTMLElement);
    const input = within(element, "input", HTMLInputElement);
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      if (file) takes(file, file.name);
      input.value = ""; // so that the same file can be chosen again
    });
    within(element, ".camera", HTMLButtonElement).addEventListener("click", camera);
    element.addEventListener("dragover", (event) => {
      event.preventDefault();
      element.classList.add("over");
    });
    element.addEventListener("dragleave", () => element.classList.remove("over"));
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      element.classList.remove("over");
      const file = event.dataTransfer?.files[0];
      if (file) takes(file, file.name);
    });
  }

  /** Shows a picture, once it is decoded. */
  async show(file: Blob, name: string, label: string): Promise<void> {
    await this.put({ id: pictures++, file, name }, label);
  }

  /** Takes over what another slot shows. */
  async put(picture: Picture, label: string): Promise<void> {
    const url = URL.createObjectURL(picture.file);
    const old = this.image.src;
    this.image.src = url;
    await this.image.decode();
    if (old) URL.revokeObjectURL(old);
    this.picture = picture;
    const { naturalWidth, naturalHeight } = this.image;
    this.what.textContent = `${label}, ${naturalWidth} × ${naturalHeight}`;
    this.what.title = label;
    this.image.alt = `The ${this.side} picture: ${label}`;
  }

  get label(): string {
    return this.what.title;
  }
}
