// The live lists of a subject's jobs: which there are, and when they are brought up to date.

import { type AckwireError, unavailable } from "../errors.js";
import { Value } from "../store.js";
import { alarm, Backoff, now } from "../time.js";
import type { Ackwire, State, Status } from "../types.js";
import { cacheOf } from "./cache.js";
import type { Live, LiveQuery } from "./live.js";

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

const backoff = new Backoff({ base: 1000, cap: 30_000 }); // before a list that failed is read again

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

/** A list: it is brought up to date while it has listeners, by code that is loaded then. */
export class Jobs extends Value<JobsSnapshot> {
  private end_!: AbortController;
  private live_: Live | undefined;
  private stop_: (() => void) | undefined; // ends the wait for the next try
  readonly client_: Ackwire;
  readonly query_: LiveQuery;
  /** Makes this the list of its query. */
  readonly keep_: () => void;

  constructor(client: Ackwire, query: LiveQuery, keep: () => void) {
    super(empty);
    this.client_ = client;
    this.query_ = query;
    this.keep_ = keep;
  }

  override first_(): void {
    this.keep_();
    void this.run_((this.end_ = new AbortController()).signal);
  }

  override none_(): void {
    this.end_.abort();
    this.stop_?.();
  }

  show_(change: Partial<JobsSnapshot>): void {
    this.set_({ ...this.value_, ...change });
  }

  loadMore_ = async (): Promise<void> => this.live_?.more_();

  private async run_(signal: AbortSignal): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        const { Live } = await import("./live.js");
        await (this.live_ = new Live(this, signal)).run_();
      } catch (cause) {
        if (signal.aborted) return;
        const error = unavailable("import", cause);
        this.show_({ loading: false, error });
        if (!error.retryable) return;
      }
      await new Promise<void>((again) => (this.stop_ = alarm(now() + backoff.wait_(tries), again)));
    }
  }
}
