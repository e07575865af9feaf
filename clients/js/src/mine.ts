// The watch of all jobs of the token's subject: one subscription, however many read it. It outlives sessions. Loaded
// when the first reader comes.

import type { Conn, Frame } from "./conn.js";
import { AckwireError, failure } from "./errors.js";
import type { Source } from "./iterate.js";
import type { Link, Part } from "./link.js";
import { tell } from "./store.js";
import { quote } from "./text.js";
import type { JobPage, ListQuery, Status } from "./types.js";
import { maxWeight, weigh } from "./weigh.js";

const maxPending = 10_000; // jobs whose document one reader has not taken
const overlap = 60_000; // milliseconds: a gap is taken to have begun so much earlier, since clocks differ

/** What is remembered of a job when its document is forgotten. */
interface Seen {
  version_: number;
  updatedAt_: string;
  /** In which session the version came. */
  session_: number;
}

/** Values by the IDs of jobs, in two generations: when the newer one is too heavy the older one is forgotten. */
class Recent<V> {
  private now_ = new Map<string, [value: V, weight: number]>();
  private before_: Recent<V>["now_"] = new Map();
  private weight_ = 0; // of now_

  get_(id: string): V | undefined {
    return (this.now_.get(id) ?? this.before_.get(id))?.[0];
  }

  /** Sets the value of a job; returns the values that are forgotten for it. */
  put_(id: string, value: V, weight: number): Iterable<[value: V, weight: number]> {
    let gone: Iterable<[V, number]> = [];
    if (this.weight_ + weight > maxWeight / 2) {
      gone = this.before_.values();
      this.before_ = this.now_;
      this.now_ = new Map();
      this.weight_ = 0;
    }
    this.before_.delete(id);
    this.weight_ += weight - (this.now_.get(id)?.[1] ?? 0);
    this.now_.set(id, [value, weight]);
    return gone;
  }
}

interface Reader {
  wake_: () => void;
  held_: (() => void) | undefined;
  /** The latest document of each job that has not been taken, in the order of the jobs' first change. */
  pending_: Map<string, [status: Status, weight: number]>;
  weight_: number;
  error_: AckwireError | undefined;
}

/** Reads over HTTP what no session has told. */
export interface Lists {
  list(query: ListQuery): Promise<JobPage>;
  get(id: string): Promise<Status>;
}

export class Mine implements Part {
  private readonly readers_ = new Set<Reader>();
  private asked_: Conn | undefined; // where it holds
  private asking_: Conn | undefined; // where it is asked for
  private cursor_ = ""; // up to where the server has told; "" when it does not say
  private lost_ = 0; // since when it holds nowhere, after it did, by the clock of the day; 0: there is no gap
  private seen_ = new Recent<Seen>();
  private kept_ = new Recent<Status>();
  private session_ = 0; // counts the sessions in which it held
  private forgot_ = 0; // the last session of which versions were forgotten
  private tries_ = 0;

  private readonly link_: Link;
  private readonly lists_: Lists;

  constructor(link: Link, lists: Lists) {
    this.link_ = link;
    this.lists_ = lists;
    link.parts_.push(this);
  }

  any_(): boolean {
    return this.readers_.size > 0;
  }

  /**
   * The last document of a job that this session has brought: while all jobs are watched a server sends no version
   * twice. If it may have brought one that is not here any more, by this watch or by an earlier one of the job alone,
   * another session takes its place, which brings it again.
   */
  told_(id: string, had: Set<string>): Status | undefined {
    const conn = this.link_.cur_;
    if (!conn || this.asked_ !== conn) return;
    const came = (id: string) => this.seen_.get_(id)?.session_ === this.session_;
    const kept = this.kept_.get_(id);
    const may = came(id) || this.forgot_ === this.session_ || had.size > 999 || had.has(id);
    // Jobs that this watch has brought, too, make room for others.
    if (had.size > 500 && had.size < 1000) for (const id of had) if (came(id)) had.delete(id);
    if (!kept && may) this.link_.leave_(conn, 0);
    return kept;
  }

  /** Begins to read; `wake` is called when there may be something to take, `held` when the server watches. */
  follow_(wake: () => void, held?: () => void): Source<Status> {
    if (this.link_.ended_) throw this.link_.ended_;
    const reader: Reader = { wake_: wake, held_: held, pending_: new Map(), weight_: 0, error_: undefined };
    this.readers_.add(reader);
    this.opened_();
    if (held && this.asked_ && this.asked_ === this.link_.cur_) tell(held);
    return {
      take_() {
        for (const [id, [value, weight]] of reader.pending_) {
          reader.pending_.delete(id);
          reader.weight_ -= weight;
          return { value, done: false };
        }
        if (reader.error_) throw reader.error_;
        return;
      },
      stop_: () => {
        this.readers_.delete(reader);
        this.opened_();
      },
    };
  }

