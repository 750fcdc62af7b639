/** Chromium, and what a person does on the page. */

import { readFileSync } from "node:fs";
import { chromium, type Browser, type Page } from "playwright-core";

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

export function launched(): Promise<Browser> {
  const executablePath = process.env["CHROMIUM"] || "/usr/bin/chromium";
  return chromium.launch({ executablePath, args: QUIET });
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

/** Presses the button and waits for the matches; returns the seconds by the clock. */
export async function matched(page: Page): Promise<number> {
  const start = performance.now();
  await page.getByRole("button", { name: "Match these two" }).click();
  await page.locator("#results").waitFor();
  return (performance.now() - start) / 1000;
}

/** The table that the download button gives: a row of numbers for each match. */
export async function table(page: Page): Promise<number[][]> {
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download CSV" }).click();
  const text = readFileSync(await (await download).path(), "utf8");
  return text
    .trim()
    .split("\r\n")
    .slice(1)
    .map((line) => line.split(",").map(Number));
}
