/** Chromium, and what a person does on the page. */

import { chromium, type Browser, type Page } from "playwright-core";
import { usageOf } from "./processes";

const QUIET = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
export const PATIENCE = 240_000; // milliseconds, for a slow machine

export interface Launched {
  readonly browser: Browser;
  /** What Chromium has used so far. */
  readonly usage: () => ReturnType<typeof usageOf>;
  close(): Promise<void>;
}

export async function launched(): Promise<Launched> {
  const executablePath = process.env["CHROMIUM"] || "/usr/bin/chromium";
  const server = await chromium.launchServer({ executablePath, args: QUIET });
  return {
    browser: await chromium.connect(server.wsEndpoint()),
    usage: () => usageOf(server.process().pid ?? 0),
    close: () => server.close(),
  };
}

/** Opens the page and waits until it can match. */
export async function opened(page: Page, url: string): Promise<void> {
  page.setDefaultTimeout(PATIENCE);
  await page.goto(url);
  await ready(page);
}

export async function ready(page: Page): Promise<void> {
  await page.getByText("Ready.").waitFor();
  await page.waitForFunction(() => !document.querySelector<HTMLButtonElement>("#match")!.disabled);
}

/** Presses the button and waits for the matches. */
export async function matched(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Match these two" }).click();
  await page.locator("#results").waitFor();
}

/** Puts the example anew, so that nothing of it is encoded yet. */
export async function exampleAnew(page: Page): Promise<void> {
  const sources = () => [...document.querySelectorAll<HTMLImageElement>(".frame img")].map((x) => x.src);
  const before = await page.evaluate(sources);
  await page.getByRole("button", { name: "Example" }).click();
  await page.waitForFunction(
    (old) => [...document.querySelectorAll<HTMLImageElement>(".frame img")].every((x, i) => x.src !== old[i]),
    before,
  );
  await page.waitForTimeout(500); // both are decoded by then
}

/** The table that the download button gives: a row of numbers for each match. */
export async function table(page: Page): Promise<number[][]> {
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download CSV" }).click();
  const pieces: Buffer[] = [];
  for await (const piece of await (await download).createReadStream()) pieces.push(piece as Buffer);
  return Buffer.concat(pieces)
    .toString("utf8")
    .trim()
    .split("\r\n")
    .slice(1)
    .map((line) => line.split(",").map(Number));
}
