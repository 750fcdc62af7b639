import { expect, test } from "vitest";
import type { Progress } from "../../src/matching/messages";
import { encoded, matched, type Named, type Runner } from "../../src/matching/stages";

type Value = Float32Array | Uint8Array;

/** Graphs that write down what they were given, and give what the next one takes. */
class Recorder implements Runner<Value> {
  readonly calls: [string, string[]][] = [];

  async run(graph: string, given: Named<Value>): Promise<Named<Value>> {
    this.calls.push([graph, Object.keys(given).sort()]);
    const one = Float32Array.of(1, 1);
    if (graph === "encode") return { coarse8: one, fine: one };
    if (graph === "coarse") return { cell0: one, confidence: one, valid: Uint8Array.of(1) };
    if (graph === "fine") return { keypoints0: one, keypoints1: one, scale: one };
    return {
      polished_keypoints1: Float32Array.of(5, 6),
      polished_covariance: new Float32Array(4),
      polished_valid: Uint8Array.of(1),
    };
  }
  floats = (values: Float32Array) => values;
  truths = (values: Uint8Array) => values;
  values = (value: Value) => value;
}

const PICTURE = {
  pixels: new Float32Array(4),
  mask: new Uint8Array(4),
  scale: [1, 1] as const,
  given: { height: 2, width: 2 },
};

test("the stages follow each other, each with what those before it gave", async () => {
  const runner = new Recorder();
  const one = await encoded(runner, PICTURE, [2, 2]);
  const other = await encoded(runner, PICTURE, [2, 2]);
  const said: Progress[] = [];
  const scales = [PICTURE.scale, PICTURE.scale] as const;
  const matches = await matched(runner, [one, other], scales, 0.9, (x) => said.push(x));
  expect(runner.calls.map(([graph]) => graph)).toEqual(["encode", "encode", "coarse", "fine", "polish"]);
  const [, given] = runner.calls[2]!;
  expect(given).toEqual(
    ["coarse8_0", "coarse8_1", "fine_0", "fine_1", "image0", "image1", "mask0", "mask1", "threshold"],
  );
  expect(runner.calls[4]![1]).toContain("keypoints0");
  expect([...matches.points1]).toEqual([5, 6]); // the polished ones
  const shares = said.map(({ share }) => share);
  expect(shares).toEqual([...shares].sort());
  expect(shares.at(-1)).toBeLessThan(1);
});
