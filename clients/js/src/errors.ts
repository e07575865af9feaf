// The errors of the client: one class for every answer of the server, and those that only a client can have.

import type { Status } from "./types.js";

/** One place of a payload that breaks its schema; `pointer` is a JSON Pointer (RFC 6901). */
export interface FieldError {
  pointer: string;
  detail: string;
}

/** The members of an error on the wire: an `error` frame, or a problem document (RFC 9457). */
export interface Problem {
  code: string;
  title?: string;
  detail?: string;
  status?: number;
  retryable?: boolean;
  /** Seconds. */
  retryAfter?: number;
  jobId?: string;
  errors?: FieldError[];
}

/** Any failure that Ackwire answers, with its documented code. */
export class AckwireError extends Error {
  override name = "AckwireError";
  declare readonly code: string;
  /** The same again may go better. */
  declare readonly retryable: boolean;
  /** Seconds after which to try again; undefined when the server named none. */
  declare readonly retryAfter: number | undefined;
  declare readonly jobId: string | undefined;
  /** The HTTP status; undefined for an answer on a socket. */
  declare readonly status: number | undefined;
  declare readonly errors: readonly FieldError[];

  constructor(problem: Problem, options?: ErrorOptions) {
    super(problem.detail || problem.title || problem.code, options);
    this.code = problem.code;
    this.retryable = problem.retryable === true;
    this.retryAfter = problem.retryAfter;
    this.jobId = problem.jobId;
    this.status = problem.status;
    this.errors = Array.isArray(problem.errors) ? problem.errors : [];
  }
}

/**
 * A request was sent and its outcome is not known: its time to live ended, or the connection was lost and it is not
 * safe to repeat. Its code is `indeterminate`; `cause` says what ended the wait, and `jobId` names the job that may
 * exist, if the server said so.
 */
export class IndeterminateError extends AckwireError {
  override name = "IndeterminateError";
  /** The submit's idempotency key. When it is set, the same submit with this key is safe to repeat. */
  declare readonly key: string | undefined;

  constructor(cause: unknown, key?: string, jobId?: string) {
    super({
      code: "indeterminate", retryable: !!key, detail: "outcome not known: " + said(cause), jobId: jobId!,
    }, { cause });
    this.key = key;
  }
}

/**
 * The client has ended: by `close()`, whose errors have the code `closed`, or because the server closed the session
 * with a code after which a client must not come back. Every call and every watch of the client ends with it.
 */
export class ClosedError extends AckwireError {
  override name = "ClosedError";
  /** The WebSocket close code; undefined after `close()`. */
  declare readonly closeCode: number | undefined;

  constructor(problem: Problem, closeCode?: number, options?: ErrorOptions) {
    super(problem, options);
    this.closeCode = closeCode;
  }
}

/** A job has no result, since it failed or was cancelled. `code` is that of its error, or `cancelled`. */
export class JobError extends Error {
  override name = "JobError";
  declare readonly code: string;
  declare readonly retryable: boolean;
  /** The job's terminal document. */
  declare readonly status: Status;

  constructor(status: Status) {
    const { error } = status;
    const code = error?.code ?? status.state;
    super(error?.message || code);
    this.code = code;
    this.retryable = !!error?.retryable;
    this.status = status;
  }
}

/** Makes the error that the server would have answered with. */
export const failure = (code: string, detail: string, retryable = false, options?: ErrorOptions): AckwireError =>
  new AckwireError({ code, detail, retryable }, options);

/** Says that the network, or a function of the user, did not do its part; an error with a code already says it. */
export const unavailable = (what: string, cause?: unknown): AckwireError =>
  cause instanceof AckwireError
    ? cause
    : failure("unavailable", what + (cause ? ": " + said(cause) : ""), true, { cause });

const said = (error: any): string => error?.message ?? String(error);

/** Reads a text as JSON; how big integers are read depends on the client. */
export type Parse = (text: string) => any;
