// The streams of jobs: what their handlers write while they run. Loaded when the first stream is asked for.
//
// A reader has a cursor, and takes only what continues it: duplicates are dropped, and a gap is asked for again. So it
// does not matter who else reads the same stream, where the server begins, and how often a session is lost.

import { behind, byteLength } from "./bytes.js";
import type { Call, Conn, Frame } from "./conn.js";
import { AckwireError, failure } from "./errors.js";
import { DONE, type Source } from "./iterate.js";
import type { Link, Part } from "./link.js";
import { quote } from "./text.js";
import type { StreamChunk, StreamChunkOptions, StreamCursor, StreamOptions } from "./types.js";
import { passing, type Sub, terminal, type Watches } from "./watch.js";
import { weigh } from "./weigh.js";

const maxUnread = 262_144; // bytes of text, or characters by weigh, that one reader has not taken, before it is paused
const maxNames = 8; // streams of a job

/** The chunk of a frame whose members were checked. */
interface Chunk {
  kind?: "text" | "json";
  run: number;
  from: number;
  text?: string;
  items?: unknown[];
  reset?: unknown;
  end?: unknown;
  total?: number;
}

const count = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** One reader of a stream: its cursor, and what it has not read of what is before the cursor. */
class Reader {
  wake_: (() => void) | undefined; // none: nobody reads it yet
  options_: Partial<StreamChunkOptions & StreamOptions> = {};
  run_ = 0;
  at_ = 0; // behind what came
  ended_ = false;
  error_: unknown;
  paused_ = false;
  private kind_: Chunk["kind"];
  private text_ = "";
  private items_: unknown[] = [];
  private weight_ = 0; // of what came since all was read
  private had_ = false; // something of this run was read, or the reader came with it
  private reset_ = false; // to be told

  constructor(readonly id_: string, readonly name_: string, private readonly streams_: Streams) {}

  /** Begins behind what its user has. */
  after_({ run, at }: StreamCursor): void {
    if (!count(run) || !run || !count(at)) throw failure("invalid_offset", "after is no cursor");
    this.run_ = run;
    this.at_ = at;
    this.had_ = true;
  }

  /** Whether it continues before another one of the stream does. */
  isBehind_({ run_, at_ }: Reader): boolean {
    return this.run_ < run_ || (this.run_ === run_ && this.at_ < at_);
  }

  ref_(): string | { stream: string; run: number; at: number } {
    return this.run_ ? { stream: this.name_, run: this.run_, at: this.at_ } : this.name_;
  }

  /** Takes what continues its cursor; returns false when there is a gap before it. */
  put_({ kind, run, from, text = "", items = [], reset, end, total = 0 }: Chunk): boolean {
    if (run !== this.run_) {
      if (run < this.run_ && !reset) return true; // of a run that counts no more
      this.reset_ ||= this.had_;
      this.had_ = false;
      this.drop_();
      this.run_ = run;
      this.at_ = 0;
    }
    if (from > this.at_) return false;
    const skip = this.at_ - from;
    if (kind === "text") {
      const rest = skip ? behind(text, Math.min(skip, byteLength(text))) : text;
      if (rest === undefined) return false;
      const bytes = byteLength(rest);
      this.text_ += rest;
      this.at_ += bytes;
      this.weight_ += bytes;
    } else {
      for (const item of items.slice(skip)) {
        this.items_.push(item);
        this.at_++;
        this.weight_ += weigh(item);
      }
    }
    this.kind_ = kind ?? this.kind_;
    if (end) {
      if (this.at_ < total) return false;
      this.ended_ = true;
    }
    return true;
  }

  full_(): boolean {
    return this.weight_ > maxUnread;
  }

  private drop_(): void {
    this.text_ = "";
    this.items_ = [];
    this.weight_ = 0;
  }

  // As the source of an iterator.

  take_(): IteratorResult<unknown, undefined> | undefined {
    const value = this.options_.chunks ? this.chunk_() : this.value_();
    if (value) {
      this.had_ = true;
      if (!this.text_ && !this.items_.length) this.drop_();
    }
    if (this.paused_ && !this.weight_) this.streams_.begin_(this);
    if (value) return value;
    if (this.error_) throw this.error_;
    return this.ended_ ? DONE : undefined;
  }

  private value_(): IteratorYieldResult<unknown> | undefined {
    if (this.reset_) {
      const { onReset } = this.options_;
      this.reset_ = false;
      if (!onReset) throw failure("stream_reset", "the run that wrote what was read of " + this.name_ + " was lost");
      onReset(this.run_);
    }
    if (this.items_.length) return { value: this.items_.shift(), done: false };
    const value = this.text_;
    this.text_ = "";
    return value ? { value, done: false } : undefined;
  }

