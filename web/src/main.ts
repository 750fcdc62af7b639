/** The page: two pictures in, their matches out. */

import { Matcher } from "./matching/matcher";
import type { Loaded } from "./matching/messages";
import { keepOffline } from "./offline";
import { decoded, PictureError } from "./images/reading";
import { openCamera } from "./view/camera";
import { byId, say, within } from "./view/elements";
import { Results } from "./view/results";
import { Slot } from "./view/slot";

const button = (id: string) => byId(id, HTMLButtonElement);
const error = byId("error", HTMLElement);
const status = byId("status", HTMLElement);
const bar = byId("progress", HTMLProgressElement);

let matcher: Matcher | undefined;
let working = false;

const slots = (["left", "right"] as const).map((side, i) => {
  const element = byId(`slot${i}`, HTMLElement);
  const takes = (file: Blob, name: string) => void take(i, file, name);
  return new Slot(element, side, takes, () => void openCamera((file) => takes(file, "camera")));
}) as [Slot, Slot];

const results = new Results([slots[0].image, slots[1].image], (request) => matcher!.ask(request));

/** A new picture for one side; words where it is none. */
async function take(side: number, file: Blob, name: string): Promise<void> {
  const slot = slots[side]!;
  try {
    (await decoded(file, name)).close();
    results.clear();
    await slot.show(file, name, name);
    say(error, "");
  } catch (reason) {
    say(error, reason instanceof PictureError ? reason.message : `${name} cannot be shown.`);
  }
  refresh();
}

async function showExample(): Promise<void> {
  results.clear();
  try {
    await Promise.all(
      slots.map(async (slot) => {
        const answer = await fetch(`./model/${slot.side}.png`);
        if (!answer.ok) throw new Error();
        await slot.show(await answer.blob(), `the ${slot.side} example`, "a painted town");
      }),
    );
  } catch {
    say(error, "The example is not there. Choose two pictures of your own.");
  }
  refresh();
}

async function swap(): Promise<void> {
  const [one, other] = slots;
  const [left, right] = [one.picture, other.picture];
  if (!left || !right) return;
  const labels = [one.label, other.label] as const;
  results.clear();
  await Promise.all([one.put(right, labels[1]), other.put(left, labels[0])]);
}

async function match(): Promise<void> {
  const [left, right] = slots.map((slot) => slot.picture);
  if (!matcher || !left || !right || working) return;
  working = true;
  refresh();
  results.clear();
  say(error, "");
  try {
    const found = await matcher.ask({ kind: "match", left, right }, progress);
    const about = (await loading)!.about;
    status.textContent = `${found.matches.count.toLocaleString("en")} matches in ${found.seconds.toFixed(1)} seconds.`;
    await results.show(found, about.threshold);
  } catch (reason) {
    status.textContent = "";
    say(error, wordsOf(reason));
  }
  working = false;
  bar.hidden = true;
  refresh();
}

function progress({ words, share }: { words: string; share: number }): void {
  bar.hidden = false;
  bar.value = share;
  const text = `${words} …`;
  if (status.textContent !== text) status.textContent = text; // so that it is read out once
}

function refresh(): void {
  const both = slots.every((slot) => slot.picture);
  button("match").disabled = working || !both || !matcher;
  button("swap").disabled = working || !both;
  button("example").disabled = working;
}

function wordsOf(reason: unknown): string {
  const words = reason instanceof Error ? reason.message : String(reason);
  if (/no available backend|WebAssembly/i.test(words)) {
    return "This browser cannot run the model: it needs WebAssembly with SIMD. A newer browser has it.";
  }
  if (/memory|bad_alloc|allocat/i.test(words)) {
    return "The memory does not suffice. Close other tabs, or take another device.";
  }
  return words;
}

async function load(): Promise<Loaded | undefined> {
  if (typeof WebAssembly !== "object") {
    say(error, wordsOf("WebAssembly"));
    return undefined;
  }
  matcher = new Matcher();
  try {
    const threads = Number(new URLSearchParams(location.search).get("threads")) || 0;
    const request = { kind: "load", page: document.baseURI, threads } as const;
    const loaded = await matcher.ask(request, (said) => working || progress(said));
    const { about, runtime } = loaded;
    const [height, width] = about.size;
    byId("about", HTMLElement).textContent =
      `ASTR (astr_jax ${about.version}) by ONNX Runtime Web: ${runtime}. Pictures are matched at ` +
      `up to ${width} × ${height} pixels; larger ones are shrunk first.`;
    byId("licence", HTMLElement).textContent = `The weights are for non-commercial research only. ${about.licence}`;
    if (!working) {
      status.textContent = "Ready.";
      bar.hidden = true;
    }
    return loaded;
  } catch (reason) {
    bar.hidden = true;
    status.textContent = "";
    say(error, wordsOf(reason));
    return undefined;
  }
}

for (const event of ["dragover", "drop"]) {
  window.addEventListener(event, (e) => e.preventDefault()); // a miss must not leave the page
}
button("match").addEventListener("click", () => void match());
button("swap").addEventListener("click", () => void swap());
button("example").addEventListener("click", () => {
  say(error, "");
  void showExample();
});
within(byId("slot0", HTMLElement), "img", HTMLImageElement).tabIndex = 0;

const loading = load();
void showExample();
keepOffline(() => working || results.shown);
