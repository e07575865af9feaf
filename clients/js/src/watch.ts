// The watches of single jobs: one subscription per job, however many read it. It outlives sessions.

import type { Conn, Frame } from "./conn.js";
import { type AckwireError, failure } from "./errors.js";
import { DONE, iterator } from "./iterate.js";
import type { Link, Part } from "./link.js";
import { quote } from "./text.js";
import type { Status } from "./types.js";

const maxBatch = 1000; // jobs in one frame

/** Whether a job may be watched later though it cannot be now; a code that is not known counts like internal. */
export const passing = (code: string): boolean => !/found|exceeded|forbidden|invalid|unauth/.test(code);

/** Whether a job in this state changes no more by itself. */
export const terminal = (state: string): boolean => /^(completed|failed|cancelled)$/.test(state);

/** Refuses what cannot be a job's ID, with the server's own answer: in a batch it would spoil the frame for others. */
export function checkID(id: string): void {
  if (typeof id !== "string" || !/^[!#-.0-[\]-~]{1,128}$/.test(id)) {
    throw failure("not_found", "not a job ID: " + String(id).slice(0, 140));
  }
}

/** The client's one subscription to a job. */
export interface Sub {
  id_: string;
  /** How many read it; one without readers was begun by a submit's ack. */
  refs_: number;
  wakes_: Set<() => void>;
  /** The newest document; the only one kept. */
  latest_?: Status | undefined;
  /** While latest_ is undefined: only what is newer is asked for. */
  after_: number;
  /** How often the server has lost the versions that were seen. */
  resets_: number;
  /** Where it was asked for last. */
  asked_?: Conn;
  /** How many jobs may share its subscribe frame. */
  batch_: number;
  ended_?: boolean;
  /** Why it ended; undefined after a terminal document. */
  error_?: AckwireError | undefined;
}

export interface Watches extends Part {
  /** Takes a reference to the job's subscription; all that is newer than `after` will come. */
  join_(id: string, after: number): Sub;
  /** Gives a reference back. The last one ends the subscription, here and at the server. */
  part_(sub: Sub): void;
  /** Iterates over the documents of a job. `join` takes the reference, and `part` gives it back. */
  follow_(join: () => Sub, seen: number, signal?: AbortSignal): AsyncIterableIterator<Status, undefined, undefined>;
  /** An ack has begun a watch; `wanted` says whether somebody waits for it. */
  acked_(conn: Conn, id: string, wanted: boolean): Sub | undefined;
  status_(id: string, status: Status): void;
  /** Takes the answer to a subscribe frame, per job; or, without an ID, the reset of a watch. */
  subscribed_(conn: Conn, frame: Frame): void;
  /**
   * Takes an error for a whole subscribe frame. If waiting helps it waits; if not, one job may have spoilt the frame
   * for the others, so that the batch is halved until the culprit stands alone.
   */
  refused_(conn: Conn, id: string, error: AckwireError): void;
}

/**
 * `told` says the last document of a job that a watch of all jobs has brought in this session. It is given the jobs
 * whose own watches have ended in this session: 1,000 of them stand for all jobs.
 */
export function createWatches(link: Link, told: (id: string, had: Set<string>) => Status | undefined): Watches {
  const subs = new Map<string, Sub>();
  const dirty = new Set<Sub>(); // wait to be subscribed
  const unsubs = new Set<Pick<Sub, "id_">>(); // wait to be unsubscribed
  let later = new Set<Sub>(); // to be subscribed again, after a while
  const had = new Set<string>(); // jobs whose watches have ended in this session; 1,000 of them stand for all jobs
  let round = 0;
  let readers = 0;

  /** Returns a new subscription without readers, which has what the session has brought of the job already. */
  const begin = (id_: string, after_: number) => {
    const sub: Sub = { id_, after_, refs_: 0, wakes_: new Set(), resets_: 0, batch_: maxBatch };
    subs.set(id_, sub);
    const status = told(id_, had);
    if (status) update(sub, status);
    return sub;
  };

  const wake = (sub: Sub) => {
    for (const run of [...sub.wakes_]) run();
    link.touch_();
  };

  const remove = (sub: Sub) => {
    if (had.size < maxBatch) had.add(sub.id_);
    subs.delete(sub.id_);
    dirty.delete(sub);
  };

  const end = (sub: Sub, error?: AckwireError) => {
    remove(sub);
    readers -= sub.refs_;
    sub.ended_ = true;
    sub.error_ = error;
    wake(sub);
  };

  const mark = (sub: Sub) => {
    if (subs.get(sub.id_) === sub) dirty.add(sub);
    link.touch_();
  };

  const update = (sub: Sub, status: Status) => {
    if (status.version <= (sub.latest_?.version ?? sub.after_)) return;
    sub.latest_ = status;
    if (terminal(status.state)) end(sub);
    else wake(sub);
  };

  /** Has the jobs in `later` subscribed once more, after a while. */
  const again = (seconds?: number) => {
    const waiting = later;
    if (!waiting.size) return;
    later = new Set();
    link.sleep_(link.backoff_.wait_(round++, seconds)).then(() => waiting.forEach(mark), () => {});
  };

  const watches: Watches = {
    any_: () => readers > 0,
    join_(id, after) {
      if (link.ended_) throw link.ended_;
      checkID(id);
      let sub = subs.get(id);
      if (!sub) mark((sub = begin(id, after)));
      else if (!sub.latest_ && after < sub.after_) {
        sub.after_ = after;
        mark(sub); // to ask again is harmless
      }
      if (!sub.ended_) {
        sub.refs_++;
        readers++;
        link.touch_();
      }
      return sub;
    },
    part_(sub) {
      if (sub.ended_) return;
      readers--;
      if (--sub.refs_) return;
      remove(sub);
      if (sub.asked_ && sub.asked_ === link.cur_) unsubs.add(sub);
      link.touch_();
    },
    follow_: (join, seen, signal) => iterator<Status>((run) => {
      const sub = join();
      let resets = sub.resets_;
      sub.wakes_.add(run);
      return {
        take_() {
          if (sub.resets_ !== resets) {
            resets = sub.resets_;
            seen = 0;
          }
          const value = sub.latest_;
          if (value && value.version > seen) {
            seen = value.version;
            return { value, done: false };
          }
          if (sub.error_) throw sub.error_;
          return sub.ended_ ? DONE : undefined;
        },
        stop_() {
          sub.wakes_.delete(run);
          watches.part_(sub);
        },
      };
    }, signal),
    acked_(conn, id, wanted) {
      let sub = subs.get(id);
      if (wanted) {
        sub ??= begin(id, 0);
        if (conn.draining_) mark(sub); // the session that replaces it may be in use already
        else sub.asked_ = conn;
      } else if (!sub && link.cur_ === conn) unsubs.add({ id_: id });
      return sub;
    },
    status_(id, status) {
      const sub = subs.get(id);
      if (sub) update(sub, status);
    },
    /** Every subscription that has a reader is asked for in the new session, from the last version on. */
    opened_() {
      unsubs.clear();
      subs.forEach((sub) => (sub.refs_ ? mark : remove)(sub));
      had.clear();
    },
    frame_(conn) {
      const ends = unsubs.size > 0;
      if (!ends && !dirty.size) return;
      const id = link.id_();
      const head = `{"type":"${ends ? "un" : ""}subscribe","id":"${id}","jobs":[`;
      const batch = new Set<Sub>();
      let jobs = "";
      let most = maxBatch;
      const waiting = (ends ? unsubs : dirty) as Set<Sub>;
      for (const sub of waiting) {
        let job = quote(sub.id_);
        if (!ends) {
          most = Math.min(most, sub.batch_);
          const after = sub.latest_?.version ?? sub.after_;
          job = `{"jobId":${job}${after ? `,"after":${after}` : ""}}`;
        }
        if (jobs && (batch.size >= most || head.length + jobs.length + job.length + 3 > conn.frameBytes_)) break;
        jobs += (jobs && ",") + job;
        batch.add(sub);
        waiting.delete(sub);
        sub.asked_ = conn;
      }
      if (!ends) conn.batches_.set(id, batch);
      return head + jobs + "]}";
    },
    subscribed_(conn, { id, jobs }) {
      conn.batches_.delete(id);
      if (link.cur_ !== conn) return; // the next session asks again
      for (const { jobId, error, reset } of jobs) {
        const sub = subs.get(jobId);
        if (sub?.asked_ !== conn) continue;
        if (typeof error === "string") {
          if (passing(error)) later.add(sub);
          else end(sub, failure(error, jobId + ": " + error));
          continue;
        }
        sub.batch_ = maxBatch;
        if (reset !== true) continue;
        sub.latest_ = undefined;
        sub.after_ = 0;
        sub.resets_++;
      }
      if (!later.size) round = 0;
      again();
    },
    refused_(conn, id, error) {
      const batch = conn.batches_.get(id)!;
      conn.batches_.delete(id);
      if (link.cur_ !== conn) return;
      for (const sub of batch) {
        if (subs.get(sub.id_) !== sub) continue;
        if (error.retryable) later.add(sub);
        else if (batch.size > 1) {
          sub.batch_ = Math.ceil(batch.size / 2);
          mark(sub);
        } else end(sub, error);
      }
      again(error.retryAfter);
    },
    fail_(error) {
      subs.forEach((sub) => end(sub, error));
    },
  };
  link.parts_.push(watches);
  return watches;
}
