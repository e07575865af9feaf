// The transport for networks in which no WebSocket can be opened: the frames of one, over HTTP alone.

import type { Transport } from "../types.js";
import { HTTPSession } from "./session.js";

/** What all sessions of one transport know. */
export interface Shared {
  /** Up to this time, in milliseconds since 1970, streams are read by long polls: something gathers them on the way. */
  pollUntil: number;
}

/**
 * Returns the transport `fallback`. A client uses it by itself where WebSocket does not work; name it in
 * `transports` to use nothing else.
 *
 * Submits, cancels and retries are requests of their own. What is watched comes by one event stream (POST /v1/events),
 * read with `fetch`, which carries the token in a header. Where the stream's beginning does not arrive within 5
 * seconds, because a proxy gathers answers before it passes them on or the platform's `fetch` cannot stream, it is read
 * by long polls; streams are tried again after 5 minutes. While a session is open, the preferred transport is tried
 * every 5 minutes too; once it works, a `goaway` frame ends this session.
 */
export function fallback(): Transport {
  const shared: Shared = { pollUntil: 0 };
  return {
    name: "fallback",
    open(target, events) {
      const session = new HTTPSession(target, events, shared);
      session.refresh(0);
      return session;
    },
  };
}
