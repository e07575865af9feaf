// The outbox: submits that outlive the page that made them.

import { AckwireError } from "../errors.js";
import { tell, Value } from "../store.js";
import { random } from "../text.js";
import { Backoff, longest } from "../time.js";
import type { Ackwire, Job, JobType, Payload, Store, SubmitOptions } from "../types.js";
import { indexedDBStorage, type OutboxStorage } from "./storage.js";

/** Options of a submit to an outbox: it always has a key, and `maxAge` of the outbox bounds it. */
export type OutboxSubmitOptions = Omit<SubmitOptions, "key" | "ttl"> & { key?: string };

/** A submit that is in the outbox. */
export interface PendingSubmit {
  readonly type: JobType;
  readonly payload: unknown;
  /** Its idempotency key. */
  readonly key: string;
  /** When it was made, in milliseconds since 1970. */
  readonly createdAt: number;
  /** Why it is not sent any more: it waits for {@link Outbox.discard}. Undefined while it is to be sent. */
  readonly error: AckwireError | undefined;
}

/** Options of {@link offline}. */
export interface OutboxOptions {
  /**
   * Who submits, such as the subject of the token. Submits of one user are never sent for another. A function is asked
   * again before each send: while it names somebody else nothing is sent.
   */
  user: string | (() => string | undefined);
  /** Where submits are kept; by default IndexedDB. */
  storage?: OutboxStorage;
  /** Most submits in the outbox; 1,000 by default. One more is refused with the code `outbox_full`. */
  maxItems?: number;
  /** Most bytes of all submits as JSON in UTF-16; 8,000,000 by default. */
  maxBytes?: number;
  /**
   * Milliseconds after which a submit is not sent any more; a day by default. The server knows a key for as long as it
   * keeps its job, also a day by default: a submit that was sent, and is repeated later than that, may be a second job.
   */
  maxAge?: number;
  /** Called for each submit that was acked, also for those whose page is gone. */
  onAcked?: (submit: PendingSubmit, job: Job) => void;
  /** Called for each submit that the server refused for good (its code), or that is too old (`outbox_expired`). */
  onFailed?: (submit: PendingSubmit, error: AckwireError) => void;
}

/** An outbox; see {@link offline}. */
export interface Outbox {
  /**
   * Keeps a submit, sends it, and resolves once the job is durable on the server. It rejects with the server's refusal,
   * or with one of the outbox's own codes: `outbox_full`, `outbox_expired`, `outbox_unavailable` (the storage failed;
   * nothing was sent), `outbox_user` (somebody else is signed in), `outbox_closed`. When it rejects because the client or
   * the outbox was closed, or another user came, the submit stays and is sent by the next outbox of its user.
   */
  submit<T extends JobType>(type: T, payload: Payload<T>, options?: OutboxSubmitOptions): Promise<Job<T>>;
  /** The submits that are kept, oldest first, those of other tabs included. */
  pending(): Store<readonly PendingSubmit[]>;
  /** Takes a submit out of the outbox. One that is being sent may still become a job. */
  discard(key: string): Promise<void>;
  /** Ends the outbox. What it holds stays kept, and another tab sends it. */
  close(): void;
}

/** A submit as it is kept. */
interface Kept {
  t: JobType;
  p: unknown;
  k: string;
  o: SubmitOptions;
  at: number;
  /** The outbox that made it. */
  by: string;
  e?: { code: string; detail: string };
}

interface Entry {
  id_: string;
  kept_: Kept;
  size_: number;
  view_: PendingSubmit;
  sending_: boolean;
  /** It is not kept yet: a page that shows it as pending could not be closed without losing it. */
  hidden_?: boolean;
}

const backoff = new Backoff({ base: 1000, cap: 30_000 }); // for submits that the server cannot take now

const failure = (code: string, detail: string, cause?: unknown) =>
  new AckwireError({ code, detail, retryable: code === "outbox_full" }, { cause });

/**
 * Makes an outbox above a client: a submit is kept with its key before it is sent. What a page that is reloaded, closed
 * or crashed has not finished is sent by the next, or by another tab that lives, and becomes exactly one job.
 *
 * One tab, the one that holds a Web Lock, sends what others have left behind. Where there are no Web Locks each sends
 * all that it finds: the keys see to it that there is one job still.
 *
 * ```ts
 * const outbox = offline(ackwire, { user: session.userId });
 * const job = await outbox.submit("report.generate", { reportType: "sales" });
 * ```
 */
export function offline(client: Ackwire, options: OutboxOptions): Outbox {
  return new OutboxImpl(client, options);
}

