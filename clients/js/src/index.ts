/**
 * The client of Ackwire: submits jobs, holds a durable ack for each, and follows them over any network.
 *
 * @module
 */

import { choose, lazy } from "./choose.js";
import { createClient } from "./client.js";
import type { Ackwire, ConnectOptions, Transport } from "./types.js";
import { webSocket } from "./websocket.js";

export { AckwireError, ClosedError, IndeterminateError, JobError } from "./errors.js";
export type { FieldError, Problem } from "./errors.js";
export type * from "./types.js";
export { webSocket } from "./websocket.js";

/**
 * Makes a client. It connects when it is first needed, and again whenever a connection is lost while something is
 * unanswered or watched. A session that is idle stays open, without a timer and without a renewed connection when it
 * ends. What few programs need is loaded when it is first used: questions over HTTP, retries, the watch of
 * all jobs, streams, tickets, big integers and the fallback. An identity (a token) has a client of its own. Throws a TypeError for an address that
 * is none.
 */
export function connect(options: ConnectOptions = {}): Ackwire {
  const standard = choose([webSocket(), fallback()]);
  return createClient(options, options.transports?.length ? choose(options.transports) : standard, standard);
}

/**
 * Opens sessions over HTTP alone: an event stream read with `fetch`, or long polls where a proxy gathers streams. Its
 * code is loaded when it is first needed. A client goes over to it by itself where no WebSocket can be opened; give it to
 * `connect({transports})` to use nothing else.
 */
export function fallback(): Transport {
  return lazy("fallback", async () => (await import("./fallback/index.js")).fallback());
}
