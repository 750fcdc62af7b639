/** The graphs, loaded into ONNX Runtime Web. Runs in a worker. */

import * as ort from "onnxruntime-web/wasm";
import scriptUrl from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasmUrl from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import { fetched } from "./fetched";
import { GRAPHS, type About, type GraphName, type Progress } from "./messages";
import type { Named, Runner } from "./stages";

const MOST_THREADS = 8; // beyond, the graphs gain nothing
const LOADED = 0.85; // share of the loading after which all bytes are there

type Sessions = Record<GraphName, ort.InferenceSession>;

/** What is needed to match: the graphs, and what is known of them. */
export class Graphs implements Runner<ort.Tensor> {
  private constructor(
    readonly about: About,
    readonly threads: number,
    private readonly sessions: Sessions,
  ) {}

  /** page: the address of the page, whose folder model/ has the graphs. wanted: threads, 0 for as
   * many as there are cores. */
  static async load(
    page: string,
    wanted: number,
    say: (progress: Progress) => void,
  ): Promise<Graphs> {
    if (typeof WebAssembly !== "object") {
      throw new Error("This browser has no WebAssembly, which matching needs. A newer one has it.");
    }
    const threads = self.crossOriginIsolated
      ? Math.min(MOST_THREADS, wanted || navigator.hardwareConcurrency || 1)
      : 1;
    Object.assign(ort.env.wasm, { numThreads: threads, wasmPaths: { mjs: scriptUrl, wasm: wasmUrl } });
    ort.env.logLevel = "error";
    const about = (await (await answered(new URL("model/about.json", page))).json()) as About;
    const bytes = await allBytes(page, about, say);
    const sessions = {} as Sessions;
    for (const [i, name] of GRAPHS.entries()) {
      say({ words: "Preparing the model", share: LOADED + ((1 - LOADED) * i) / GRAPHS.length });
      sessions[name] = await ort.InferenceSession.create(bytes[name], {
        executionProviders: ["wasm"],
        graphOptimizationLevel: "all",
      });
    }
    return new Graphs(about, threads, sessions);
  }

  async run(graph: GraphName, given: Named<ort.Tensor>): Promise<Named<ort.Tensor>> {
    const session = this.sessions[graph];
    const feeds = Object.fromEntries(session.inputNames.map((name) => [name, given[name]!]));
    return session.run(feeds);
  }

  floats(values: Float32Array, shape: readonly number[]): ort.Tensor {
    return new ort.Tensor("float32", values, shape);
  }

  truths(values: Uint8Array, shape: readonly number[]): ort.Tensor {
    return new ort.Tensor("bool", values, shape);
  }

  values(array: ort.Tensor): Float32Array | Uint8Array {
    return array.data as Float32Array | Uint8Array;
  }
}

async function allBytes(page: string, about: About, say: (progress: Progress) => void) {
  const whole = GRAPHS.reduce((sum, name) => sum + about.graphs[name], 0);
  let read = 0;
  const arrived = (bytes: number) => {
    read += bytes;
    say({ words: "Loading the model", share: (LOADED * Math.min(read, whole)) / whole });
  };
  const pairs = GRAPHS.map(
    async (name) => [name, await fetched(await answered(new URL(`model/${name}.onnx`, page)), arrived)] as const,
  );
  return Object.fromEntries(await Promise.all(pairs)) as Record<GraphName, Uint8Array>;
}

async function answered(url: URL): Promise<Response> {
  const file = url.pathname.split("/").pop();
  let response: Response;
  try {
    response = await fetch(url);
  } catch {
    throw new Error(`The model cannot be loaded (${file}): is the connection gone?`);
  }
  if (!response.ok) {
    throw new Error(`The model is not there (${file}, ${response.status}): was the page built by make web?`);
  }
  return response;
}
