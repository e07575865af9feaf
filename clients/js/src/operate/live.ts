// Lists of jobs that are followed: one watch of the session for each, which is asked for again in every session.

import type { Call, Conn, Frame } from "../conn.js";
import { AckwireError, failure } from "../errors.js";
import type { Source } from "../iterate.js";
import type { Link, Part } from "../link.js";
import { restOf } from "../rests.js";
import type { Ackwire, JobPage, ListQuery, Status } from "../types.js";
import { maxWeight, weigh } from "../weigh.js";

const maxPending = 2000; // jobs whose change the reader has not taken
const again = 1000; // milliseconds between two times that a list is asked for
const most = 500; // jobs of a listing
const quote = JSON.stringify;

/** What has changed in a list that is followed. */
export interface ListUpdate {
  /**
   * `jobs` are the list as it is now, its newest jobs first: whatever was known of it before is of the past. The first
   * update is one, and the first after a lost session, or after changes that were too many to be told one by one.
   */
  listed: boolean;
  /** Jobs that are in the list, in a new version. */
  jobs: Status[];
  /** The IDs of jobs that are in the list no longer, or were removed. */
  left: string[];
  /** With `listed`: so many changes were not told at most; 0 when that is not known. */
  missed: number;
  /** With `listed`: where `list` goes on, if more jobs match than were listed. */
  nextCursor?: string | undefined;
}

/** A row, a job that has left (null), or a row whose document is to be asked for (undefined). */
type Change = [version: number, job: Status | null | undefined, weight: number];

const positive = (version: unknown): version is number => Number.isSafeInteger(version) && (version as number) > 0;

/** One list that is followed. */
class Live implements Source<ListUpdate> {
  asked_: Conn | undefined; // where it is watched
  asking_: Conn | undefined; // where it is asked for
  #again = false; // it must be listed
  #missed = 0;
  #listing = false;
  #next = 0; // when it may be listed again
  private tries_ = 0;
  #whole: ListUpdate | undefined; // a listing that was not taken
  #versions = new Map<string, number>(); // of the last listing: changes up to them are no news
  private pending_ = new Map<string, Change>();
  private weight_ = 0;
  private error_: AckwireError | undefined;
  #loads: Promise<void> = Promise.resolve(); // of documents, one after the other

  constructor(
    private readonly lists: Lists, readonly name: string, private readonly filter: string,
    private readonly query: ListQuery, private readonly limit: number, private readonly wake_: () => void,
  ) {}

  take_(): IteratorResult<ListUpdate, undefined> | undefined {
    const value = this.#whole ?? this.#changes();
    this.#whole = undefined;
    if (value) return { value, done: false };
    if (this.error_) throw this.error_;
    return;
  }