  private status_(id: string, status: Status): void {
    const { version, updatedAt } = status;
    const last = this.seen_.get_(id)?.version_ ?? 0;
    if (typeof id !== "string" || !this.readers_.size || version < last) return;
    const weight = weigh(status);
    this.kept_.put_(id, status, weight);
    const seen = { version_: version, updatedAt_: updatedAt, session_: this.session_ };
    for (const [{ session_ }] of this.seen_.put_(id, seen, weigh([id, updatedAt]) + 64)) {
      this.forgot_ = Math.max(this.forgot_, session_);
    }
    if (version === last) return; // it came in an earlier session
    for (const reader of this.readers_) {
      const { pending_ } = reader;
      const had = pending_.get(id)?.[1];
      const sum = reader.weight_ + weight - (had ?? 0);
      if (pending_.size && (sum > maxWeight || (had === undefined && pending_.size >= maxPending))) {
        reader.error_ ??= failure("limit_exceeded", "too much has changed since the last document was taken");
      } else if (!reader.error_) {
        pending_.set(id, [status, weight]);
        reader.weight_ = sum;
      }
      reader.wake_();
    }
  }

  /** Subscribes in the session in use, or ends the subscription, as the readers need it. */
  opened_(): void {
    const conn = this.link_.cur_;
    this.link_.touch_();
    if (!this.readers_.size) {
      if (conn && this.asked_ === conn) {
        this.link_.call_({ kind_: "unsubscribe", body_: ',"mine":true}' }).catch(() => {});
      }
      this.asked_ = undefined;
      this.lost_ = 0;
      this.forget_();
    } else if (conn && this.asked_ !== conn && this.asking_ !== conn) {
      this.asking_ = conn;
      void this.ask_(conn);
    }
  }

  private forget_(): void {
    this.cursor_ = "";
    this.seen_ = new Recent();
    this.kept_ = new Recent();
  }

  private async ask_(conn: Conn): Promise<void> {
    const after = this.cursor_ && `,"after":${quote(this.cursor_)}`;
    try {
      await this.link_.call_({ kind_: "subscribe", body_: `,"mine":true${after}}` });
      if (!this.cursor_ && this.asked_ === conn) await this.closeGap_(); // else the server tells what has changed since
      this.tries_ = 0;
    } catch (error) {
      if (this.asking_ !== conn) return; // the next session asks again
      if (error instanceof AckwireError && !error.retryable) this.fail_(error);
      else if (conn === this.link_.cur_) {
        const wait = this.link_.backoff_.wait_(this.tries_++, (error as AckwireError).retryAfter);
        await this.link_.sleep_(wait).catch(() => {});
        if (this.asked_ === conn && this.lost_) this.asked_ = undefined; // the gap is still open
      }
    }
    if (this.asking_ === conn) this.asking_ = undefined;
    if (!this.link_.ended_) this.opened_();
  }

  /** Asks for the jobs that have changed while no session told of them. */
  private async closeGap_(): Promise<void> {
    const lost = this.lost_;
    if (!lost) return;
    const query: ListQuery = { mine: true, updatedAfter: new Date(lost - overlap) };
    for (let cursor: string | undefined = ""; cursor !== undefined; ) {
      const page: JobPage = await this.lists_.list(cursor ? { ...query, cursor } : query);
      for (const { jobId, updatedAt } of page.jobs) {
        if (this.seen_.get_(jobId)?.updatedAt_ === updatedAt) continue;
        try {
          this.status_(jobId, await this.lists_.get(jobId)); // a list has no versions
        } catch (error) {
          if (!(error instanceof AckwireError) || error.retryable) throw error;
          // Its retention is over.
        }
      }
      cursor = page.nextCursor;
    }
    if (this.lost_ === lost) this.lost_ = 0;
  }

  // What the session brings.

  take_(conn: Conn, frame: Frame): boolean | void {
    switch (frame.type) {
      case "status":
        if (frame.mine === true) this.status_(frame.job.jobId, frame.job);
        return;
      case "cursor":
        return this.cursor_is_(conn, frame);
      case "subscribed":
      case "unsubscribed":
        if (frame.mine === true) this.answer_(conn, frame);
    }
  }

  private answer_(conn: Conn, { type, id, reset, error }: Frame): void {
    if (type === "unsubscribed") {
      // Nobody has asked for it: a renewed token does not permit the watch any more.
      if (!id && error) this.fail_(failure(error, "all jobs"));
      return;
    }
    this.asked_ = conn;
    this.session_++;
    if (reset === true) this.forget_(); // what was seen is not of this log
    for (const { held_ } of this.readers_) if (held_) tell(held_);
  }

  private cursor_is_(conn: Conn, { cursor }: Frame): boolean | void {
    if (typeof cursor !== "string" || !cursor) return false;
    if (this.asked_ !== conn) return;
    this.cursor_ = cursor;
    this.lost_ = 0;
  }

  /** A session has ended. */
  ended_(conn: Conn): void {
    if (this.asking_ === conn) this.asking_ = undefined;
    if (this.asked_ !== conn) return;
    this.asked_ = undefined;
    this.lost_ ||= Date.now();
  }

  /** Ends every reader. */
  fail_(error: AckwireError): void {
    for (const reader of [...this.readers_]) {
      reader.error_ ??= error;
      reader.wake_();
    }
    this.readers_.clear();
  }
}
