/** Confidence as a colour: from coral over yellow to aqua, as the ramp in page.css. */

const RAMP = [
  [255, 107, 74],
  [255, 209, 102],
  [46, 230, 197],
] as const;

export const DISAGREEING = "rgb(150 150 150 / 55%)"; // matches that the geometry rejects
export const OUTLINE = "rgb(0 0 0 / 60%)";

/** share: 0 for the least confidence, 1 for the highest. */
export function colourOf(share: number): string {
  const at = Math.min(1, Math.max(0, share)) * (RAMP.length - 1);
  const first = Math.min(RAMP.length - 2, Math.floor(at));
  const [from, to] = [RAMP[first]!, RAMP[first + 1]!];
  const mixed = from.map((x, k) => Math.round(x + (at - first) * (to[k]! - x)));
  return `rgb(${mixed.join(" ")})`;
}