  private chunk_(): IteratorYieldResult<StreamChunk> | undefined {
    const { kind_, text_, items_, run_, at_, reset_ } = this;
    const length = text_ ? byteLength(text_) : items_.length;
    if (!length && !reset_) return;
    this.reset_ = false;
    this.text_ = "";
    this.items_ = [];
    const value: StreamChunk = { kind: kind_ ?? "text", run: run_, from: at_ - length, at: at_ };
    if (text_) value.text = text_;
    if (items_.length) value.items = items_;
    if (reset_) value.reset = true;
    return { value, done: false };
  }

  stop_(): void {
    this.wake_ = undefined;
    this.drop_();
    this.streams_.end_(this);
  }
}

/** A job of which streams are followed. */
interface Followed {
  id_: string;
  /** Keeps the job watched: a server ends its streams with its watch. */
  sub_: Sub;
  readers_: Set<Reader>;
  /** Where they were asked for last. */
  conn_?: Conn | undefined;
  /** The streams that the server follows there. */
  open_: Set<string>;
  /** The last call that asks for them. */
  call_?: Call | undefined;
  /** It is not answered: what comes was sent before it was read. */
  asking_?: boolean;
  /** They are to be asked for, also if they are the same. */
  dirty_?: boolean;
  /** They will be looked at in this turn. */
  due_?: boolean;
  /** They will be asked for again after a wait. */
  waits_?: boolean;
  /** Waits since something has come. */
  tries_: number;
}

/** The streams that a client follows. */
export class Streams implements Part {
  private readonly jobs_ = new Map<string, Followed>();
  /** Readers that a submit began and nobody reads yet, by the submit's ack. */
  private readonly begun_ = new WeakMap<object, Map<string, Reader>>();

  constructor(private readonly link_: Link, private readonly watches_: Watches) {
    link_.parts_.push(this);
  }

  any_(): boolean {
    return this.jobs_.size > 0;
  }

  /** Begins to read a stream. `ack` is the frame by which the job's handle was made. */
  follow_(id: string, name: string, wake: () => void, options: StreamOptions = {}, ack: object): Source<any> {
    const begun = this.begun_.get(ack);
    const had = options.after ? undefined : begun?.get(name);
    const reader = had ?? new Reader(id, name, this);
    reader.options_ = options;
    reader.wake_ = wake;
    if (had) {
      begun!.delete(name);
      return had;
    }
    if (typeof name !== "string" || !/^[a-z0-9_-]{1,32}$/.test(name)) {
      throw failure("invalid_frame", "not the name of a stream: " + String(name).slice(0, 99));
    }
    if (options.after) reader.after_(options.after);
    this.begin_(reader);
    return reader;
  }

  /** Follows a reader's stream, from its cursor on. */
  begin_(reader: Reader): void {
    const { id_, name_ } = reader;
    let job = this.jobs_.get(id_);
    const names = new Set(Array.from(job?.readers_ ?? [], (other) => other.name_));
    if (names.add(name_).size > maxNames) throw failure("limit_exceeded", `more than ${maxNames} streams of a job`);
    if (!job) {
      job = { id_, sub_: this.watches_.join_(id_, 0), readers_: new Set(), open_: new Set(), tries_: 0 };
      this.jobs_.set(id_, job);
    }
    reader.paused_ = false;
    job.readers_.add(reader);
    this.ask_(job, true);
  }

  /** Follows a reader's stream no more. */
  end_(reader: Reader): void {
    const job = this.jobs_.get(reader.id_);
    if (job?.readers_.delete(reader)) this.ask_(job);
  }

  private pause_(reader: Reader): void {
    reader.paused_ = true;
    this.end_(reader);
  }

  /** Asks for the streams of a job, once for all changes of one turn. */
  private ask_(job: Followed, dirty?: boolean): void {
    if (dirty) job.dirty_ = true;
    if (job.due_) return;
    job.due_ = true;
    queueMicrotask(() => {
      job.due_ = false;
      if (this.jobs_.get(job.id_) === job) this.send_(job);
    });
  }

  private send_(job: Followed): void {
    const { id_, readers_, sub_, open_ } = job;
    const conn = this.link_.cur_;
    const lowest = new Map<string, Reader>();
    for (const reader of readers_) {
      const { name_ } = reader;
      if (!lowest.has(name_) || reader.isBehind_(lowest.get(name_)!)) lowest.set(name_, reader);
    }
    const asked = job.conn_ === conn;
    if (conn && (readers_.size ? job.dirty_ || [...open_].some((name) => !lowest.has(name)) : asked && open_.size)) {
      const after = sub_.ended_ ? 0 : (sub_.latest_?.version ?? sub_.after_);
      const streams = quote([...lowest.values()].map((reader) => reader.ref_()));
      const body_ = `,"jobs":[{"jobId":${quote(id_)}${after ? `,"after":${after}` : ""},"streams":${streams}}]}`;
      const call: Call = { kind_: "subscribe", body_ };
      job.conn_ = conn;
      job.call_ = call;
      job.asking_ = true;
      job.open_ = new Set(lowest.keys());
      job.dirty_ = false;
      this.link_.call_(call).then((frame) => {
        const error = frame.jobs?.[0]?.error;
        if (typeof error === "string") throw failure(error, id_ + ": " + error, passing(error));
      }).catch((error) => {
        if (job.call_ === call && this.link_.cur_ === conn) this.refused_(job, error);
      });
    }
    if (readers_.size) return;
    this.jobs_.delete(id_);
    this.watches_.part_(sub_);
    this.link_.touch_();
  }

