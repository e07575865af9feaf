// A job as the server in memory keeps it: its document, and how the document changes.

import type { Attempt, Grant, GrantOptions, JobFailure, Progress, State, StreamTotal } from "../types.js";
import { Refusal } from "./codes.js";
import type { Failure, ResultFile, TestJob } from "./job.js";
import { toJSON } from "./json.js";
import type { Stream, StreamRef } from "./streams.js";

/** The fields of a submit, in the frame as over HTTP. */
export interface Submit {
  job: string;
  payload: unknown;
  key?: string;
  runAt?: string;
  /** Seconds. */
  timeout?: number;
  /** Seconds. */
  deadline?: number;
  watch?: boolean;
  streams?: StreamRef[];
  callbackUrl?: string;
  callbackEvents?: State[];
  traceparent?: string;
  tracestate?: string;
  grant?: GrantOptions;
  tags?: Record<string, string>;
}

/** The members of a job's document, in the order in which a real server writes them. */
export interface Doc {
  jobId: string;
  type: string;
  state: State;
  progress: Progress | undefined;
  attempt: number;
  maxAttempts: number;
  createdAt: string;
  updatedAt: string;
  startedAt: string | undefined;
  finishedAt: string | undefined;
  retryAt: string | undefined;
  runAt: string | undefined;
  cancelRequested: boolean | undefined;
  result: unknown;
  resultUrl: string | undefined;
  error: JobFailure | undefined;
  streams: Record<string, StreamTotal> | undefined;
  attempts: Attempt[] | undefined;
  lane: string;
  subject: string | undefined;
  tags: Record<string, string> | undefined;
}

/** What answers a submit and an order. */
export interface Ack {
  jobId: string;
  state: State;
  statusUrl: string;
  duplicate?: true;
  grant?: Grant;
  /** How many jobs of its type wait before it. */
  ahead?: number;
  /** Seconds until it starts, if that is known: 0 when none waits before it and a handler is there. */
  estimate?: number;
}

export type Outcome = NonNullable<Attempt["outcome"]>;

const maxRuns = 20;

/** Whether a state is terminal. */
export const terminal = (state: State) => state === "completed" || state === "failed" || state === "cancelled";

/** A time as documents have it. */
export const stamp = (ms: number = Date.now()) => new Date(ms).toISOString();

export class JobRecord {
  readonly submit: Submit;
  readonly subject: string;
  readonly doc: Doc;
  readonly timers = new Set<() => void>();
  /** Every version that the document had, oldest first. */
  readonly history: { version: number; text: string }[] = [];
  version = 0;
  /** The document at this version, as JSON. */
  text = "";
  file: ResultFile | undefined;
  /** How many attempts have begun: the run whose streams count. */
  dispatch = 0;
  /** What that run has written to its streams, by name. */
  readonly streams = new Map<string, Stream>();
  /** The attempt that works on the job, or did last. */
  run: TestJob | undefined;

  constructor(id: string, submit: Submit, subject: string, maxAttempts: number) {
    this.submit = submit;
    this.subject = subject;
    this.doc = {
      jobId: id, type: submit.job, state: "pending", progress: undefined, attempt: 1, maxAttempts,
      createdAt: stamp(), updatedAt: stamp(), startedAt: undefined, finishedAt: undefined, retryAt: undefined,
      runAt: undefined, cancelRequested: undefined, result: undefined, resultUrl: undefined, error: undefined,
      streams: undefined, attempts: undefined, lane: "default", subject: subject || undefined,
      tags: submit.tags && Object.keys(submit.tags).length > 0 ? submit.tags : undefined,
    };
  }

  ack(duplicate = false): Ack {
    const { jobId, state } = this.doc;
    return { jobId, state, statusUrl: `/v1/jobs/${jobId}`, ...(duplicate ? { duplicate } : {}) };
  }

