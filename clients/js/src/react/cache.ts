// What the hooks remember for a client: live lists by their query, results by their job.

import type { Ackwire } from "../types.js";

const caches = new WeakMap<Ackwire, Map<string, unknown>>();

/** Returns the entries of a client. Keys of queries begin with a brace, others are job IDs. */
export function cacheOf<V>(client: Ackwire): Map<string, V> {
  let cache = caches.get(client);
  if (!cache) caches.set(client, (cache = new Map()));
  return cache as Map<string, V>;
}
