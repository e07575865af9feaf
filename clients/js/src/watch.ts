// The watches of single jobs: one subscription per job, however many read it. It outlives sessions.

import { retryableCode } from "./codes_gen.js";
import type { Conn, Frame } from "./conn.js";
import type { AckwireError } from "./errors.js";
import { DONE, iterator } from "./iterate.js";
import type { Link } from "./link.js";
import { failure } from "./rest.js";
import { quote } from "./text.js";
import type { Status } from "./types.js";

const maxBatch = 1000; // jobs in one frame

/** Whether a job in this state changes no more by itself. */
export const terminal = (state: string): boolean => /^(completed|failed|cancelled)$/.test(state);

/** Refuses what cannot be a job's ID, with the server's own answer: in a batch it would spoil the frame for others. */
export function checkID(id: string): void {
  if (typeof id !== "string" || !/^[!#-.0-[\]-~]{1,128}$/.test(id)) {
    throw failure("not_found", `${String(id).slice(0, 140)} is not a job ID`);
  }
}

/** The client's one subscription to a job. */
export class Sub {
  /** How many read it; one without readers was begun by a submit's ack. */
  refs_ = 0;
  readonly wakes_ = new Set<() => void>();
  /** The newest document; the only one kept. */
  latest_: Status | undefined;
  /** While latest_ is undefined: only what is newer is asked for. */
  after_ = 0;
  /** How often the server has lost the versions that were seen. */
  resets_ = 0;
  /** Where it was asked for last. */
  asked_: Conn | undefined;
  /** How many jobs may share its subscribe frame. */
  batch_ = maxBatch;
  ended_ = false;
  /** Why it ended; undefined after a terminal document. */
  error_: AckwireError | undefined;

  readonly id_: string;

  constructor(id: string) {
    this.id_ = id;
  }

  wake_(): void {
    for (const wake of [...this.wakes_]) wake();
  }
}

/** Says the last document of a job that a watch of all jobs has brought in this session. */
export type Told = (id: string) => Status | undefined;

export class Watches {
  private readonly subs_ = new Map<string, Sub>();
  private readonly dirty_ = new Set<Sub>(); // wait to be subscribed
  private readonly unsubs_ = new Set<string>(); // wait to be unsubscribed
  private later_ = new Set<Sub>(); // to be subscribed again, after a while
  private round_ = 0;
  private readers_ = 0;

  private readonly link_: Link;
  private readonly told_: Told;

  constructor(link: Link, told: Told) {
    this.link_ = link;
    this.told_ = told;
  }

  /** Whether a subscription has a reader. */
  any_(): boolean {
    return this.readers_ > 0;
  }

  /** Takes a reference to the job's subscription; all that is newer than `after` will come. */
  join_(id: string, after: number): Sub {
    if (this.link_.ended_) throw this.link_.ended_;
    checkID(id);
    let sub = this.subs_.get(id);
    if (!sub) {
      sub = this.begin_(id);
      sub.after_ = after;
      this.mark_(sub);
    } else if (!sub.latest_ && after < sub.after_) {
      sub.after_ = after;
      this.mark_(sub); // to ask again is harmless
    }
    if (!sub.ended_) {
      sub.refs_++;
      this.readers_++;
      this.link_.touch_();
    }
    return sub;
  }

  /** Returns a new subscription without readers, which has what the session has brought of the job already. */
  private begin_(id: string): Sub {
    const sub = new Sub(id);
    this.subs_.set(id, sub);
    const told = this.told_(id);
    if (told) this.update_(sub, told);
    return sub;
  }

  /** Gives a reference back. The last one ends the subscription, here and at the server. */
  part_(sub: Sub): void {
    if (sub.ended_) return;
    this.readers_--;
    if (--sub.refs_ > 0) return;
    this.remove_(sub);
    if (sub.asked_ && sub.asked_ === this.link_.cur_) this.unsubs_.add(sub.id_);
    this.link_.touch_();
  }

  private remove_(sub: Sub): void {
    this.subs_.delete(sub.id_);
    this.dirty_.delete(sub);
    this.later_.delete(sub);
  }

  private end_(sub: Sub, error?: AckwireError): void {
    this.remove_(sub);
    this.readers_ -= sub.refs_;
    sub.ended_ = true;
    sub.error_ = error;
    sub.wake_();
    this.link_.touch_();
  }

  private mark_(sub: Sub): void {
    if (sub.ended_) return;
    this.dirty_.add(sub);
    this.link_.touch_();
  }

  private update_(sub: Sub, status: Status): void {
    if (status.version <= (sub.latest_?.version ?? sub.after_)) return;
    sub.latest_ = status;
    if (terminal(status.state)) this.end_(sub);
    else sub.wake_();
  }

  /** Iterates over the documents of a job. `join` takes the reference, and `part` gives it back. */
  follow_(join: () => Sub, seen: number, signal?: AbortSignal): AsyncIterableIterator<Status, undefined, undefined> {
    return iterator<Status>((wake) => {
      const sub = join();
      let resets = sub.resets_;
      sub.wakes_.add(wake);
      return {
        take_() {
          if (sub.resets_ !== resets) {
            resets = sub.resets_;
            seen = 0;
          }
          const { latest_ } = sub;
          if (latest_ && latest_.version > seen) {
            seen = latest_.version;
            return { value: latest_, done: false };
          }
          if (!sub.ended_) return;
          if (sub.error_) throw sub.error_;
          return DONE;
        },
        stop_: () => {
          sub.wakes_.delete(wake);
          this.part_(sub);
        },
      };
    }, signal);
  }

  // What the session brings.

  /** An ack has begun a watch. */
  opened_(conn: Conn, id: string): Sub {
    const sub = this.subs_.get(id) ?? this.begin_(id);
    sub.asked_ = conn;
    return sub;
  }

  /** An ack has begun a watch that nobody waits for any more. */
  unwanted_(conn: Conn, id: string): void {
    if (!this.subs_.has(id) && this.link_.cur_ === conn) this.unsubs_.add(id);
  }

  status_(id: string, status: Status): void {
    const sub = this.subs_.get(id);
    if (sub) this.update_(sub, status);
  }

  /** Every subscription that has a reader is asked for in the new session, from the last version on. */
  install_(): void {
    this.unsubs_.clear();
    for (const sub of this.subs_.values()) {
      if (sub.refs_) this.mark_(sub);
      else this.remove_(sub);
    }
  }

  /** The next frame to be sent: the end of watches, or new ones. */
  frame_(conn: Conn): string | undefined {
    const ends = this.unsubs_.size > 0;
    const id = this.link_.id_();
    const head = `{"type":"${ends ? "un" : ""}subscribe","id":"${id}","jobs":[`;
    const batch = new Set<Sub>();
    let jobs = "";
    let count = 0;
    let most = maxBatch;
    /** Adds a job, unless the frame is full. */
    const add = (job: string) => {
      const full = count >= most || head.length + jobs.length + job.length + 3 > conn.frameBytes_;
      if (count && full) return false;
      count++;
      jobs += (jobs && ",") + job;
      return true;
    };
    if (ends) {
      for (const job of this.unsubs_) {
        if (!add(quote(job))) break;
        this.unsubs_.delete(job);
      }
    } else {
      for (const sub of this.dirty_) {
        most = Math.min(most, sub.batch_);
        const after = sub.latest_?.version ?? sub.after_;
        if (!add(`{"jobId":${quote(sub.id_)}${after ? `,"after":${after}` : ""}}`)) break;
        this.dirty_.delete(sub);
        sub.asked_ = conn;
        batch.add(sub);
      }
      if (!count) return;
    }
    if (batch.size) conn.batches_.set(id, batch);
    return head + jobs + "]}";
  }

  /** Takes the answer to a subscribe frame, per job; or, without an ID, the reset of a watch. */
  subscribed_(conn: Conn, { id, jobs }: Frame): void {
    conn.batches_.delete(id);
    if (this.link_.cur_ !== conn) return; // the next session asks again
    let healthy = true;
    for (const { jobId, error, reset } of jobs) {
      const sub = this.subs_.get(jobId);
      if (!sub || sub.asked_ !== conn) continue;
      if (typeof error !== "string") {
        sub.batch_ = maxBatch;
        if (reset === true) {
          sub.latest_ = undefined;
          sub.after_ = 0;
          sub.resets_++;
        }
      } else if (retryableCode(error)) {
        healthy = false;
        this.later_.add(sub);
      } else {
        this.end_(sub, failure(error, `job ${jobId}: ${error}`));
      }
    }
    if (healthy) this.round_ = 0;
    this.again_();
  }

  /**
   * Takes an error for a whole subscribe frame. If waiting helps it waits; if not, one job may have spoilt the frame
   * for the others, so that the batch is halved until the culprit stands alone.
   */
  refused_(conn: Conn, id: string, error: AckwireError): void {
    const batch = conn.batches_.get(id)!;
    conn.batches_.delete(id);
    if (this.link_.cur_ !== conn) return;
    for (const sub of batch) {
      if (this.subs_.get(sub.id_) !== sub) continue;
      if (error.retryable) this.later_.add(sub);
      else if (batch.size > 1) {
        sub.batch_ = Math.ceil(batch.size / 2);
        this.mark_(sub);
      } else this.end_(sub, error);
    }
    this.again_(error.retryAfter);
  }

  /** Has the jobs in later_ subscribed once more, after a while. */
  private again_(seconds?: number): void {
    const subs = this.later_;
    if (!subs.size) return;
    this.later_ = new Set();
    this.link_.after_(this.link_.backoff_.wait_(this.round_++, seconds), () => {
      for (const sub of subs) if (this.subs_.get(sub.id_) === sub) this.mark_(sub);
    });
  }

  /** The client has ended. */
  fail_(error: AckwireError): void {
    for (const sub of [...this.subs_.values()]) this.end_(sub, error);
  }
}
