// How much memory documents take. Loaded with what keeps many of them.

/** Most characters, by {@link weigh}, of the documents that one store keeps; each takes 2 bytes at most. */
export const maxWeight = 8e6;

/**
 * Estimates the memory that parsed JSON takes, in characters: those of its names and texts, and 16 for each value. It
 * does not recur, since JSON may be nested deeper than the stack. Unlike JSON.stringify it takes BigInts.
 */
export function weigh(value: unknown): number {
  let weight = 0;
  const rest: any[] = [value];
  for (let part; rest.length; weight += 16) {
    part = rest.pop();
    if (typeof part !== "object") weight += String(part).length;
    else {
      for (const name of Object.keys(part ?? "")) {
        weight += name.length;
        rest.push(part[name]);
      }
    }
  }
  return weight;
}
