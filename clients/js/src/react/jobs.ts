// The live list of a subject's jobs: a page of the list, brought up to date by the watch of all jobs.

import { Value } from "../store.js";
import type { AckwireError } from "../errors.js";
import type { Ackwire, State, Status } from "../types.js";
import { cacheOf } from "./cache.js";

/** What a live list asks for. */
export interface JobsQuery {
  /** The jobs of the token's subject; others cannot be followed. */
  mine: true;
  /** Only jobs of these types. */
  type?: string | string[];
  /** Only jobs in these states; a job that leaves them leaves the list. */
  state?: State | State[];
  /** Jobs of a page; 50 by default. */
  limit?: number;
}

/** A live list. */
export interface JobsSnapshot {
  /** Newest first. A document of the list that has not changed since has version 0. */
  readonly jobs: readonly Status[];
  /** The first page is not here yet. */
  readonly loading: boolean;
  /** There are older jobs. */
  readonly hasMore: boolean;
  /** Why the list is not up to date; it is tried again unless the client has ended. */
  readonly error: AckwireError | undefined;
}

/** The snapshot before anything is known. */
export const empty: JobsSnapshot = { jobs: [], loading: true, hasMore: false, error: undefined };

const most = 1000; // jobs of a list: the oldest ones leave

/** Returns the list of a client for a query; the same one while it is used. */
export function jobsOf(client: Ackwire, { type = [], state = [], limit = 50 }: JobsQuery): Jobs {
  const query = { type: [type].flat(), state: [state].flat(), limit };
  const key = JSON.stringify(query);
  const all = cacheOf<Jobs>(client);
  let list = all.get(key);
  if (!list) {
    // One that was rendered and never used, as in a render that React threw away, makes room for the next.
    for (const [other, { listeners_ }] of all) if (listeners_?.size === 0) all.delete(other);
    list = new Jobs(client, query, () => all.set(key, list!));
    list.keep_();
  }
  return list;
}

const time = Date.parse;
const newest = (a: Status, b: Status) => time(b.createdAt) - time(a.createdAt) || (a.jobId < b.jobId ? 1 : -1);

/** A live list: it is brought up to date while it has listeners. */
export class Jobs extends Value<JobsSnapshot> {
  private end_!: AbortController;
  private readonly known_ = new Map<string, Status>();
  private cursor_: string | undefined;
  private readonly client_: Ackwire;
  private readonly query_: { type: string[]; state: State[]; limit: number };
  /** Makes this the list of its query. */
  readonly keep_: () => void;

  constructor(client: Ackwire, query: Jobs["query_"], keep: () => void) {
    super(empty);
    this.client_ = client;
    this.query_ = query;
    this.keep_ = keep;
  }

  override first_(): void {
    this.keep_();
    const { signal } = (this.end_ = new AbortController());
    const fail = (error: unknown) => {
      if (!signal.aborted) this.show_({ loading: false, error: error as AckwireError });
    };
    // The list is read once the watch holds, so that no change falls between the two.
    let first: Promise<void> | undefined;
    const held = () => void (first ??= this.page_().catch(fail));
    this.follow_(this.client_.mine({ signal, held })).catch(fail);
  }

  override none_(): void {
    this.end_.abort();
  }

  private async follow_(statuses: AsyncIterable<Status>): Promise<void> {
    for await (const status of statuses) this.take_(status);
  }

  /** Reads the first page, or the next one. */
  private async page_(cursor?: string): Promise<void> {
    const { signal } = this.end_;
    const page = await this.client_.list({ ...this.query_, mine: true, signal, ...(cursor && { cursor }) });
    this.cursor_ = page.nextCursor;
    for (const job of page.jobs) {
      const known = this.known_.get(job.jobId);
      if (!known || time(known.updatedAt) < time(job.updatedAt)) this.known_.set(job.jobId, { ...job, version: 0 });
    }
    this.show_({ loading: false, error: undefined });
  }

  loadMore_ = async (): Promise<void> => {
    if (this.cursor_) await this.page_(this.cursor_);
  };

  private take_(status: Status): void {
    const { type, state } = this.query_;
    const wanted = (list: string[], value: string) => !list.length || list.includes(value);
    if (wanted(type, status.type) && wanted(state, status.state)) this.known_.set(status.jobId, status);
    else this.known_.delete(status.jobId);
    this.show_();
  }

  private show_(change?: Partial<JobsSnapshot>): void {
    const jobs = [...this.known_.values()].sort(newest);
    if (jobs.length > most) this.cursor_ = undefined; // it leads past jobs that have left
    for (const { jobId } of jobs.splice(most)) this.known_.delete(jobId);
    this.set_({ ...this.value_, ...change, jobs, hasMore: !!this.cursor_ });
  }
}
