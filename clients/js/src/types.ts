// The types of the public API, and the one seam inside it: Transport.

import type { AckwireError } from "./errors.js";

/**
 * The job types of your server, by name. It is empty here; `ackwire types --ts` writes a file that fills it:
 *
 * ```ts
 * declare module "ackwire" {
 *   interface Jobs {
 *     "report.generate": { payload: { reportType: string }; result: { rows: number } };
 *   }
 * }
 * ```
 *
 * While it is empty every name is allowed, and payloads and results are `unknown`.
 */
export interface Jobs {}

/** The name of a job type: any string while {@link Jobs} is empty, else one of its keys. */
export type JobType = [keyof Jobs] extends [never] ? string : keyof Jobs & string;

/** The payload of job type `T`. */
export type Payload<T> = T extends keyof Jobs ? (Jobs[T] extends { payload: infer P } ? P : unknown) : unknown;

/** The result of job type `T`. */
export type Result<T> = T extends keyof Jobs ? (Jobs[T] extends { result: infer R } ? R : unknown) : unknown;

/** Where a job stands in its life. The last three are terminal: only an explicit retry leaves them. */
export type State =
  | "pending" | "scheduled" | "queued" | "processing" | "retrying"
  | "completed" | "failed" | "cancelled";

/** Why a job or an attempt failed. `code` is the handler's own, or one of Ackwire's (`timeout`, `worker_lost`, …). */
export interface JobFailure {
  code: string;
  message?: string;
  retryable: boolean;
}

/** One run of a job, by one worker. `endedAt` and `outcome` are absent while it runs. */
export interface Attempt {
  number: number;
  worker: string;
  startedAt: string;
  endedAt?: string;
  outcome?: "completed" | "failed" | "released" | "lost" | "timedOut" | "cancelled";
  error?: JobFailure;
}

/**
 * How far the current attempt has come; `percent` is 0 to 100 and never falls within one attempt. A later one replaces
 * it as a whole: what the worker does not say again, such as a `stage`, is gone.
 */
export interface Progress {
  percent: number;
  /** For people. */
  message?: string;
  current?: number;
  total?: number;
  /** What the worker is doing, for programs: at most 64 of `a-z 0-9 _ . -`. */
  stage?: string;
  /** Any JSON value, for programs: at most 4 KiB. */
  data?: unknown;
  /** What the worker said and the job leaves out, because it is not valid. */
  omitted?: ("stage" | "data")[];
}

/** A job's document at one version. Times are RFC 3339 strings in UTC. */
export interface Status<T = JobType> {
  jobId: string;
  type: T;
  state: State;
  /** Rises with each change of the document; a watch yields strictly rising versions. */
  version: number;
  progress?: Progress;
  attempt: number;
  maxAttempts: number;
  createdAt: string;
  updatedAt: string;
  startedAt?: string;
  finishedAt?: string;
  retryAt?: string;
  runAt?: string;
  cancelRequested?: boolean;
  result?: Result<T>;
  /** Where a file or a large result can be downloaded. */
  resultUrl?: string;
  error?: JobFailure;
  /** Once a run has ended: how much it has written to each of its streams, by name. */
  streams?: Record<string, StreamTotal>;
  /** The last 20 runs, oldest first. */
  attempts?: Attempt[];
  /** Where it runs. */
  lane?: string;
  /** Whose token submitted it; absent if that had no subject, and for a grant that opens others' jobs. */
  subject?: string;
  /** What its submit has attached to it. */
  tags?: Record<string, string>;
}

/** Whether a state is terminal. */
export type Terminal = "completed" | "failed" | "cancelled";

/** Options that every call takes. */
export interface CallOptions {
  /** Ends the call with the signal's reason. What was sent may still take effect. */
  signal?: AbortSignal;
}

