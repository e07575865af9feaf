// The way from a client to its questions over HTTP, for entry points beside the core, which knows nothing of it.

import { AckwireError } from "./errors.js";
import type { Rest } from "./rest.js";
import type { Ackwire } from "./types.js";

/** The questions of each client that has asked one. They note themselves here when their code is loaded. */
export const rests = new WeakMap<Ackwire, Rest>();

/** Returns the questions of a client. Their code is loaded by a first one, which asks nothing: no job has that ID. */
export async function restOf(client: Ackwire): Promise<Rest> {
  let refused: unknown;
  if (!rests.has(client)) {
    await client.get("").catch((error: unknown) => {
      refused = error;
    });
  }
  const rest = rests.get(client);
  if (rest) return rest;
  throw refused instanceof AckwireError ? refused : new TypeError("ackwire/operate needs a client that connect() has made");
}
