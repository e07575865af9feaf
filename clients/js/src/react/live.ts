// A live list of a subject's jobs: a page of the list, brought up to date by the watch of all jobs. Loaded when the
// first list is shown.

import type { State, Status } from "../types.js";
import { maxWeight, weigh } from "../weigh.js";
import type { Jobs, JobsSnapshot } from "./jobs.js";

const most = 1000; // jobs of a list; a lighter job counts as a thousandth of maxWeight

/** What a list asks for. */
export interface LiveQuery {
  type: string[];
  state: State[];
  limit: number;
}

const time = Date.parse;
const newest = (a: Status, b: Status) => time(b.createdAt) - time(a.createdAt) || (a.jobId < b.jobId ? 1 : -1);

/** One list, from when it begins to be followed up to an error. */
export class Live {
  private readonly known_ = new Map<string, [status: Status, weight: number]>();
  private cursor_: string | undefined;
  private read_ = false; // the first page is here
  private readonly list_: Jobs;
  private readonly end_ = new AbortController();
  private readonly outer_: AbortSignal;

  constructor(list: Jobs, signal: AbortSignal) {
    this.list_ = list;
    this.outer_ = signal;
  }

  /** Follows the list. Rejects with the error that ends this, or with the signal's reason. */
  async run_(): Promise<void> {
    const { signal } = this.end_;
    const abort = () => this.end_.abort(this.outer_.reason);
    if (this.outer_.aborted) throw this.outer_.reason;
    this.outer_.addEventListener("abort", abort);
    // The list is read once the watch holds, so that no change falls between the two.
    let first: Promise<void> | undefined;
    const held = () => void (first ??= this.page_().catch((error) => this.end_.abort(error)));
    try {
      for await (const status of this.list_.client_.mine({ signal, held })) this.take_(status);
    } finally {
      this.outer_.removeEventListener("abort", abort);
      this.end_.abort();
    }
  }

  /** Reads the next page, if there is one. */
  async more_(): Promise<void> {
    if (this.cursor_) await this.page_(this.cursor_);
  }

  private async page_(cursor?: string): Promise<void> {
    const { signal } = this.end_;
    const { client_, query_ } = this.list_;
    const page = await client_.list({ ...query_, mine: true, signal, ...(cursor && { cursor }) });
    this.cursor_ = page.nextCursor;
    for (const job of page.jobs) {
      const [known] = this.known_.get(job.jobId) ?? [];
      if (!known || time(known.updatedAt) < time(job.updatedAt)) this.keep_({ ...job, version: 0 });
    }
    this.read_ = true;
    this.changed_({ loading: false, error: undefined });
  }

  private take_(status: Status): void {
    const { type, state } = this.list_.query_;
    const wanted = (list: string[], value: string) => !list.length || list.includes(value);
    if (wanted(type, status.type) && wanted(state, status.state)) this.keep_(status);
    else this.known_.delete(status.jobId);
    this.changed_();
  }

  private keep_(status: Status): void {
    this.known_.set(status.jobId, [status, Math.max(weigh(status), maxWeight / most)]);
  }

  /** Shows what is known. The oldest jobs leave when there are too many. */
  private changed_(change?: Partial<JobsSnapshot>): void {
    let room = maxWeight;
    const jobs: Status[] = [];
    for (const [status, weight] of [...this.known_.values()].sort(([a], [b]) => newest(a, b))) {
      room -= weight;
      if (room >= 0 || !jobs.length) jobs.push(status);
      else {
        this.known_.delete(status.jobId);
        this.cursor_ = undefined; // it leads past jobs that have left
      }
    }
    if (this.read_ && !this.end_.signal.aborted) this.list_.show_({ ...change, jobs, hasMore: !!this.cursor_ });
  }
}
