// One session, and the requests that wait for their answers.

import type { ClientFrameType } from "./codes_gen.js";
import { type AckwireError, IndeterminateError } from "./errors.js";
import type { Session } from "./types.js";
import type { Sub } from "./watch.js";

/** A frame of the server, as it was parsed: any member may be missing or have the wrong type. */
export type Frame = any;

/** One request that waits for its answer: in a queue, or in the table of the session that it was written to. */
export interface Call {
  kind_: ClientFrameType;
  /** When it is written: first the link's own (none), then orders (1), then submits (2). The server bounds 1 and 2. */
  rank_?: 1 | 2;
  /** The frame behind its id: `,"job":…}` or `}`. */
  body_: string;
  key_?: string | undefined;
  /** Of a submit: its ack begins a watch. */
  watch_?: boolean;
  /** Of a submit: the streams that are followed from its ack on. */
  streams_?: readonly string[] | undefined;
  /** Safe to send again in another session. */
  resend_?: boolean;
  /** When it is given up, by the clock of now(). */
  until_?: number;
  signal_?: AbortSignal | undefined;

  // Set by the link.
  id_?: string;
  /** How many sessions it was written to. */
  sends_?: number;
  /** The error is the server's answer. */
  answered_?: boolean;
  /** The subscription that the ack began. */
  sub_?: Sub;
  /** Gives it its outcome, unless it has one. */
  finish_?: ((error: unknown, frame?: Frame) => void) | undefined;
}

/** The error of a call that `cause` ended before its answer came. */
export const outcome = (call: Partial<Call>, cause: unknown): unknown =>
  call.sends_ && call.rank_ && call.kind_ !== "cancel" ? new IndeterminateError(cause, call.key_) : cause;

/** One session from the attempt to open it to its end. */
export interface Conn {
  session_?: Session | undefined;
  /** Written, not answered, in the order of their writing. */
  calls_: Map<string, Call>;
  /** Subscribe frames that were written and not answered. */
  batches_: Map<string, Set<Sub>>;
  /** How many orders and submits are among the calls, and how many the server takes. */
  inFlight_: number;
  most_: number;
  /** Bytes of a frame that the server takes. */
  frameBytes_: number;
  /** Milliseconds between two signs of life. */
  ping_: number;
  /** When it was welcomed; undefined before. */
  born_?: number | undefined;
  /** When the last frame came. */
  heard_: number;
  /** When a ping was sent that nothing has followed yet; 0 or undefined without one. */
  pinged_?: number | undefined;
  /** Keeps it from being given up, which is due without a welcome, and while it drains. */
  spare_: () => void;
  /** Nothing new is written to it. */
  draining_?: boolean | undefined;
  dead_?: boolean | undefined;
  /** The last error that answered no request: it explains the close that follows. */
  problem_?: AckwireError | undefined;
}