  #changes(): ListUpdate | undefined {
    if (this.#again || this.#listing) return;
    const value: ListUpdate = { listed: false, jobs: [], left: [], missed: 0 };
    for (const [id, [version, job]] of this.pending_) {
      if (version <= (this.#versions.get(id) ?? 0) || job === undefined) continue;
      if (job) value.jobs.push(job);
      else {
        this.#versions.delete(id);
        value.left.push(id);
      }
    }
    this.forget_();
    return value.jobs.length + value.left.length ? value : undefined;
  }

  stop_(): void {
    this.lists.end(this);
  }

  fail_(error: AckwireError): void {
    this.error_ ??= error;
    this.wake_();
  }

  private forget_(): void {
    this.pending_.clear();
    this.weight_ = 0;
  }

  private get ended_(): boolean {
    return !!this.error_ || !this.lists.has(this);
  }

  /** Has the session in use watch it. */
  async opened_(): Promise<void> {
    const { link_ } = this.lists;
    const conn = link_.cur_;
    if (!conn || this.ended_ || this.asked_ === conn || this.asking_ === conn) return;
    this.asking_ = conn;
    try {
      await link_.call_({ kind_: "watchList", body_: `,"list":${quote(this.name)},"filter":${this.filter}}` });
      this.tries_ = 0;
    } catch (error) {
      await this.#failed(error, () => this.asking_ === conn);
    }
    if (this.asking_ === conn) this.asking_ = undefined;
    void this.opened_();
  }

  /** Ends it with an error that is for good; else waits. */
  async #failed(error: unknown, matters = () => true): Promise<void> {
    if (this.ended_ || !matters()) return;
    if (error instanceof AckwireError && !error.retryable) return this.fail_(error);
    const { link_ } = this.lists;
    await link_.sleep_(link_.backoff_.wait_(this.tries_++, (error as AckwireError).retryAfter)).catch(() => {});
  }

  /** It is watched: what is not told any more is asked for. */
  watched(conn: Conn): void {
    this.asked_ = conn;
    this.#again = true;
    void this.#list();
  }

  async #list(): Promise<void> {
    if (this.#listing) return;
    this.#listing = true;
    const { link_, client_ } = this.lists;
    while (this.#again && !this.ended_) {
      const missed = this.#missed;
      try {
        const wait = this.#next - performance.now();
        if (wait > 0) await link_.sleep_(wait);
        this.#next = performance.now() + again;
        this.#again = false;
        this.#missed = 0;
        this.forget_(); // the listing has what was told, or is newer
        const jobs: Status[] = [];
        let cursor: string | undefined = "";
        while (cursor !== undefined && jobs.length < this.limit) {
          const limit = this.limit - jobs.length;
          const page: JobPage & { versions?: number[] } = await client_.list({ ...this.query, limit, ...(cursor && { cursor }) });
          page.jobs.forEach((job, i) => jobs.push(Object.assign(job, { version: page.versions?.[i] ?? 0 })));
          cursor = page.nextCursor;
        }
        this.tries_ = 0;
        if (this.ended_) break;
        const here = jobs.filter(({ jobId, version }) => {
          const change = this.pending_.get(jobId);
          return !(change && change[1] === null && change[0] >= version); // it has left since
        });
        this.#versions = new Map(here.map(({ jobId, version }) => [jobId, version]));
        this.#whole = { listed: true, jobs: here, left: [], missed: missed + (this.#whole?.missed ?? 0), nextCursor: cursor };
      } catch (error) {
        this.#again = true;
        this.#missed += missed;
        await this.#failed(error);
      }
    }
    this.#listing = false;
    this.wake_();
  }

  /** Takes a listChanged frame; returns false when it makes no sense. */
  changed({ rows = [], left = [], again, missed }: Frame): boolean {
    if (again === true) {
      this.#again = true;
      this.#missed += positive(missed) ? missed : 0;
      this.forget_();
    }
    let sound = Array.isArray(rows) && Array.isArray(left);
    for (const { version, job, jobId } of sound ? rows : []) {
      const id = job ? job.jobId : jobId;
      if (typeof id !== "string" || !positive(version)) sound = false;
      else if (job) this.put_(id, version, Object.assign(job, { version }));
      else {
        this.put_(id, version, undefined);
        this.#load(id, version);
      }
    }
    for (const { version, jobId } of Array.isArray(left) ? left : []) {
      if (typeof jobId !== "string" || !positive(version)) sound = false;
      else this.put_(jobId, version, null);
    }
    if (this.#again) void this.#list();
    this.wake_();
    return sound;
  }

  private put_(id: string, version: number, job: Status | null | undefined): void {
    const before = this.pending_.get(id);
    if (before && (before[0] > version || (before[0] === version && before[1] !== undefined))) return;
    const weight = job ? weigh(job) : 64;
    this.weight_ += weight - (before?.[2] ?? 0);
    this.pending_.set(id, [version, job, weight]);
    if (this.pending_.size > maxPending || this.weight_ > maxWeight) {
      this.#again = true;
      this.#missed += this.pending_.size;
      this.forget_();
    }
  }

  /** Asks for a document that is too large to be told. */
  #load(id: string, version: number): void {
    this.#loads = this.#loads.then(async () => {
      if (this.ended_) return;
      try {
        const job = await this.lists.client_.get(id);
        this.put_(id, Math.max(version, job.version), job);
      } catch (error) {
        if (error instanceof AckwireError && !error.retryable) return; // it was removed
        this.#again = true; // the list has it
        void this.#list();
      }
      this.wake_();
    });
  }
}

/** The lists of one client that are followed. */
class Lists implements Part {
  readonly #all = new Map<string, Live>();
  #made = 0;

  constructor(readonly link_: Link, readonly client_: Ackwire) {
    link_.parts_.push(this);
  }