/** Options of a submit. */
export interface SubmitOptions extends CallOptions {
  /**
   * The idempotency key, 1 to 128 characters: however often the submit is sent there is one job of this type and key.
   * The default is a random one, so that a submit can be repeated after a lost connection. `false` sends none: a
   * submit whose answer is lost then fails with an `IndeterminateError`.
   */
  key?: string | false;
  /** Milliseconds within which the submit is sent and repeated until its outcome is known; 10 minutes by default. */
  ttl?: number;
  /** When the job may start; at most 30 days ahead. */
  runAt?: Date | string;
  /** Bound of one attempt, in seconds. The default is the job type's. */
  timeout?: number;
  /** Bound of the whole job, in seconds. The default is the job type's. */
  deadline?: number;
  /** `false` submits without following the job. It can still be watched. */
  watch?: boolean;
  /**
   * Streams of the job to follow from its ack on, at most 8, so that the first piece comes as soon as it is written.
   * Read them with `job.stream(name)`. Not with `watch: false`.
   */
  streams?: string[];
  /** A webhook for the job's end, or for the states in `callbackEvents`. */
  callbackUrl?: string;
  callbackEvents?: State[];
  /** The trace that the job is a part of (W3C Trace Context). */
  traceparent?: string;
  tracestate?: string;
  /** Asks for a grant for the job, which its handle then has. */
  grant?: GrantOptions;
  /**
   * Attached to the job, so that a list finds it by them: up to 16, with keys of 1 to 64 of `A-Z a-z 0-9 . _ -` and
   * values of 1 to 128 characters. They never change.
   */
  tags?: Record<string, string>;
}

/** How long a grant is valid, and what it permits. */
export interface GrantOptions {
  /** In seconds, 1 to 86,400. */
  ttl: number;
  /** What its holder may do, of what this client may: such as `read` and `cancel`. By default `read`. */
  permissions?: string[];
}

/** What a grant opens: these jobs, jobs of these types, or with both the jobs that are of one of the types. */
export interface GrantRequest extends GrantOptions, CallOptions {
  jobs?: string[];
  types?: string[];
}

/** A token that opens some jobs only, for `connect` or for the URL of an `EventSource`. */
export interface Grant {
  /** A secret. */
  token: string;
  expiresAt: string;
}

/** Options of a watch. */
export interface WatchOptions extends CallOptions {
  /** The last version that you have: only newer ones are told. */
  after?: number;
}

/** How much a run has written to a stream: bytes of text in UTF-8, or items. */
export interface StreamTotal {
  kind: "text" | "json";
  total: number;
}

/** A place in a stream: `at` counts bytes of text in UTF-8, or items, of run `run`. */
export interface StreamCursor {
  run: number;
  at: number;
}

/** Options of a stream. */
export interface StreamOptions extends CallOptions {
  /** What you have already: the stream goes on behind it. By default you have nothing. */
  after?: StreamCursor;
  /**
   * Called when the run that wrote what was read was lost: all of it is void, and the stream begins anew with what is
   * read next. `run` is the new run. Without it the iterator ends with the code `stream_reset` then.
   */
  onReset?: (run: number) => void;
}

/** Options of a stream that is read piece by piece. */
export interface StreamChunkOptions extends Omit<StreamOptions, "onReset"> {
  chunks: true;
}

/** A piece of a stream, with its place. */
export interface StreamChunk<T = unknown> {
  kind: "text" | "json";
  /** The run that wrote it. */
  run: number;
  /** Where it begins. */
  from: number;
  /** Where it ends: `{run, at}` is what you have from now on, for the option `after`. */
  at: number;
  /** Of a stream of text; whole characters. Absent in a piece that only has `reset`. */
  text?: string;
  /** Of a stream of items. */
  items?: T[];
  /** All that was read before is void: the run that wrote it was lost, and this is the beginning of another. */
  reset?: true;
}

/** Options of a watch of all jobs. */
export interface MineOptions extends CallOptions {
  /**
   * Called each time the server has taken the watch: what a list that is read from then on does not have is told. After
   * a lost connection the watch itself brings what was missed.
   */
  held?: () => void;
}

/** A value that changes: what React's `useSyncExternalStore` takes, and any other framework in a few lines. */
export interface Store<S> {
  /** Calls `changed` after each change, until the function that it returns is called. */
  subscribe(changed: () => void): () => void;
  /** The value now. The same object until the next change. */
  snapshot(): S;
}

/** What is known of a job, as a store's value. */
export interface JobSnapshot<T = JobType> {
  /** The latest document; undefined before the first. */
  readonly status: Status<T> | undefined;
  /** Why the job cannot be watched; undefined while it can. */
  readonly error: AckwireError | undefined;
}

