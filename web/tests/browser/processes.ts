/** CPU time and memory of Chromium's processes, as Linux tells them. */

import { existsSync, readdirSync, readFileSync } from "node:fs";

const TICKS = 100; // a second
const PAGE = 4096; // bytes

interface Usage {
  readonly cpu: number; // seconds, of all processes
  readonly largest: number; // MiB, of the process that needs most: the tab
}

/** Of a process and all below it; zeros where there is no /proc. */
export function usageOf(root: number): Usage {
  if (!existsSync("/proc/self/stat")) return { cpu: 0, largest: 0 };
  const children = new Map<number, number[]>();
  const own = new Map<number, Usage>();
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    const fields = statOf(name);
    if (!fields) continue;
    const parent = Number(fields[1]);
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    const cpu = (Number(fields[11]) + Number(fields[12])) / TICKS;
    own.set(Number(name), { cpu, largest: (Number(fields[21]) * PAGE) / 2 ** 20 });
  }
  const below = (pid: number): Usage[] => [
    own.get(pid) ?? { cpu: 0, largest: 0 },
    ...(children.get(pid) ?? []).flatMap(below),
  ];
  const all = below(root);
  return {
    cpu: all.reduce((sum, { cpu }) => sum + cpu, 0),
    largest: Math.max(...all.map(({ largest }) => largest)),
  };
}

/** The fields of /proc/PID/stat behind the name; null where the process has ended. */
function statOf(pid: string): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return null;
  }
}