  /** Asks again after a while if that may help, else ends the readers; only those of one stream if it is named. */
  private refused_(job: Followed, error: unknown, name?: string): void {
    if (!(error instanceof AckwireError) || error.retryable) this.later_(job, (error as AckwireError).retryAfter);
    else {
      if (!name) job.open_.clear();
      for (const reader of job.readers_) {
        if (name && reader.name_ !== name) continue;
        reader.error_ = error;
        this.end_(reader);
        reader.wake_?.();
      }
    }
  }

  private later_(job: Followed, seconds?: number): void {
    if (job.waits_) return;
    job.waits_ = true;
    this.link_.sleep_(this.link_.backoff_.wait_(job.tries_++, seconds)).then(() => {
      job.waits_ = false;
      this.ask_(job, true);
    }, () => {});
  }

  // What the session brings.

  opened_(): void {
    for (const job of this.jobs_.values()) {
      for (const reader of job.readers_) if (!reader.wake_) this.pause_(reader); // until somebody reads it
      this.ask_(job, true);
    }
  }

  take_(conn: Conn, frame: Frame, call?: Call): boolean | void {
    const { type, jobId } = frame;
    if (type === "ack" && call?.streams_ && call.watch_ && call.finish_) this.acked_(conn, frame, call.streams_);
    if (type === "subscribed" && call) this.answered_(frame, call);
    if (type !== "chunk") return;
    const { stream, kind, run, from, text, items, total, error } = frame;
    if (typeof jobId !== "string" || typeof stream !== "string" || !count(run) || !count(from)) return false;
    if (total !== undefined && !count(total)) return false;
    if (items !== undefined && !Array.isArray(items)) return false;
    if (text !== undefined && typeof text !== "string") return false;
    if (kind !== (text === undefined ? (items ? "json" : kind) : "text")) return false;
    const job = this.jobs_.get(jobId);
    if (job?.conn_ !== conn) return; // another session has been asked
    if (typeof error === "string") {
      job.open_.delete(stream);
      const retryable = passing(error) && !/gone|reset/.test(error);
      return this.refused_(job, failure(error, `${jobId}: ${stream}: ${error}`, retryable), stream);
    }
    if (frame.end === true) job.open_.delete(stream);
    this.put_(job, stream, frame);
  }

  /** Here and not where the call is awaited: the next frame may be the first chunk. */
  private answered_({ jobs }: Frame, call: Call): void {
    const job = this.jobs_.get(jobs?.[0]?.jobId);
    if (job?.call_ === call) job.asking_ = false;
  }

  private put_(job: Followed, name: string, chunk: Chunk): void {
    for (const reader of job.readers_) {
      if (reader.name_ !== name) continue;
      const { run_, at_ } = reader;
      const continues = reader.put_(chunk);
      if (reader.run_ !== run_ || reader.at_ !== at_) job.tries_ = 0;
      if (!continues && !job.asking_) this.later_(job);
      if (reader.ended_) this.end_(reader);
      else if (reader.full_()) this.pause_(reader);
      reader.wake_?.();
    }
  }

  /** The ack of a submit that asked for streams: what they bring is kept for who reads them. */
  acked_(conn: Conn, ack: Frame, names: readonly string[]): void {
    const { jobId, state, duplicate } = ack;
    if (typeof jobId !== "string" || !jobId || typeof state !== "string") return;
    this.watches_.acked_(conn, jobId, true);
    const begun = new Map<string, Reader>();
    const known = this.jobs_.has(jobId);
    for (const name of names) {
      const reader = new Reader(jobId, name, this);
      begun.set(name, reader);
      this.begin_(reader);
    }
    this.begun_.set(ack, begun);
    const job = this.jobs_.get(jobId);
    // Of a job that is there already a server may not follow them from the ack on.
    if (!job || known || duplicate || terminal(state) || conn !== this.link_.cur_) return;
    job.conn_ = conn;
    job.open_ = new Set(names);
    job.dirty_ = false;
  }

  /** The client has ended. */
  fail_(error: AckwireError): void {
    for (const { readers_ } of this.jobs_.values()) {
      for (const reader of readers_) {
        reader.error_ = error;
        reader.wake_?.();
      }
    }
    this.jobs_.clear();
  }
}