/**
 * A handle for one job. As a store it watches the job while it has subscribers; as an async iterable it yields
 * statuses up to the terminal one. A slow reader sees the latest status and skips those in between.
 */
export interface Job<T = JobType> extends AsyncIterable<Status<T>>, Store<JobSnapshot<T>> {
  readonly id: string;
  /** Whether the submit's key had this job before. */
  readonly duplicate: boolean;
  /** The grant that the submit asked for. */
  readonly grant: Grant | undefined;
  /** How many jobs, of all tenants, waited before it when it was submitted; undefined if the server did not know. */
  readonly ahead: number | undefined;
  /** About how many seconds from then until the job starts; undefined if the server did not know. */
  readonly estimate: number | undefined;
  watch(options?: WatchOptions): AsyncIterableIterator<Status<T>>;
  /**
   * Follows a stream of the job, from its beginning to its end, over reconnects and without a gap: what its handler
   * writes while it runs. It yields texts of a stream of text, and the items of a stream of items. When the run that wrote it is
   * lost, what was read is void: `onReset` tells it, or the iterator ends with the code `stream_reset`. With `chunks`
   * it yields pieces with their places, and a reset is a member of one.
   *
   * ```ts
   * for await (const text of job.stream("tokens")) append(text);
   * for await (const row of job.stream<Row>("rows")) rows.push(row);
   * ```
   */
  stream<I = unknown>(name: string, options: StreamChunkOptions): AsyncIterableIterator<StreamChunk<I>>;
  stream<I = string>(name: string, options?: StreamOptions): AsyncIterableIterator<I>;
  /** Waits for the terminal status, whichever it is. */
  wait(options?: CallOptions): Promise<Status<T>>;
  /** Waits for the result; a job that failed or was cancelled rejects with a `JobError`, which holds the status. */
  result(options?: CallOptions): Promise<Result<T>>;
  /** Reads the document once. */
  get(options?: CallOptions): Promise<Status<T>>;
  /** Reads what the server knows of why the job stands where it stands. */
  why(options?: CallOptions): Promise<unknown>;
  /** Reads a page of the job's events, the oldest first; see {@link Ackwire.history}. */
  history(query?: HistoryQuery): Promise<HistoryPage>;
  /** Reads what was submitted; see {@link Ackwire.payload}. */
  payload(options?: CallOptions): Promise<unknown>;
  /** Asks for the job to stop; returns the state that it has after this order. */
  cancel(options?: CallOptions): Promise<State>;
  /** Opens a job that has ended once more. Never repeated by the client: it may fail with an `IndeterminateError`. */
  retry(options?: CallOptions): Promise<State>;
  /** Reads the deliveries of the job's webhook. */
  deliveries(options?: CallOptions): Promise<unknown>;
  /** Removes the job; see {@link Ackwire.erase}. */
  erase(options?: CallOptions): Promise<void>;
}

/** What a list of jobs asks for; see GET /v1/jobs. */
export interface ListQuery extends CallOptions {
  state?: State | State[];
  type?: string | string[];
  /** Tags as `key:value`, at most 4: the jobs have all of them. */
  tag?: string | string[];
  limit?: number;
  cursor?: string;
  [filter: string]: unknown;
}

/** One page of a list, newest job first. */
export interface JobPage {
  jobs: Omit<Status, "version">[];
  nextCursor?: string;
  asOf: string;
}

/** Which page of a job's history is read; the first unless a cursor is given. */
export interface HistoryQuery extends CallOptions {
  /** The most events of a page, 1 to 1,000; 200 without it. */
  limit?: number;
  /** The `nextCursor` of a page of the same job. */
  cursor?: string;
}

/** One page of a job's history, the oldest event first. */
export interface HistoryPage {
  jobId: string;
  events: HistoryEvent[];
  /** Absent in the last page. A page that is short or empty may have one. */
  nextCursor?: string;
  /** The job's first events are not kept any more: what became of those that are left is not known. */
  truncated?: true;
  /** If truncated, the time of the first record that the server's log has. */
  earliest?: string;
  asOf: string;
}

