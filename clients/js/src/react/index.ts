/**
 * React hooks for Ackwire: a job's state, submits, the list of one's jobs, and the connection.
 *
 * ```tsx
 * const client = connect({ url, token });
 * root.render(<AckwireProvider client={client}><App /></AckwireProvider>);
 *
 * const { status, cancel } = useJob(jobId);
 * const [submit, pending] = useSubmit("report.generate");
 * ```
 *
 * All of them stand on `useSyncExternalStore`: they are safe in StrictMode, in concurrent rendering, and on a server,
 * where they render what is not known yet and open no connection.
 *
 * @module
 */

import {
  createContext, createElement, useCallback, useContext, useMemo, useState, useSyncExternalStore,
  type FunctionComponent, type ReactNode,
} from "react";
import { type AckwireError, unavailable } from "../errors.js";
import type {
  Ackwire, CallOptions, Connection, Job, JobSnapshot, JobType, Payload, Result, State, Status, Store,
  SubmitOptions,
} from "../types.js";
import { empty, jobsOf, type JobsQuery, type JobsSnapshot } from "./jobs.js";
import { nothing, StreamStore, type StreamSnapshot } from "./stream.js";

export type { JobsQuery, JobsSnapshot } from "./jobs.js";
export type { StreamSnapshot } from "./stream.js";

const Context = createContext<Ackwire | undefined>(undefined);

/** Gives a client to the hooks below it. The client's life is yours: this component never closes it. */
export const AckwireProvider: FunctionComponent<{ client: Ackwire; children?: ReactNode }> = ({ client, children }) =>
  createElement(Context.Provider, { value: client }, children);

/** Returns the client of the nearest AckwireProvider. Throws where there is none. */
export function useAckwire(): Ackwire {
  const client = useContext(Context);
  if (!client) throw new Error("ackwire/react: no AckwireProvider");
  return client;
}

const idle = () => () => {};

/** Reads a store: renders anew with each change. It is `initial` without a store, on a server, and while hydrating. */
function useStore<S>(store: Store<S> | undefined, initial: S): S {
  const server = () => initial;
  return useSyncExternalStore(store?.subscribe ?? idle, store?.snapshot ?? server, server);
}

const offline: Connection = { state: "idle", transport: "", failures: 0, error: undefined, badFrames: 0 };

/** Returns how the connection stands. */
export const useConnection = (): Connection => useStore(useAckwire().connection, offline);

const unknown: JobSnapshot<any> = { status: undefined, error: undefined };

/** The handle of a job. */
function useHandle<T extends JobType>(job: string | Job<T> | null | undefined): Job<T> | undefined {
  const client = useAckwire();
  return useMemo(() => (typeof job === "string" ? client.job<T>(job) : (job ?? undefined)), [client, job]);
}

/** What {@link useJob} returns. `cancel` and `retry` keep their identity while the job is the same. */
export interface UseJob<T> extends JobSnapshot<T> {
  /** The job's handle; undefined while there is none, and then `cancel` and `retry` reject. */
  readonly job: Job<T> | undefined;
  cancel(options?: CallOptions): Promise<State>;
  retry(options?: CallOptions): Promise<State>;
}

/**
 * Follows a job while the component is mounted. `job` is an ID, a handle from a submit, or undefined while there is
 * none. `status` is undefined until the first document is here; `error` says why the job cannot be followed, such as
 * `not_found`.
 */
export function useJob<T extends JobType = JobType>(job: string | Job<T> | null | undefined): UseJob<T> {
  const handle = useHandle(job);
  const snapshot: JobSnapshot<T> = useStore(handle, unknown);
  const orders = useMemo(() => ({
    job: handle,
    cancel: async (options?: CallOptions) => handle!.cancel(options),
    retry: async (options?: CallOptions) => handle!.retry(options),
  }), [handle]);
  return { ...orders, ...snapshot };
}

/**
 * Follows a stream of a job while the component is mounted: `text` of a stream of text, `items` of one of items. It
 * renders at most once for each time that the page is drawn. When a run is lost they begin anew by themselves. At more
 * than 8 million characters the first quarter leaves, and `cut` says so.
 */
export function useStream<T = unknown>(job: string | Job<any> | null | undefined, name: string): StreamSnapshot<T> {
  const handle = useHandle(job);
  return useStore(useMemo(() => handle && new StreamStore(handle, name), [handle, name]), nothing);
}

/** What submits: a client, or an outbox of `ackwire/offline`. */
export interface Submitter {
  submit<T extends JobType>(type: T, payload: Payload<T>, options?: any): Promise<Job<T>>;
}

/**
 * Returns a function that submits jobs of a type, how many of its submits are not answered yet, and the error of the
 * one that was answered last, if it failed. The function returns the job's handle once the job is durable, and rejects like
 * `client.submit`. It keeps its identity. A submit goes on when the component is unmounted. `via` is an outbox, so that
 * submits outlive the page.
 */
export function useSubmit<T extends JobType>(type: T, via?: Submitter): [
  submit: (payload: Payload<T>, options?: SubmitOptions) => Promise<Job<T>>, pending: number, error: AckwireError | undefined,
] {
  const client = useAckwire();
  const submitter = via ?? client;
  const [{ pending, error }, set] = useState<{ pending: number; error?: AckwireError | undefined }>({ pending: 0 });
  const submit = useCallback(async (payload: Payload<T>, options?: SubmitOptions) => {
    set((was) => ({ pending: was.pending + 1 }));
    let error: AckwireError | undefined;
    try {
      return await submitter.submit(type, payload, options);
    } catch (e) {
      error = e as AckwireError;
      throw e;
    } finally {
      set((was) => ({ pending: was.pending - 1, error }));
    }
  }, [submitter, type]);
  return [submit, pending, error];
}

/** What {@link useJobs} returns. */
export interface UseJobs extends JobsSnapshot {
  /** Reads the next page of older jobs; it does nothing where there is none, and rejects like `client.list`. */
  loadMore(): Promise<void>;
}

/**
 * Lists the jobs of the token's subject, newest first, and follows all of them: what is submitted anywhere appears, and
 * each document is the latest. It begins with a page of `limit` (50) jobs; `loadMore` reads older ones. Components that
 * ask for the same share one list, which holds 1,000 jobs and 8 million characters at most: the oldest ones leave.
 */
export function useJobs(query: JobsQuery): UseJobs {
  const client = useAckwire();
  const list = jobsOf(client, query);
  return { ...useStore(list, empty), loadMore: list.loadMore_ };
}

/**
 * Returns a job's result and suspends until it is there (Suspense). A job that failed or was cancelled throws its
 * `JobError`, and one that cannot be followed an `AckwireError`, to the nearest error boundary. Not for a server.
 */
export function useResult<T extends JobType = JobType>(job: string | Job<T>): Result<T> {
  const client = useAckwire();
  // A component keeps its result, also when the cache forgets it.
  return useMemo(() => {
    const error = failed;
    failed = undefined; // a boundary that is reset tries again
    if (error) throw error;
    if (suspend) return suspend(client, job);
    throw (loading ??= import("./suspend.js").then((module) => {
      suspend = module.suspend;
    }, (cause) => {
      failed = unavailable("import", cause);
      loading = undefined;
    }));
  }, [client, job]);
}

let suspend: typeof import("./suspend.js").suspend | undefined; // once it is loaded
let loading: Promise<void> | undefined; // one promise, as React wants it
let failed: AckwireError | undefined; // why it could not be loaded

export type { Status };
