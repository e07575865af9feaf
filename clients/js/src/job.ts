// A handle for one job.

import { JobError } from "./errors.js";
import { asyncIterator, iterator } from "./iterate.js";
import { Value } from "./store.js";
import type { Streams } from "./streams.js";
import { positive } from "./time.js";
import type { Ackwire, CallOptions, Grant, Job, JobSnapshot, Status, StreamOptions } from "./types.js";
import { type Sub, terminal, type Watches } from "./watch.js";

/** A handle whose store has listeners. */
export interface Handle extends Job<any> {
  /** The job was opened again through this client: it is followed again. */
  reopened_(): void;
}

/** What a handle needs. */
export interface JobContext {
  client_: Ackwire & {
    /** Reads a result that a document does not hold. */
    download(id: string, options?: CallOptions): Promise<any>;
  };
  watches_: Watches;
  streams_(): Promise<Streams>;
  /** The handles whose stores have listeners, by the IDs of their jobs. */
  handles_: Map<string, Set<Handle>>;
}

const unknown: JobSnapshot<any> = { status: undefined, error: undefined };

/** `acked` is the subscription that the submit's ack began: it may have brought the end already. `ack` is that frame. */
export function createJob(
  { client_, watches_, streams_, handles_ }: JobContext, id: string, acked?: Sub,
  ack: { duplicate?: boolean; grant?: Grant; ahead?: number; estimate?: number } = {},
): Handle {
  const store = new Value(unknown);
  let sub: Sub | undefined; // the store's own, while it has listeners and the job has not ended
  let resets = 0;

  // A terminal document that is here is told again without asking.
  const join = (after: number) => (acked?.ended_ && !acked.error_ ? acked : watches_.join_(id, after));

  const changed = () => {
    const { latest_, error_, resets_ } = sub!;
    const { status, error } = store.value_;
    const newer = latest_ && (resets_ !== resets || latest_.version > (status?.version ?? 0));
    resets = resets_;
    if (newer || error_ !== error) store.set_({ status: newer ? latest_ : status, error: error_ });
  };
  const start = () => {
    try {
      sub = join(store.value_.status?.version ?? 0);
      resets = sub.resets_;
      sub.wakes_.add(changed);
      changed();
    } catch (error) {
      store.set_({ status: store.value_.status, error: error as never });
    }
  };
  const stop = () => {
    if (!sub) return;
    sub.wakes_.delete(changed);
    watches_.part_(sub);
    sub = undefined;
  };
  store.first_ = () => {
    handles_.set(id, new Set(handles_.get(id)).add(job));
    if (!terminal(store.value_.status?.state!)) start();
  };
  store.none_ = () => {
    const same = handles_.get(id);
    if (same?.delete(job) && !same.size) handles_.delete(id);
    stop();
  };

  const job: Handle = {
    id, duplicate: ack.duplicate === true, grant: ack.grant, ahead: ack.ahead, estimate: ack.estimate,
    subscribe: store.subscribe,
    snapshot: store.snapshot,
    watch({ after, signal } = {}) {
      const seen = Math.floor(positive(after, 0));
      return watches_.follow_(() => join(seen), seen, signal) as AsyncIterableIterator<Status<any>>;
    },
    [asyncIterator]: () => job.watch(),
    async wait(options) {
      let last: Status<any>;
      for await (const status of job.watch(options)) last = status;
      return last!;
    },
    async result(options) {
      const status = await job.wait(options);
      if (status.state !== "completed") throw new JobError(status);
      return status.result === undefined && status.resultUrl ? client_.download(id, options) : status.result;
    },
    stream: (name: string, options?: StreamOptions) =>
      iterator<any>(async (wake) => (await streams_()).follow_(id, name, wake, options, ack), options?.signal),
    retry(options) {
      acked = undefined; // the job may be opened again: forget the end that was seen
      return client_.retry(id, options);
    },
    reopened_() {
      stop();
      start();
    },
  } as Partial<Handle> as Handle;
  for (const name of ["why", "erase", "payload", "deliveries", "get", "history", "cancel"] as const) {
    job[name] = (options) => client_[name](id, options) as Promise<any>;
  }
  return job;
}
