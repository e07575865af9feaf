// What is kept in memory by something that is done again and again.

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as () => void;
const macrotask = setImmediate; // not a fake one

/** Bytes in use once all garbage is collected. */
export async function heap(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    gc();
    await new Promise((resolve) => macrotask(resolve)); // a WeakRef that was read holds its target until then
  }
  return process.memoryUsage().heapUsed;
}

/** Runs a cycle some times, and returns by how many bytes the memory has grown since a fifth of them were over. */
export async function growth(cycles: number, cycle: () => unknown): Promise<number> {
  let before = 0;
  for (let i = 0; i < cycles; i++) {
    if (i === cycles / 5) before = await heap();
    await cycle();
  }
  return (await heap()) - before;
}
