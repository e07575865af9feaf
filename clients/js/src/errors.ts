// The errors of the client: one class for every answer of the server, and those that only a client can have.

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
  readonly code: string;
  /** The same again may go better. */
  readonly retryable: boolean;
  /** Seconds after which to try again; undefined when the server named none. */
  readonly retryAfter: number | undefined;
  readonly jobId: string | undefined;
  /** The HTTP status; undefined for an answer on a socket. */
  readonly status: number | undefined;
  readonly errors: readonly FieldError[];

  constructor(problem: Problem, options?: ErrorOptions) {
    super(problem.detail || problem.title || problem.code, options);
    this.name = "AckwireError";
    this.code = problem.code;
    this.retryable = problem.retryable === true;
    this.retryAfter = problem.retryAfter;
    this.jobId = problem.jobId;
    this.status = problem.status;
    this.errors = problem.errors ?? [];
  }
}