class OutboxImpl implements Outbox {
  readonly #client: Ackwire;
  readonly #options: OutboxOptions;
  readonly #storage: OutboxStorage;
  readonly #user: string | undefined;
  readonly #prefix: string;
  readonly #maxAge: number;
  /** Names this outbox among those of all tabs. */
  readonly #name = random();
  readonly #entries = new Map<string, Entry>();
  readonly #watched = new Set<string>();
  readonly #wakes = new Set<() => void>();
  readonly #end = new AbortController();
  readonly #ended = new Promise<void>((resolve) => this.#end.signal.addEventListener("abort", () => resolve()));
  readonly #locks: LockManager | undefined = globalThis.navigator?.locks;
  readonly #channel: BroadcastChannel | undefined;
  readonly #leave: () => void;
  readonly #pending = new Value<readonly PendingSubmit[]>([]);
  #made = 0;
  #changes = 0;
  #leads = false;

  constructor(client: Ackwire, options: OutboxOptions) {
    this.#client = client;
    this.#options = options;
    this.#storage = options.storage ?? indexedDBStorage();
    this.#user = typeof options.user === "function" ? options.user() : options.user;
    this.#prefix = `ackwire/${encodeURIComponent(this.#user ?? "")}/`;
    this.#maxAge = options.maxAge ?? 86_400_000;
    if (this.#locks && typeof BroadcastChannel === "function") {
      this.#channel = new BroadcastChannel(this.#prefix);
      this.#channel.onmessage = () => void this.#sweep();
    }
    const lead = () => {
      this.#leads = true;
      void this.#sweep();
      return this.#ended;
    };
    void this.#lock(this.#name, () => {
      this.#tell(); // the tab that leads learns of this one, and looks after it
      return this.#ended;
    });
    if (this.#locks) void this.#lock("", lead);
    else void lead();
    let was = "";
    this.#leave = client.connection.subscribe(() => {
      const { state } = client.connection.snapshot();
      if (state === "open" && was !== state) void this.#sweep();
      if (state === "closed") this.close(); // the submits are for the next client
      was = state;
    });
  }

  async submit<T extends JobType>(type: T, payload: Payload<T>, options: OutboxSubmitOptions = {}): Promise<Job<T>> {
    const { signal, key = random(), ...rest } = options;
    if (signal?.aborted) throw signal.reason;
    this.#check();
    const kept: Kept = { t: type, p: payload, k: key, o: rest, at: Date.now(), by: this.#name };
    const id = this.#prefix + kept.at.toString(36) + String(this.#made++).padStart(6, "0") + this.#name;
    const text = JSON.stringify(kept);
    const entry = read(id, text);
    const size = [...this.#entries.values()].reduce((sum, other) => sum + other.size_, entry.size_);
    if (this.#entries.size >= (this.#options.maxItems ?? 1000) || size > (this.#options.maxBytes ?? 8e6)) {
      throw failure("outbox_full", "the outbox is full");
    }
    entry.sending_ = entry.hidden_ = true;
    this.#entries.set(id, entry);
    try {
      await this.#storage.setItem(id, text);
    } catch (err) {
      this.#entries.delete(id);
      throw failure("outbox_unavailable", "the submit cannot be kept", err);
    }
    entry.hidden_ = false;
    this.#changed();
    this.#tell();
    try {
      return await this.#send(entry, signal) as Job<T>;
    } finally {
      entry.sending_ = false;
    }
  }

  pending(): Store<readonly PendingSubmit[]> {
    return this.#pending;
  }

  async discard(key: string): Promise<void> {
    for (const entry of this.#entries.values()) if (entry.kept_.k === key) await this.#remove(entry);
  }

  close(): void {
    this.#end.abort();
    for (const wake of this.#wakes) wake();
    this.#leads = false;
    this.#leave();
    this.#channel?.close();
  }

  /** Throws where nothing may be sent. */
  #check(): void {
    const { user } = this.#options;
    if (this.#end.signal.aborted) throw failure("outbox_closed", "the outbox is closed");
    if (this.#user === undefined || (typeof user === "function" && user() !== this.#user)) {
      throw failure("outbox_user", "another user is signed in");
    }
  }

  /** Calls `run` once the lock is free, and holds it until its promise is settled. */
  async #lock(name: string, run: () => unknown): Promise<void> {
    await ignore(() => this.#locks?.request(this.#prefix + name, { signal: this.#end.signal }, run));
  }

  /** Reads what is kept and, in the tab that leads, sends what nobody sends any more. */
  async #sweep(): Promise<void> {
    await ignore(async () => {
      await this.#read();
      if (!this.#leads) return;
      const alive = await this.#alive();
      for (const entry of this.#sorted()) {
        const { by, at, e } = entry.kept_;
        if (e && Date.now() > at + 2 * this.#maxAge) void this.#remove(entry); // nobody discards it
        else if (!alive.has(by)) this.#adopt(entry);
      }
    });
  }

  /** Names the outboxes that send their own submits: each holds a lock of its name. Another sweep follows their end. */
  async #alive(): Promise<Set<string>> {
    const alive = new Set([this.#name]);
    const { held = [], pending = [] } = (await this.#locks?.query()) ?? {};
    for (const { name = "" } of [...held, ...pending]) {
      if (name.startsWith(this.#prefix)) alive.add(name.slice(this.#prefix.length));
    }
    for (const name of alive) void this.#watch(name);
    return alive;
  }

  /** Sweeps once another outbox is gone. */
  async #watch(name: string): Promise<void> {
    if (!name || name === this.#name || this.#watched.has(name)) return;
    this.#watched.add(name);
    await this.#lock(name, () => {});
    this.#watched.delete(name);
    void this.#sweep();
  }

  #adopt(entry: Entry): void {
    if (entry.sending_ || entry.view_.error) return;
    entry.sending_ = true;
    this.#send(entry).catch(() => {}).finally(() => (entry.sending_ = false));
  }

  /** Brings the entries in line with the storage. */
  async #read(): Promise<void> {
    const ids = new Set((await this.#storage.getAllKeys()).filter((id) => id.startsWith(this.#prefix)));
    for (const [id, entry] of this.#entries) if (!ids.has(id) && !entry.sending_) this.#entries.delete(id);
    for (const id of ids) {
      if (this.#entries.has(id)) continue;
      const text = await this.#storage.getItem(id);
      if (text && !this.#entries.has(id)) await ignore(() => this.#entries.set(id, read(id, text)));
    }
    this.#changed();
  }

  /** Sends a submit until its outcome is known. It rejects with the refusal, or with why it cannot be sent now. */
  async #send(entry: Entry, signal?: AbortSignal): Promise<Job> {
    const { t: type, p: payload, k: key, o: options, at, by } = entry.kept_;
    for (let tries = 0; ; tries++) {
      this.#check();
      const ttl = at + this.#maxAge - Date.now();
      if (!(ttl > 0)) return this.#fail(entry, failure("outbox_expired", "the submit is too old"));
      let job: Job;
      try {
        job = await this.#client.submit(type, payload as never, {
          watch: by === this.#name, ...options, ...(signal && { signal }), key, ttl,
        });
      } catch (err) {
        if (signal?.aborted) {
          await this.#remove(entry);
          throw err;
        }
        const { retryable, retryAfter = 0 } = err as AckwireError;
        if (this.#client.connection.snapshot().state === "closed") throw err;
        if (!retryable) return this.#fail(entry, err as AckwireError);
        await this.#wait(backoff.wait_(tries) + 1000 * retryAfter);
        continue;
      }
      await this.#remove(entry);
      tell(() => this.#options.onAcked?.(entry.view_, job));
      return job;
    }
  }

  /** Tells of a refusal for good. A submit whose page is gone stays, with the error, until it is discarded. */
  async #fail(entry: Entry, error: AckwireError): Promise<never> {
    const { kept_: kept } = entry;
    entry.view_ = { ...entry.view_, error };
    if (kept.by === this.#name) {
      await this.#remove(entry);
    } else {
      kept.e = { code: error.code ?? error.name, detail: error.message };
      await ignore(() => this.#storage.setItem(entry.id_, JSON.stringify(kept)));
      this.#changed();
    }
    tell(() => this.#options.onFailed?.(entry.view_, error));
    throw error;
  }

  /** Takes a submit out. */
  async #remove(entry: Entry): Promise<void> {
    this.#entries.delete(entry.id_);
    await ignore(() => this.#storage.removeItem(entry.id_));
    this.#changed();
    this.#tell();
  }

  #sorted(): Entry[] {
    return [...this.#entries.values()].sort((a, b) => (a.id_ < b.id_ ? -1 : 1));
  }

  /** Tells what observes `pending()`, once for all changes of one turn. */
  #changed(): void {
    if (this.#changes++) return;
    queueMicrotask(() => {
      this.#changes = 0;
      const views = this.#sorted().filter((entry) => !entry.hidden_).map((entry) => entry.view_);
      const { value_: was } = this.#pending;
      if (views.length !== was.length || views.some((view, i) => view !== was[i])) this.#pending.set_(views);
    });
  }

  /** Tells other tabs that what is kept has changed. */
  #tell(): void {
    if (!this.#end.signal.aborted) this.#channel?.postMessage(0);
  }

  /** Waits that many milliseconds, or until the end. No timer is longer than a minute. */
  async #wait(ms: number): Promise<void> {
    for (let left = ms; left > 0 && !this.#end.signal.aborted; left -= longest) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          clearTimeout(timer);
          this.#wakes.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, Math.min(left, longest));
        this.#wakes.add(wake);
      });
    }
  }
}

/** Reads a submit as it is kept. */
function read(id: string, text: string): Entry {
  const kept = JSON.parse(text) as Kept;
  const { t: type, p: payload, k: key, at: createdAt, e } = kept;
  const error = e && failure(e.code, e.detail);
  const view = { type, payload, key, createdAt, error };
  return { id_: id, kept_: kept, size_: 2 * text.length, view_: view, sending_: false };
}

/** Does what may fail: the storage, of which a submit tells, and locks at the end. */
async function ignore(run: () => unknown): Promise<void> {
  try {
    await run();
  } catch {
    // Nothing depends on it.
  }
}