/** One event of a job, as it lies in the server's log. */
export interface HistoryEvent {
  offset: number;
  at: string;
  /** What happened, such as `claimed`; absent for a record that cannot be read. */
  type?: string;
  /** Who wrote it. */
  by?: "gateway" | "worker" | "tracker" | "operator";
  worker?: string;
  subject?: string;
  run?: string;
  dispatch?: number;
  round?: number;
  /** The ID of the W3C trace that its record carries. */
  traceId?: string;
  progress?: Progress;
  error?: { code: string; message: string; retryable: boolean };
  /** Whether it changed the job; null if that is not known. */
  applied: boolean | null;
  /** Why it did not: a code for programs, and a sentence for people. */
  reason?: string;
  detail?: string;
  /** The job after it. */
  state?: State;
  attempt?: number;
}

/** How the client's connection stands. */
export interface Connection {
  /** `idle`: none is needed. `waiting`: for the next try. `closed`: for good, see `error`. */
  readonly state: "idle" | "connecting" | "open" | "waiting" | "closed";
  /** The transport in use, such as `websocket`. */
  readonly transport: string;
  /** Tries that failed in a row. */
  readonly failures: number;
  /** Frames of the server that could not be read, and were dropped. */
  readonly badFrames: number;
  /** The last error, until a connection holds. */
  readonly error: AckwireError | undefined;
}

/** One job of a batch: the arguments of a submit. */
export interface BatchItem<T extends JobType = JobType> extends Omit<SubmitOptions, "ttl" | "signal"> {
  type: T;
  payload?: Payload<T>;
}

/** Options of a batch. */
export interface BatchOptions extends CallOptions {
  /** Milliseconds within which the batch is sent and repeated until its outcomes are known; 10 minutes by default. */
  ttl?: number;
}

/** What became of one job of a batch: acked, refused (nothing was written), or unknown (it may exist). */
export type BatchResult =
  | { outcome: "acked"; job: Job; error?: undefined }
  | { outcome: "refused" | "unknown"; job?: undefined; error: AckwireError };

/** A client. Make one with `connect`; it is disposed of by `close` or `await using`. */
export interface Ackwire extends AsyncDisposable {
  /** Submits a job and resolves once it is durable. */
  submit<T extends JobType>(type: T, payload: Payload<T>, options?: SubmitOptions): Promise<Job<T>>;
  /**
   * Submits up to 1,000 jobs with one frame, and resolves once the outcome of each is known, in the order of `items`. One
   * that is refused stops no other. Those whose outcome is not known are sent again by their keys until `ttl` is over.
   * It rejects if the batch as a whole is refused, as one above the server's frame limit is (`payload_too_large`): a
   * batch is not split.
   */
  submitBatch(items: readonly BatchItem[], options?: BatchOptions): Promise<BatchResult[]>;
  /** A handle for any job, by its ID. The same object while it is watched. */
  job<T extends JobType = JobType>(id: string): Job<T>;
  watch<T extends JobType = JobType>(id: string, options?: WatchOptions): AsyncIterableIterator<Status<T>>;
  /**
   * Follows all jobs of the token's subject, from now on. It ends by `signal`, `break`, or an error only. A loop that
   * is behind by more than 10,000 jobs or 8 million characters of documents ends with the code `limit_exceeded`.
   */
  mine(options?: MineOptions): AsyncIterableIterator<Status>;
  list(query?: ListQuery): Promise<JobPage>;
  get<T extends JobType = JobType>(id: string, options?: CallOptions): Promise<Status<T>>;
  why(id: string, options?: CallOptions): Promise<unknown>;
  /** Reads a page of a job's events, the oldest first, with what became of each. */
  history(id: string, query?: HistoryQuery): Promise<HistoryPage>;
  /**
   * Reads what was submitted. The token needs the permission `payloads`. A payload that is not kept any more fails with
   * the code `payload_gone`.
   */
  payload(id: string, options?: CallOptions): Promise<unknown>;
  stats(options?: CallOptions): Promise<unknown>;
  cancel(id: string, options?: CallOptions): Promise<State>;
  retry(id: string, options?: CallOptions): Promise<State>;
  result<T extends JobType = JobType>(id: string, options?: CallOptions): Promise<Result<T>>;
  deliveries(id: string, options?: CallOptions): Promise<unknown>;
  /**
   * Removes a job that has ended: its document, its payload and its result. The token needs the permission `erase`.
   * From then on every question about the job fails with `not_found`, and so does a submit with its key until its
   * retention is over. A job that has not ended fails with `invalid_state`. A retryable error leaves it open whether
   * the job is erased; to erase it again is harmless, and fails with `not_found` if it is.
   */
  erase(id: string, options?: CallOptions): Promise<void>;
  /** Makes a grant of what this client may do itself. */
  grant(request: GrantRequest): Promise<Grant>;
  readonly connection: Store<Connection>;
  close(): Promise<void>;
}

