/** A match, graph by graph, as docs/export.md has it. */

import type { Prepared } from "../images/prepare";
import type { GraphName, Progress } from "./messages";
import { asGiven, type Found, type Matches } from "./matches";

/** An array of the graphs: anything that they give is fit to be given to the next one. */
export interface Named<T> {
  readonly [name: string]: T;
}

export interface Runner<T> {
  /** The outputs of a graph by name; what it does not take is left out. */
  run(graph: GraphName, given: Named<T>): Promise<Named<T>>;
  floats(values: Float32Array, shape: readonly number[]): T;
  truths(values: Uint8Array, shape: readonly number[]): T;
  /** The values of an array that a graph gave. */
  values(array: T): Float32Array | Uint8Array;
}

/** Share of the time that each stage takes, about; measured on two cores. */
const SHARES = { encode: 0.22, coarse: 0.36, fine: 0.14, polish: 0.06 } as const;
const WORDS = {
  encode: "Looking at each picture",
  coarse: "Comparing the pictures",
  fine: "Refining the matches",
  polish: "Polishing the matches",
} as const;

/** The features of one picture, and the arrays that they came from. */
export async function encoded<T>(
  runner: Runner<T>,
  picture: Prepared,
  shape: readonly [number, number],
): Promise<Named<T>> {
  const image = runner.floats(picture.pixels, [1, ...shape]);
  const mask = runner.truths(picture.mask, [1, ...shape]);
  return { image, mask, ...(await runner.run("encode", { image, mask })) };
}

/** Matches of two encoded pictures. */
export async function matched<T>(
  runner: Runner<T>,
  features: readonly [Named<T>, Named<T>],
  scales: readonly [Prepared["scale"], Prepared["scale"]],
  threshold: number,
  say: (progress: Progress) => void,
): Promise<Matches> {
  let held: Named<T> = { threshold: runner.floats(Float32Array.of(threshold), []) };
  features.forEach((of, side) => {
    const named = Object.entries(of).map(([name, x]) => [nameOf(name, side), x] as const);
    held = { ...held, ...Object.fromEntries(named) };
  });
  let share = 2 * SHARES.encode;
  for (const stage of ["coarse", "fine", "polish"] as const) {
    say({ words: WORDS[stage], share });
    held = { ...held, ...(await runner.run(stage, held)) };
    share += SHARES[stage];
  }
  return asGiven(foundIn(runner, held), ...scales);
}

/** What to say while the pictures are encoded, one after the other. */
export function encoding(done: number): Progress {
  return { words: WORDS.encode, share: done * SHARES.encode };
}

/** The pictures themselves are image0, mask1; their features coarse8_0, fine_1. */
function nameOf(name: string, side: number): string {
  return name === "image" || name === "mask" ? `${name}${side}` : `${name}_${side}`;
}

function foundIn<T>(runner: Runner<T>, held: Named<T>): Found {
  const floats = (name: string) => runner.values(held[name]!) as Float32Array;
  return {
    keypoints0: floats("keypoints0"),
    keypoints1: floats("polished_keypoints1"),
    covariance: floats("polished_covariance"),
    confidence: floats("confidence"),
    scale: floats("scale"),
    valid: runner.values(held["polished_valid"]!) as Uint8Array,
  };
}
