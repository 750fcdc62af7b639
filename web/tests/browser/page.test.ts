/** The page in Chromium: it matches as Python does, and says in words what goes wrong. */

import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { exampleAnew, launched, matched, opened, PATIENCE, ready, table, type Launched } from "./browsing";
import { PAGE, served, type Served } from "./serving";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const PICTURES = process.env["ASTR_SCREENSHOTS"]; // a folder, where pictures of the page are wanted
const THREADS = process.env["ASTR_THREADS"]; // how many, where not as many as there are cores
const SAME = 0.1; // pixels
const MOST_AWAY = 0.01; // share of the matches

let chromium: Launched;
let browser: Browser;
let server: Served;

beforeAll(async () => {
  [chromium, server] = await Promise.all([launched(), served(true)]);
  browser = chromium.browser;
});

afterAll(async () => {
  await chromium?.close();
  server?.close();
});

/** Does something and says how long it took; returns the seconds by the clock. */
async function timed(what: string, work: () => Promise<void>): Promise<number> {
  const [start, before] = [performance.now(), chromium.usage()];
  await work();
  const [seconds, after] = [(performance.now() - start) / 1000, chromium.usage()];
  const cpu = (after.cpu - before.cpu).toFixed(1);
  console.log(`${what}: ${seconds.toFixed(1)} s, CPU ${cpu} s; the tab has ${after.largest.toFixed(0)} MiB`);
  return seconds;
}

async function pictured(page: Page, name: string): Promise<void> {
  if (PICTURES) await page.screenshot({ path: resolve(ROOT, PICTURES, `${name}.jpg`), quality: 30, type: "jpeg" });
}

describe("on a desk", () => {
  let context: BrowserContext;
  let page: Page;
  const sent: string[] = [];
  const said: string[] = [];

  beforeAll(async () => {
    context = await browser.newContext({ viewport: { width: 1000, height: 940 }, colorScheme: "light" });
    context.on("request", (request) => {
      if (request.method() !== "GET" || request.postData()) sent.push(`${request.method()} ${request.url()}`);
      if (!/^(blob|data):/.test(request.url()) && !request.url().startsWith(server.url)) sent.push(request.url());
    });
    page = await context.newPage();
    page.on("console", (message) => message.type() === "error" && said.push(message.text()));
    page.on("pageerror", (error) => said.push(error.message));
    await timed("loading", () => opened(page, server.url + (THREADS ? `?threads=${THREADS}` : "")));
  });

  afterAll(() => context?.close());

  test("it matches the example as Python does", async () => {
    await timed("first match", () => matched(page));
    const rows = await table(page);
    const python = JSON.parse(readFileSync(join(PAGE, "model", "example.json"), "utf8"));
    const expected: [number, number][][] = python.keypoints0.map((point: number[], i: number) => [
      point,
      python.keypoints1[i],
    ]);
    const there = new Map(rows.map((row) => [`${row[0]!.toFixed(1)} ${row[1]!.toFixed(1)}`, row]));
    expect(Math.abs(rows.length / expected.length - 1)).toBeLessThan(MOST_AWAY);
    let away = 0;
    for (const [[x, y], [u, v]] of expected as [[number, number], [number, number]][]) {
      const row = there.get(`${x.toFixed(1)} ${y.toFixed(1)}`);
      if (!row || Math.hypot(row[2]! - u, row[3]! - v) > SAME) away++;
    }
    console.log(`${rows.length} matches, Python ${expected.length}; ${away} more than ${SAME} px away`);
    expect(away / expected.length).toBeLessThan(MOST_AWAY);
    await pictured(page, "browser_light");
  });

  test("the page goes on while it matches", async () => {
    await exampleAnew(page);
    await page.evaluate(() => {
      const state = { last: performance.now(), longest: 0 };
      Object.assign(window, { pauses: state });
      setInterval(() => {
        state.longest = Math.max(state.longest, performance.now() - state.last);
        state.last = performance.now();
      }, 20);
    });
    const seconds = await timed("second match", () => matched(page));
    const longest = await page.evaluate(() => (window as unknown as { pauses: { longest: number } }).pauses.longest);
    console.log(`the page's longest pause: ${longest.toFixed(0)} ms`);
    await timed("the same again, nothing encoded", () => matched(page));
    expect(longest / 1000).toBeLessThan(Math.max(0.25, seconds / 4));
  });

  test("the slider, the geometry and a click tell of the matches", async () => {
    const shown = async () => Number((await page.locator("#shown").innerText()).replace(",", ""));
    const all = await shown();
    await page.locator("#confidence").fill("0.97");
    expect(await shown()).toBeLessThan(all);
    await page.locator("#confidence").fill("0.9");
    await page.locator("#geometry").selectOption("homography");
    await expect.poll(() => page.locator("#agree").innerText()).toMatch(/^(9\d|100) %$/);
    const rows = await table(page);
    expect(rows[0]!.length).toBe(11);
    await page.locator("#slot0 img").click();
    expect(await page.locator("#story").innerText()).toMatch(/in the left picture is .* pixels \(one sigma\)/);
    await page.emulateMedia({ colorScheme: "dark" });
    await page.locator("#drawing").selectOption("dots");
    await page.evaluate(() => window.scrollTo(0, 0));
    await pictured(page, "browser_dark");
    await page.emulateMedia({ colorScheme: "light" });
  });

  test("arrow keys go from match to match", async () => {
    const story = page.locator("#story");
    await page.locator("#slot0 img").focus();
    await page.keyboard.press("ArrowRight");
    const first = await story.innerText();
    await page.keyboard.press("ArrowRight");
    expect(await story.innerText()).not.toBe(first);
  });

  test("every control has a name, and what happens is read out", async () => {
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>("button, input, select, img, canvas:not([aria-hidden])")]
        .filter((x) => x.checkVisibility())
        .filter((x) => {
          const labels = (x as HTMLInputElement).labels;
          const text = x.getAttribute("aria-label") || x.getAttribute("alt") || x.textContent?.trim();
          return !text && !labels?.length;
        })
        .map((x) => x.outerHTML),
    );
    expect(nameless).toEqual([]);
    expect(await page.locator("[role=status]").innerText()).toMatch(/matches in/);
  });

  test.each([
    ["words.txt", Buffer.from("no picture"), /words\.txt is not a picture/],
    ["broken.png", Buffer.from("\x89PNG\r\n\x1a\n broken"), /broken\.png is not a picture/],
    ["empty.jpg", Buffer.alloc(0), /empty\.jpg is not a picture/],
  ])("%s is refused in words, and the old picture stays", async (name, buffer, words) => {
    const before = await page.locator("#slot0 .what").innerText();
    await page.getByLabel("Choose the left picture").setInputFiles({ name, mimeType: "image/png", buffer });
    await expect.poll(() => page.locator("#error").innerText()).toMatch(words);
    expect(await page.locator("#slot0 .what").innerText()).toBe(before);
  });

  test("a tiny picture is refused, another one is taken", async () => {
    const drawn = (width: number, height: number) =>
      page.evaluate(
        async ([w, h]) => {
          const canvas = new OffscreenCanvas(w!, h!);
          canvas.getContext("2d")!.fillRect(0, 0, 9, 9);
          const bytes = new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer());
          return [...bytes];
        },
        [width, height],
      );
    const choose = async (name: string, width: number, height: number) => {
      const buffer = Buffer.from(await drawn(width, height));
      await page.getByLabel("Choose the right picture").setInputFiles({ name, mimeType: "image/png", buffer });
    };
    await choose("tiny.png", 20, 300);
    await expect.poll(() => page.locator("#error").innerText()).toMatch(/tiny\.png is too small: 20 × 300/);
    await choose("tall.png", 300, 900);
    await expect.poll(() => page.locator("#slot1 .what").innerText()).toBe("tall.png, 300 × 900");
    expect(await page.locator("#error").isVisible()).toBe(false);
    expect(await page.locator("#results").isVisible()).toBe(false); // what was found before is gone
  });

  test("nothing went to any other place, and nothing was complained of", () => {
    expect(sent).toEqual([]);
    expect(said).toEqual([]);
  });
});