/** Options of `connect`. */
export interface ConnectOptions {
  /** The gateway's address: http, https, ws or wss, with or without `/v1/ws`. A page's own origin by default. */
  url?: string;
  /**
   * The bearer token or grant, or a function that fetches one. The function is asked once for all that wait, at every connect
   * and when the server says that the token is about to expire.
   */
  token?: string | (() => string | undefined | Promise<string | undefined>);
  /** `true`: the token never stands in a subprotocol; each socket is opened by a ticket (POST /v1/ws-tickets). */
  tickets?: boolean;
  /** How sessions are opened, in order of preference. By default WebSocket, then event streams, then long polls. */
  transports?: Transport[];
  /** Bounds of the wait before a reconnect, in milliseconds: full jitter between 0 and min(cap, base × 2^failures). */
  backoff?: { base?: number; cap?: number };
  /** Numbers that a double cannot hold exactly: read as they are (`number`), as strings, or as BigInt. */
  bigints?: "number" | "string" | "bigint";
  /**
   * Says when the connection is to be looked after at once, beside the page's own events: it is given the function to
   * call then, while a connection is needed, and returns one that ends this. In React Native:
   *
   * ```ts
   * wake: (wake) => {
   *   const subscription = AppState.addEventListener("change", (state) => state === "active" && wake());
   *   return () => subscription.remove();
   * }
   * ```
   */
  wake?: (wake: () => void) => (() => void) | void;
  /** Replacements for the platform's own, for tests and old runtimes. */
  fetch?: typeof fetch;
  WebSocket?: new (url: string, protocols?: string[]) => WebSocket;
}

/**
 * Opens sessions. A session exchanges the text frames of the subprotocol ackwire.v1: a WebSocket is the plainest,
 * others translate frames to HTTP, share another tab's session, or are a server in memory. All promises of the client
 * are kept above this seam: after any close it opens another session, resumes its watches and repeats its submits.
 */
export interface Transport {
  readonly name: string;
  /**
   * Opens a session. Never throws: what goes wrong is told by `events.closed`. The first frame must be `welcome`.
   */
  open(target: Target, events: SessionEvents): Session;
}

/** Where and how a session is opened. */
export interface Target {
  /** The gateway's http or https address, without a slash at its end. */
  readonly base: string;
  /** The query of the address that was given, with its question mark, or "". */
  readonly query: string;
  /** The token for this session; undefined when there is none. */
  readonly token: string | undefined;
  readonly tickets: boolean;
  readonly fetch: typeof fetch;
  readonly WebSocket: ConnectOptions["WebSocket"] | undefined;
  /**
   * What the client would use had it been given no `transports`: a WebSocket, where none can be opened the fallback.
   * For transports that stand on another one, such as `tabs`.
   */
  readonly standard: Transport;
  /** The first of several transports, told to the others, which may find that it works by now. */
  readonly preferred?: Transport;
}

/** What a session tells its owner. */
export interface SessionEvents {
  /** One text frame came. */
  frame(text: string): void;
  /**
   * The session has ended; nothing comes after it. `code` is a WebSocket close code (RFC 6455 §7.4, or ours), 1006 when
   * there was none. `error` is set where an HTTP answer said why it could not be opened.
   */
  closed(code: number, reason: string, error?: AckwireError): void;
}

/** An open session. */
export interface Session {
  /** Sends one text frame. After the end it does nothing. */
  send(text: string): void;
  /** Ends the session; `closed` is still told, once. */
  close(code?: number, reason?: string): void;
}
