// One attempt of a job, as a worker of the server in memory has it.

import type { Engine } from "./engine.js";
import { toJSON } from "./json.js";
import type { JobRecord } from "./record.js";
import type { Submit } from "./record.js";
import { openStream, write } from "./streams.js";

/** How an attempt failed. Any other error that a handler throws is `handler_error`, which is tried again. */
export class Failure extends Error {
  readonly code: string;
  /** The attempt is repeated while attempts are left. */
  readonly retryable: boolean;

  constructor(code: string, message = "", options: { retryable?: boolean } = {}) {
    super(message);
    this.name = "Failure";
    this.code = code;
    this.retryable = options.retryable === true;
  }
}

/** Works on a job. What it returns is the job's result; a BigInt in it is written as a number. */
export type Handler = (job: TestJob) => unknown;

/** A file as a job's result: the document has its address in `resultUrl`. */
export interface ResultFile {
  content: string;
  contentType: string;
  name?: string;
}

/** What progress may have beside a percentage and a message. */
export interface ProgressDetails {
  current?: number;
  total?: number;
  /** For programs: at most 64 of `a-z 0-9 _ . -`, beginning with a letter or digit. */
  stage?: string;
  /** For programs: any value that is at most 4 KiB of JSON. */
  data?: unknown;
}

const stages = /^[a-z0-9][a-z0-9_.-]{0,63}$/;
const maxData = 4096; // bytes

/** One attempt of a job. What is said after the attempt has ended changes nothing. */
export class TestJob {
  readonly id: string;
  readonly type: string;
  readonly payload: unknown;
  /** Counts from 1. */
  readonly attempt: number;
  /** All that the client sent: the key, the callback, the trace and so on. */
  readonly submitted: Readonly<Submit>;
  /** Aborted when the job was cancelled, or the attempt has ended. */
  readonly signal: AbortSignal;

  readonly #engine: Engine;
  readonly #record: JobRecord;
  readonly #abort = new AbortController();

  /** @internal */
  constructor(engine: Engine, record: JobRecord) {
    this.#engine = engine;
    this.#record = record;
    this.id = record.doc.jobId;
    this.type = record.doc.type;
    this.payload = record.submit.payload;
    this.attempt = record.doc.attempt;
    this.submitted = record.submit;
    this.signal = this.#abort.signal;
  }

  /**
   * Tells how far the attempt has come: 0 to 100 percent, which never falls. Throws a `Failure` with the code
   * `invalid_progress`, and tells nothing, if the stage or the data is not one that a worker may report.
   */
  progress(percent: number, message?: string, more: ProgressDetails = {}): void {
    const { current, total, stage, data } = more;
    if (stage && !stages.test(stage)) {
      throw new Failure("invalid_progress", `progress: the stage ${JSON.stringify(stage)} is not 1 to 64 of a-z, 0-9, _, . and -`);
    }
    const size = data === undefined ? 0 : new TextEncoder().encode(toJSON(data)).length;
    if (size > maxData) throw new Failure("invalid_progress", `progress: the data has ${size} bytes, above the limit of ${maxData}`);
    this.#change((record) => {
      const least = record.doc.progress?.percent ?? 0;
      record.doc.progress = {
        percent: Math.min(100, Math.max(least, percent)), ...(message === undefined ? {} : { message }),
        ...(current === undefined ? {} : { current }), ...(total === undefined ? {} : { total }),
        ...(stage ? { stage } : {}), ...(data === undefined ? {} : { data }),
      };
    });
  }

  /** Writes to a stream of text. */
  write(stream: string, text: string): void {
    this.#stream((record) => write(record.streams, openStream(record.streams, stream, "text"), { text }));
  }

  /** Writes an item to a stream of items. */
  send(stream: string, item: unknown): void {
    this.#stream((record) => write(record.streams, openStream(record.streams, stream, "json"), { item }));
  }

  /** Ends the job with a result. Without one, or with undefined, it has none. */
  complete(result?: unknown): void {
    this.#change((record) => record.complete(result, undefined));
  }

  /** Ends the job with a file. */
  completeFile(file: ResultFile): void {
    this.#change((record) => record.complete(undefined, file));
  }

  /** Ends the attempt with a failure: the job fails, or is tried again if the failure is `retryable`. */
  fail(code: string, message = "", options: { retryable?: boolean } = {}): void {
    this.#change((record) => {
      record.fail("failed", new Failure(code, message, options), this.#engine.backoff);
    });
  }

  /** Waits that many milliseconds; rejects with the signal's reason when the attempt ends before. */
  delay(ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.signal.aborted) {
        reject(this.signal.reason as Error);
        return;
      }
      const ended = () => {
        stop();
        reject(this.signal.reason as Error);
      };
      const stop = this.#engine.after(ms, () => {
        this.signal.removeEventListener("abort", ended);
        resolve();
      });
      this.signal.addEventListener("abort", ended, { once: true });
    });
  }

  /** @internal Tells the handler to stop. */
  stop(reason: string): void {
    this.#abort.abort(new Failure("cancelled", reason));
  }

  /** @internal Runs a handler and ends the attempt with what becomes of it. */
  async work(handler: Handler): Promise<void> {
    let result: unknown;
    try {
      result = await handler(this);
    } catch (err) {
      this.#failed(err);
      return;
    }
    this.complete(result);
  }

  #failed(err: unknown): void {
    if (err instanceof Failure) {
      this.fail(err.code, err.message, err);
      return;
    }
    const message = err instanceof Error ? err.message : String(err);
    if (this.#record.doc.cancelRequested) this.fail("cancelled", message);
    else this.fail("handler_error", message, { retryable: true });
  }

  #stream(change: (record: JobRecord) => void): void {
    const record = this.#record;
    if (record.run !== this || record.doc.state !== "processing") return;
    change(record);
    this.#engine.pour(record);
  }

  #change(change: (record: JobRecord) => void): void {
    const record = this.#record;
    if (record.run !== this || record.doc.state !== "processing") return;
    change(record);
    this.#engine.changed(record);
  }
}
