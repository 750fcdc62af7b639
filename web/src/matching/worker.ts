/** The worker: reads pictures, matches them, finds their geometry; the page stays free. */

import { estimated } from "../geometry/ransac";
import { prepared, type Prepared } from "../images/prepare";
import { decoded, PictureError, pixelsOf } from "../images/reading";
import { Graphs } from "./graphs";
import type { Answers, Picture, Progress, Reply, Request } from "./messages";
import { encoded, encoding, matched } from "./stages";

type Call = Request & { readonly call: number };
type Say = (progress: Progress) => void;

interface Encoded {
  readonly picture: Prepared;
  readonly features: Awaited<ReturnType<typeof encoded<Tensor>>>;
}
type Tensor = ReturnType<Graphs["floats"]>;

const KEPT = 2; // encoded pictures, the newest
const kept = new Map<number, Encoded>();
let loading: Promise<Graphs> | undefined;
let queue: Promise<unknown> = Promise.resolve();

self.onmessage = ({ data }: MessageEvent<Call>) => {
  queue = queue.then(() => answer(data)); // one at a time, in their order
};

async function answer(call: Call): Promise<void> {
  const send = (reply: Reply) => self.postMessage(reply);
  try {
    const say: Say = (progress) => send({ call: call.call, progress });
    send({ call: call.call, answer: await done(call, say) });
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    send({ call: call.call, words, picture: error instanceof PictureError });
  }
}

function done(call: Call, say: Say): Promise<Answers[keyof Answers]> {
  if (call.kind === "load") return load(call.page, call.threads, say);
  if (call.kind === "match") return match(call.left, call.right, say);
  const { matches, count, model, tolerance } = call;
  return Promise.resolve(estimated(matches.points0, matches.points1, count, model, tolerance));
}

async function load(page: string, threads: number, say: Say): Promise<Answers["load"]> {
  const start = performance.now();
  const graphs = await (loading = Graphs.load(page, threads, say));
  const runtime = `WebAssembly, ${graphs.threads === 1 ? "one thread" : `${graphs.threads} threads`}`;
  return { about: graphs.about, runtime, seconds: since(start) };
}

async function match(left: Picture, right: Picture, say: Say): Promise<Answers["match"]> {
  const start = performance.now();
  if (!loading) throw new Error("The model was not loaded.");
  const graphs = await loading;
  const pictures: Encoded[] = [];
  for (const [done, picture] of [left, right].entries()) {
    say(encoding(done));
    pictures.push(await encodedOnce(graphs, picture));
  }
  const [one, other] = pictures as [Encoded, Encoded];
  const matches = await matched(
    graphs,
    [one.features, other.features],
    [one.picture.scale, other.picture.scale],
    graphs.about.threshold,
    say,
  );
  const [x, y] = other.picture.scale;
  return { matches, seconds: since(start), scale1: Math.sqrt(x * y) };
}

async function encodedOnce(graphs: Graphs, { id, file, name }: Picture): Promise<Encoded> {
  let found = kept.get(id);
  if (!found) {
    const [height, width] = graphs.about.size;
    const bitmap = await decoded(file, name);
    const { rgba, ...given } = pixelsOf(bitmap, name);
    bitmap.close();
    const picture = prepared(rgba, given, { height, width });
    found = { picture, features: await encoded(graphs, picture, [height, width]) };
  }
  kept.delete(id);
  kept.set(id, found); // newest last
  while (kept.size > KEPT) kept.delete(kept.keys().next().value!);
  return found;
}

function since(start: number): number {
  return (performance.now() - start) / 1000;
}
