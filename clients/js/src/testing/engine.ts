// What the server in memory is made of: its jobs, its sessions, and what the test wants to go wrong.

import type { ErrorCode } from "../codes_gen.js";
import type { Workers } from "../operate/workers.js";
import type { Grant, GrantOptions } from "../types.js";
import { anyone, type Deed, holder, type Identity } from "./access.js";
import { checkSubmit } from "./checks.js";
import { Refusal } from "./codes.js";
import { Failure, type Handler, TestJob } from "./job.js";
import { sameJSON } from "./json.js";
import { type Ack, JobRecord, stamp, type Submit, terminal } from "./record.js";
import type { ServerSession } from "./session.js";

/** What a session may do. */
export interface Limits {
  /** Largest frame that a client may send, in bytes; 262,144 by default. */
  frameBytes: number;
  /** Most jobs that a session may watch; 1,000 by default. */
  subscriptions: number;
  /** Most submits that may wait for their answers; 64 by default. */
  inFlightSubmits: number;
}

/** What can be refused: a session at its opening, an HTTP request, a frame of that type, or a job of a subscribe. */
export type Refusable = "session" | "request" | "submit" | "subscribe" | "watch" | "cancel" | "retry" | "auth";

const maxTimer = 86_400_000; // a longer one is made of several: setTimeout takes 24.8 days

/** Keys are a subject's own. */
const keyOf = (subject: string, type: string, key: string) => `${subject}\0${type}\0${key}`;

export class Engine {
  readonly limits: Limits;
  readonly pingInterval: number;
  readonly maxAttempts: number;
  /** Milliseconds between a failed attempt and the next. */
  readonly backoff: number;
  /** Tokens with their subjects; undefined: any token, and none, is taken. */
  readonly tokens: Map<string, string> | undefined;
  types: Set<string> | undefined;

  readonly handlers = new Map<string, Handler>();
  readonly records = new Map<string, JobRecord>();
  /** All jobs, the oldest first. */
  order: JobRecord[] = [];
  readonly #grants = new Map<string, Identity | undefined>(); // undefined: taken no more
  #issued = 0; // grants
  readonly sessions = new Set<ServerSession>();
  /** Every session that there was, the oldest first. */
  history: ServerSession[] = [];
  /** The token of each ticket that was made and not used. */
  readonly tickets = new Map<string, string | undefined>();
  /** Called at every change of any job, and at a cut. */
  readonly listeners = new Set<(cut: boolean) => void>();

  /** Changes when versions start anew. */
  epoch = 1;
  version = 0;
  /** Numbers what is made: sessions, tickets, jobs. */
  made = 0;

  /** What GET /v1/workers answers. */
  workers: Partial<Workers> = {};

  down = false;
  delay = 0;
  ackDelay = 0;
  acksToLose = 0;
  readonly refusals = new Map<Refusable, Refusal[]>();

  readonly #keys = new Map<string, JobRecord>();
  readonly #timers = new Set<() => void>();

  constructor(options: {
    limits?: Partial<Limits>; pingInterval?: number; maxAttempts?: number; backoff?: number;
    tokens?: Record<string, string>; types?: string[];
  }) {
    this.limits = { frameBytes: 256 << 10, subscriptions: 1000, inFlightSubmits: 64, ...options.limits };
    this.pingInterval = options.pingInterval ?? 25;
    this.maxAttempts = options.maxAttempts ?? 3;
    this.backoff = options.backoff ?? 0;
    this.tokens = options.tokens && new Map(Object.entries(options.tokens));
    this.types = options.types && new Set(options.types);
  }

  /** Calls `run` after that many milliseconds; 0 is a microtask, so that no clock must be moved. */
  after(ms: number, run: () => void): () => void {
    let live = true;
    if (!(ms > 0)) {
      queueMicrotask(() => live && run());
      return () => void (live = false);
    }
    let timer: ReturnType<typeof setTimeout>;
    const stop = () => {
      clearTimeout(timer);
      this.#timers.delete(stop);
    };
    const wait = (left: number) => {
      const step = Math.min(left, maxTimer);
      timer = setTimeout(() => {
        if (left > step) {
          wait(left - step);
          return;
        }
        this.#timers.delete(stop);
        run();
      }, step);
    };
    this.#timers.add(stop);
    wait(ms);
    return stop;
  }

