/** What the page and its worker tell each other. */

import type { GeometryKind } from "../geometry/ransac";
import type { Matches } from "./matches";

/** What model/about.json says of the graphs. */
export interface About {
  readonly version: string;
  readonly size: readonly [number, number]; // height, width
  readonly threshold: number; // the least confidence
  readonly weights: string; // how they are stored
  readonly licence: string;
  readonly graphs: Readonly<Record<GraphName, number>>; // bytes
}

export const GRAPHS = ["encode", "coarse", "fine", "polish"] as const;
export type GraphName = (typeof GRAPHS)[number];

export interface Picture {
  readonly id: number; // a new one for every picture
  readonly file: Blob;
  readonly name: string; // what errors call it
}

export type Request =
  | {
      readonly kind: "load";
      readonly page: string; // the address of the page
      readonly threads: number; // 0: as many as there are cores
    }
  | { readonly kind: "match"; readonly left: Picture; readonly right: Picture }
  | {
      readonly kind: "geometry";
      readonly matches: Matches;
      readonly count: number; // of them, the surest
      readonly model: GeometryKind;
      readonly tolerance: number; // pixels of picture 1
    };

/** How a request goes on: a share of 1 means done. */
export interface Progress {
  readonly words: string;
  readonly share: number;
}

export interface Loaded {
  readonly about: About;
  readonly runtime: string; // in words
  readonly seconds: number;
}

export interface Matched {
  readonly matches: Matches;
  readonly seconds: number;
  readonly scale1: number; // how much larger picture 1 is than what was matched
}

export interface Geometry {
  readonly inliers: Uint8Array; // one byte a match, 1 where it agrees
  readonly count: number;
}

export interface Answers {
  readonly load: Loaded;
  readonly match: Matched;
  readonly geometry: Geometry;
}

export type Reply =
  | { readonly call: number; readonly progress: Progress }
  | { readonly call: number; readonly answer: Answers[keyof Answers] }
  | { readonly call: number; readonly words: string; readonly picture: boolean };
