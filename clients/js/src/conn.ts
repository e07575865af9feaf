// One session, and the requests that wait for their answers.

import type { ClientFrameType } from "./codes_gen.js";
import { type AckwireError, IndeterminateError } from "./errors.js";
import { now } from "./time.js";
import type { Session } from "./types.js";
import type { Sub } from "./watch.js";

/** A frame of the server, as it was parsed: any member may be missing or have the wrong type. */
export type Frame = any;

/** One request that waits for its answer: in a queue, or in the table of the session that it was written to. */
export interface Call {
  kind_: ClientFrameType;
  /** The frame behind its id: `,"job":…}` or `}`. */
  body_: string;
  key_?: string | undefined;
  /** Of a submit: its ack begins a watch. */
  watch_?: boolean;
  /** Safe to send again in another session. */
  resend_?: boolean;
  /** When it is given up, by the clock of now(). */
  until_?: number;
  signal_?: AbortSignal | undefined;

  // Set by the link.
  id_?: string;
  /** How many sessions it was written to. */
  sends_?: number;
  /** Nobody waits any more; kept to count, and to clean up. */
  finished_?: boolean;
  /** The error is the server's answer. */
  answered_?: boolean;
  /** The subscription that the ack began. */
  sub_?: Sub;
  resolve_?: (frame: Frame) => void;
  reject_?: (error: unknown) => void;
  abort_?: () => void;
}

/** Whether the server counts the request among those in flight. */
export const counted = (call: Call): boolean =>
  call.kind_ === "submit" || call.kind_ === "cancel" || call.kind_ === "retry";

/** Whether a frame of this type answers a request, but not one of this kind. */
export const answersOther = ({ kind_ }: Call, type: string): boolean =>
  /^(ack|welcome|(un)?subscribed)$/.test(type) &&
  type !== (kind_ === "auth" ? "welcome" : /scribe/.test(kind_) ? kind_ + "d" : "ack");

/** The error of a call that `cause` ended before its answer came. */
export function outcome(call: Call, cause: unknown): unknown {
  return call.sends_ && (call.kind_ === "submit" || call.kind_ === "retry")
    ? new IndeterminateError(cause, call.key_)
    : cause;
}

/** One session from the attempt to open it to its end. */
export class Conn {
  session_: Session | undefined;
  /** Written, not answered, in the order of their writing. */
  calls_ = new Map<string, Call>();
  /** Subscribe frames that were written and not answered. */
  batches_ = new Map<string, Set<Sub>>();
  inFlight_ = 0;
  /** The server's bounds: bytes of a frame, and requests in flight. */
  frameBytes_ = 0;
  most_ = 0;
  /** Milliseconds between two signs of life. */
  ping_ = 0;
  /** When it was welcomed. */
  born_ = 0;
  /** When the last frame came. */
  heard_ = 0;
  /** When a ping was sent that nothing has followed yet; 0 without one. */
  pinged_ = 0;
  /** The device slept while an answer to a ping was awaited: it was asked again, once. */
  excused_ = false;
  /** When it is given up: without a welcome, or while it drains. */
  deadline_: number;
  /** Nothing new is written to it. */
  draining_ = false;
  dead_ = false;
  /** The last error that answered no request: it explains the close that follows. */
  problem_: AckwireError | undefined;

  constructor(patience: number) {
    this.deadline_ = now() + patience;
  }

  /** Takes the bounds that a welcome told; what is not a sane number counts as the protocol's own, or as none. */
  limit_(limits: Frame): void {
    this.frameBytes_ = limits?.frameBytes > 0 ? +limits.frameBytes : 262_144;
    this.most_ = limits?.inFlightSubmits > 0 ? +limits.inFlightSubmits : Infinity;
  }

  close_(code = 1000): void {
    this.session_?.close(code);
  }
}