  stopTimers(): void {
    for (const stop of this.#timers) stop();
  }

  /** Who a token's holder is; undefined when the token is not taken. */
  identify(token: string | undefined): Identity | undefined {
    if (token !== undefined && this.#grants.has(token)) {
      const grant = this.#grants.get(token);
      return grant?.over ? undefined : grant;
    }
    if (!this.tokens) return anyone;
    const subject = this.tokens.get(token ?? "");
    return subject === undefined ? undefined : holder(subject);
  }

  /** Takes a token, or a grant, no more. */
  revoke(token: string): void {
    this.tokens?.delete(token);
    if (this.#grants.has(token)) this.#grants.set(token, undefined);
  }

  /** Has the next `times` of a kind refused. */
  refuse(of: Refusable, times: number, code: ErrorCode, detail?: string, retryAfter?: number): void {
    const list = this.refusals.get(of) ?? [];
    for (let i = 0; i < times; i++) list.push(new Refusal(code, detail ?? "the test refuses this", retryAfter));
    this.refusals.set(of, list);
  }

  /** The refusal that this one is to meet. */
  refusal(of: Refusable): Refusal | undefined {
    return this.refusals.get(of)?.shift();
  }

  /** The job of an ID; one that `who` may not see is not found. */
  find(jobId: unknown, who: Identity, deed: Deed = "read"): JobRecord {
    const record = typeof jobId === "string" ? this.records.get(jobId) : undefined;
    if (record && who.sees(record, deed)) return record;
    if (record && who.may("read") && who.sees(record)) {
      throw new Refusal("forbidden", "the token does not permit this for jobs of others: it needs cancel:tenant");
    }
    throw new Refusal("not_found");
  }

  /** Makes a job, or finds the one of the same key. The caller must call announce for a new one, after its ack. */
  submit(request: Submit, who: Identity): { ack: Ack; record: JobRecord } {
    const submit = checkSubmit(request);
    const { job: type, payload, key } = submit;
    if (this.types && !this.types.has(type) && type !== "ackwire.bulk") {
      throw new Refusal("unknown_job_type", `${JSON.stringify(type)} is not a job type here`);
    }
    who.checkSubmit(type);
    if (submit.grant) who.granted(submit.grant, { types: [type] });
    const keyed = key ? keyOf(who.subject, type, key) : undefined;
    const old = keyed === undefined ? undefined : this.#keys.get(keyed);
    if (old) {
      if (!this.records.has(old.doc.jobId)) throw new Refusal("not_found", "the job of this key was erased");
      if (!sameJSON(old.submit.payload, payload)) {
        throw new Refusal("idempotency_key_reused", "the key was used with another payload");
      }
      return { ack: { ...old.ack(true), ...this.#granted(submit, old, who) }, record: old };
    }
    const id = `00000000-0000-7000-8000-${(++this.made).toString(16).padStart(12, "0")}`;
    const record = new JobRecord(id, submit, who.subject, this.maxAttempts);
    const ahead = this.#waiting(type);
    this.#schedule(record);
    this.records.set(id, record);
    this.order.push(record);
    if (keyed !== undefined) this.#keys.set(keyed, record);
    record.write(++this.version);
    const ack: Ack = { ...record.ack(), ...this.#granted(submit, record, who) };
    if (record.doc.state === "pending") {
      ack.ahead = ahead;
      if (ahead === 0 && this.handlers.has(type)) ack.estimate = 0;
    }
    return { ack, record };
  }

  /** Whether the key of a submit has made a job. */
  known({ job: type, key }: Submit, who: Identity): boolean {
    return !!key && this.#keys.has(keyOf(who.subject, type, key));
  }

  /** How many jobs of a type wait for a worker. Here, each type has a lane of its own. */
  #waiting(type: string): number {
    return this.order.filter(({ doc }) => doc.type === type && doc.state === "pending").length;
  }

  /** The grant that a submit asks for. */
  #granted({ grant }: Submit, { doc: { jobId } }: JobRecord, who: Identity): Pick<Ack, "grant"> {
    return grant ? { grant: this.grant(grant, { jobs: [jobId] }, who) } : {};
  }

  /** Makes a grant, of what its maker may do. */
  grant(options: GrantOptions, of: { jobs?: unknown; types?: unknown }, who: Identity): Grant {
    const granted = who.granted(options, of);
    const token = `grant-${++this.#issued}`;
    this.#grants.set(token, granted);
    return { token, expiresAt: stamp(granted.expires) };
  }

  #schedule(record: JobRecord): void {
    const { runAt, deadline } = record.submit;
    if (runAt !== undefined) {
      const at = Date.parse(runAt);
      record.doc.runAt = stamp(at);
      if (at > Date.now()) this.#waitFor(record, "scheduled", at);
    }
    if (deadline !== undefined) {
      this.#later(record, deadline * 1000, () => {
        if (terminal(record.doc.state)) return;
        record.failNow(new Failure("deadline_exceeded", "the job took longer than its deadline"));
        this.changed(record);
      });
    }
  }