  /** Makes the document anew after a change. */
  write(version: number): void {
    this.version = version;
    this.doc.updatedAt = stamp();
    this.text = toJSON(this.doc);
    this.history.push({ version, text: this.text });
  }

  /** Begins an attempt. */
  begin(run: TestJob, worker: string): void {
    const { doc } = this;
    this.dispatch++;
    this.streams.clear();
    doc.state = "processing";
    doc.startedAt = stamp();
    doc.retryAt = doc.progress = doc.error = doc.streams = undefined;
    const attempt = { number: doc.attempt, worker, startedAt: stamp() };
    doc.attempts = [...(doc.attempts ?? []), attempt].slice(-maxRuns);
    this.run = run;
  }

  complete(result: unknown, file: ResultFile | undefined): void {
    this.#endRun("completed", undefined);
    this.end("completed");
    this.doc.error = undefined;
    this.doc.result = result;
    this.file = file;
    this.doc.resultUrl = file && `/v1/jobs/${this.doc.jobId}/result`;
  }

  /** Ends the attempt, and the job unless it is tried again, after `wait` milliseconds. */
  fail(outcome: Outcome, failure: Failure, wait: number): void {
    const { doc } = this;
    const { code, message, retryable } = failure;
    doc.error = { code, ...(message === "" ? {} : { message }), retryable };
    const cancelled = doc.cancelRequested === true;
    this.#endRun(cancelled && outcome === "failed" ? "cancelled" : outcome, doc.error);
    if (cancelled) {
      this.end("cancelled");
    } else if (!retryable || doc.attempt >= doc.maxAttempts) {
      this.end("failed");
    } else {
      doc.attempt++;
      this.again(wait);
    }
  }

  /** Has the job wait that many milliseconds for its next attempt. */
  again(wait: number): void {
    this.doc.state = "retrying";
    this.doc.retryAt = stamp(Date.now() + wait);
  }

  /** Fails the job whether an attempt runs or not. */
  failNow(failure: Failure): void {
    this.doc.error = { code: failure.code, message: failure.message, retryable: false };
    this.#endRun("failed", this.doc.error);
    this.end("failed");
  }

  /** Stops the job, or tells its attempt to stop. */
  cancel(): void {
    if (terminal(this.doc.state)) throw new Refusal("invalid_state", `the job is ${this.doc.state} already`);
    if (this.doc.state !== "processing") {
      this.end("cancelled");
    } else if (!this.doc.cancelRequested) {
      this.doc.cancelRequested = true;
      this.run?.stop("the job was cancelled");
    }
  }

  /** Opens an ended job again. */
  retry(attempts: number): void {
    const { doc } = this;
    if (!terminal(doc.state)) throw new Refusal("invalid_state", `the job is ${doc.state}: it has not ended`);
    doc.attempt++;
    doc.maxAttempts = doc.attempt + attempts - 1;
    this.again(0);
    doc.cancelRequested = doc.finishedAt = doc.startedAt = doc.result = doc.resultUrl = undefined;
    doc.error = doc.progress = undefined;
    this.file = undefined;
  }

  end(state: State): void {
    this.doc.state = state;
    this.doc.finishedAt = stamp();
    this.doc.retryAt = undefined;
    this.stopTimers();
  }

  stopTimers(): void {
    for (const stop of this.timers) stop();
    this.timers.clear();
  }

  /** Notes in the history how the attempt ended. */
  #endRun(outcome: Outcome, error: JobFailure | undefined): void {
    const last = this.doc.attempts?.at(-1);
    if (this.doc.state !== "processing" || !last) return;
    last.endedAt = stamp();
    last.outcome = outcome;
    if (error) last.error = error;
    if (this.streams.size > 0) {
      const totals = Array.from(this.streams, ([name, { kind, total }]) => [name, { kind, total }] as const);
      this.doc.streams = Object.fromEntries(totals.sort(([a], [b]) => (a < b ? -1 : 1)));
    }
    this.run?.stop("the attempt is over");
  }
}