  follow_(query: ListQuery, filter: string, limit: number, wake: () => void): Live {
    const { ended_ } = this.link_;
    if (ended_) throw ended_;
    const live = new Live(this, "l" + ++this.#made, filter, query, limit, wake);
    this.#all.set(live.name, live);
    this.link_.touch_();
    void live.opened_();
    return live;
  }

  has(live: Live): boolean {
    return this.#all.get(live.name) === live;
  }

  end(live: Live): void {
    if (!this.#all.delete(live.name)) return;
    const { link_ } = this;
    if (live.asked_ && live.asked_ === link_.cur_ && !link_.ended_) {
      link_.call_({ kind_: "unwatchList", body_: `,"list":${quote(live.name)}}` }).catch(() => {});
    }
    link_.touch_();
  }

  any_(): boolean {
    return this.#all.size > 0;
  }

  opened_(): void {
    for (const live of this.#all.values()) void live.opened_();
  }

  ended_(conn: Conn): void {
    for (const live of this.#all.values()) {
      if (live.asked_ === conn) live.asked_ = undefined;
      if (live.asking_ === conn) live.asking_ = undefined;
    }
  }

  take_(conn: Conn, frame: Frame, call: Call | undefined): boolean | void {
    const { type, list, id, error } = frame;
    if (type !== "listWatched" && type !== "listUnwatched" && type !== "listChanged") return;
    const live = this.#all.get(list);
    switch (type) {
      case "listChanged":
        return live && live.asked_ === conn ? live.changed(frame) : undefined;
      case "listWatched":
        if (call?.kind_ !== "watchList") return !call && undefined;
        live?.watched(conn);
        return this.link_.answer_(conn, call, undefined, frame);
      case "listUnwatched":
        if (call?.kind_ === "unwatchList") return this.link_.answer_(conn, call, undefined, frame);
        // Nobody has asked for it: a renewed token does not cover the list any more.
        if (!id && error && live?.asked_ === conn) live.fail_(failure(error, "the list"));
    }
  }

  fail_(error: AckwireError): void {
    for (const live of this.#all.values()) live.fail_(error);
  }
}

const followed = new WeakMap<Ackwire, Lists>();

/** The filter of a query, as frames have it: the parameters of GET /v1/jobs but `limit` and `cursor`. */
function filterOf({ limit, cursor, signal, ...filter }: ListQuery): string {
  const text = (value: unknown) => (value instanceof Date ? value.toISOString() : typeof value === "boolean" ? value : String(value));
  return quote(Object.fromEntries(
    Object.entries(filter).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, Array.isArray(value) ? value.map((one) => String(text(one))) : text(value)]]),
  ));
}

const asyncIterator: typeof Symbol.asyncIterator = Symbol.asyncIterator ?? ("@@asyncIterator" as never);
const done: IteratorReturnResult<undefined> = { value: undefined, done: true };

/** An iterator over a list, which is followed from the first `next()` on. The core's own is not used: to share it would cost the core a file. */
function reader(
  open: (wake: () => void) => Promise<Live>, signal: AbortSignal | undefined,
): AsyncIterableIterator<ListUpdate, undefined, undefined> {
  const waiting = new Set<() => void>();
  let opening: Promise<Live> | undefined;
  let live: Live | undefined;
  let over = false;
  const wake = () => {
    const all = [...waiting];
    waiting.clear();
    for (const woken of all) woken();
  };
  const end = () => {
    over = true;
    signal?.removeEventListener("abort", wake);
    live?.stop_();
    wake();
  };
  return {
    [asyncIterator]() {
      return this;
    },
    async next() {
      try {
        for (;;) {
          if (over) return done;
          if (signal?.aborted) throw signal.reason;
          if (!opening) signal?.addEventListener("abort", wake);
          const opened = await (opening ??= open(wake));
          live ??= opened;
          if (over) live.stop_(); // meanwhile
          const result = over ? done : live.take_();
          if (result) return result;
          await new Promise<void>((woken) => waiting.add(woken));
        }
      } catch (error) {
        end();
        throw error;
      }
    },
    async return() {
      end();
      return done;
    },
  };
}

/**
 * Follows the jobs that match a query. First it lists the newest of them, `limit` at most (1 to 500; 50 without it); then
 * it tells each job that is in the list in a new version, however old it is, and each that has left it: of each job the
 * newest change, a few times a second. After a lost session, and when more has changed than is told, it lists anew, once
 * a second at most. It ends with an error, or when it is not read any more.
 *
 * ```ts
 * for await (const { listed, jobs, left } of watchList(client, { state: "failed" })) {
 *   if (listed) rows.clear();
 *   for (const job of jobs) rows.set(job.jobId, job);
 *   for (const id of left) rows.delete(id);
 * }
 * ```
 *
 * It needs a socket: over plain HTTP it is refused with `unknown_frame`.
 */
export function watchList(client: Ackwire, query: ListQuery = {}): AsyncIterableIterator<ListUpdate, undefined, undefined> {
  const { signal, limit = 50, cursor, ...rest } = query;
  return reader(async (wake) => {
    if (cursor !== undefined) throw failure("invalid_frame", "a list is followed from its newest job on, without a cursor");
    if (!(limit >= 1 && limit <= most)) throw failure("invalid_frame", `limit must be a number from 1 to ${most}`);
    const { link_ } = await restOf(client);
    let lists = followed.get(client);
    if (!lists) followed.set(client, (lists = new Lists(link_, client)));
    return lists.follow_(rest, filterOf(rest), limit, wake);
  }, signal);
}