test("on a phone it fits the screen, and works offline after the first visit", async () => {
  const viewport = { width: 390, height: 844 };
  const context = await browser.newContext({ viewport, isMobile: true, hasTouch: true, deviceScaleFactor: 1 });
  const page = await context.newPage();
  await opened(page, server.url);
  await page.evaluate(() => navigator.serviceWorker.ready);
  await expect
    .poll(() => page.evaluate(() => Boolean(navigator.serviceWorker.controller)), { timeout: 240_000 })
    .toBe(true);
  await context.setOffline(true);
  await page.reload();
  await ready(page);
  await matched(page);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  await page.evaluate(() => window.scrollTo(0, 0));
  if (PICTURES) {
    await page.screenshot({ path: resolve(ROOT, PICTURES, "browser_phone.jpg"), quality: 30, type: "jpeg", fullPage: true });
  }
  await context.close();
});

test("a server without the headers for threads gets one thread first", async () => {
  const plain = await served(false);
  const context = await browser.newContext({ serviceWorkers: "block" });
  const page = await context.newPage();
  await opened(page, plain.url);
  expect(await page.locator("#about").innerText()).toContain("one thread");
  expect(await page.locator("#licence").innerText()).toContain("research only");
  await context.close();
  plain.close();
});

test("without WebAssembly it says so", async () => {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE);
  await page.addInitScript(() => Reflect.deleteProperty(window, "WebAssembly"));
  await page.goto(server.url);
  await page.getByRole("alert").waitFor();
  expect(await page.getByRole("alert").innerText()).toMatch(/needs WebAssembly/);
  await page.close();
});

test("the page was built with its example", () => {
  expect(existsSync(join(PAGE, "model", "example.json"))).toBe(true);
});
