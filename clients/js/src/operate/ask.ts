// How the functions of this entry ask: over the client's HTTP, with its address, its token and its parser.

import { restOf } from "../rests.js";
import type { Ackwire, CallOptions } from "../types.js";

/** What is asked. Members of `query` that are undefined are left out; `body` is sent as JSON. */
export interface Question extends CallOptions {
  method?: "GET" | "POST";
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
}

/** Asks for a path below `/v1`, and returns the object that is answered. Rejects with an AckwireError. */
export async function ask<T>(client: Ackwire, path: string, { query = {}, body, method, signal }: Question = {}): Promise<T> {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value));
  const whole = "/v1/" + path + (search.size ? "?" + search : "");
  return (await restOf(client)).ask_(method, whole, body === undefined ? undefined : JSON.stringify(body), signal) as Promise<T>;
}