  /** Has a job wait in a state until that time, and then for a worker. */
  #waitFor(record: JobRecord, state: "scheduled" | "retrying", at: number): void {
    record.doc.state = state;
    this.#later(record, at - Date.now(), () => {
      if (record.doc.state !== state) return;
      record.doc.state = "pending";
      record.doc.retryAt = undefined;
      this.changed(record);
    });
  }

  /** Calls `run` after a wait, unless the job has ended or expired by then. */
  #later(record: JobRecord, ms: number, run: () => void): void {
    const stop = this.after(ms, () => {
      record.timers.delete(stop);
      run();
    });
    record.timers.add(stop);
  }

  /** Cancels or retries a job. The caller must call changed, after the ack. */
  command(kind: "cancel" | "retry", jobId: unknown, who: Identity): { ack: Ack; record: JobRecord } {
    const record = this.find(jobId, who, kind === "cancel" ? "cancel" : "submit");
    if (kind === "cancel") record.cancel();
    else record.retry(this.maxAttempts);
    return { ack: record.ack(), record };
  }

  /** Tells of a change, and hands the job out if a handler can take it. */
  changed(record: JobRecord): void {
    record.write(++this.version);
    if (record.doc.state === "retrying") this.#waitFor(record, "retrying", Date.parse(record.doc.retryAt ?? ""));
    this.announce(record);
  }

  announce(record: JobRecord): void {
    for (const session of this.sessions) session.tell(record);
    this.pour(record);
    for (const changed of [...this.listeners]) changed(false);
    this.handOut(record);
  }

  /** Tells what was written to the streams of a job. */
  pour(record: JobRecord): void {
    for (const session of this.sessions) session.pour(record);
  }

  handOut(record: JobRecord): void {
    const handler = this.handlers.get(record.doc.type);
    if (!handler || record.doc.state !== "pending") return;
    void this.begin(record).work(handler);
  }

  /** Begins an attempt. */
  begin(record: JobRecord): TestJob {
    const run = new TestJob(this, record);
    record.begin(run, "testing");
    const { timeout } = record.submit;
    if (timeout !== undefined) {
      this.#later(record, timeout * 1000, () => {
        if (record.run !== run || record.doc.state !== "processing") return;
        const late = new Failure("timeout", "the attempt took longer than its timeout", { retryable: true });
        record.fail("timedOut", late, this.backoff);
        this.changed(record);
      });
    }
    this.changed(record);
    return run;
  }

  /** Removes an ended job. Its key is kept, and gives no other job. */
  erase(jobId: unknown, who: Identity): void {
    const record = this.find(jobId, who, "erase");
    const { state } = record.doc;
    if (!terminal(state)) throw new Refusal("invalid_state", `the job is ${state}: it has not ended`);
    this.remove(record);
  }

  /** Removes a job. Its key is kept. */
  remove(record: JobRecord): void {
    record.stopTimers();
    this.records.delete(record.doc.jobId);
    this.order = this.order.filter((other) => other !== record);
    for (const session of this.sessions) session.removed(record);
  }

  /** Removes a job, as a real server does when its retention is over. */
  expire(record: JobRecord): void {
    this.remove(record);
    this.#keys.delete(keyOf(record.subject, record.doc.type, record.submit.key ?? ""));
    record.run?.stop("the job has expired");
    record.doc.state = "cancelled"; // for an attempt that still runs: nothing more becomes of it
  }

  /** Has versions start anew, below those that clients have, as after a restore from a backup. */
  rewind(): void {
    this.epoch++;
    this.version = 0;
    for (const record of this.order) {
      record.history.length = 0;
      record.write(++this.version);
    }
    for (const session of this.sessions) session.reset();
    for (const changed of [...this.listeners]) changed(false);
  }

  cut(): void {
    for (const session of this.sessions) session.cut();
    for (const changed of [...this.listeners]) changed(true);
  }
}
