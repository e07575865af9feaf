// The client: what a program calls, on top of the link, the watches and HTTP.

import type { Call, Conn, Frame } from "./conn.js";
import { AckwireError, ClosedError, IndeterminateError } from "./errors.js";
import { Handle } from "./job.js";
import { Link, type LinkUser } from "./link.js";
import { Mine } from "./mine.js";
import { failure, type Parse, problem, Rest } from "./rest.js";
import { quote, random, splitURL } from "./text.js";
import { Backoff, now } from "./time.js";
import { Tokens } from "./token.js";
import type {
  Ackwire, CallOptions, ConnectOptions, JobPage, ListQuery, State, Status, SubmitOptions, Transport, WatchOptions,
} from "./types.js";
import { wakes } from "./wake.js";
import { checkID, Watches } from "./watch.js";

const tenMinutes = 600_000;

// Where `await using` is translated the symbol may be missing; compilers then take this one.
const asyncDispose: typeof Symbol.asyncDispose = Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose");

export class Client implements LinkUser {
  readonly link_: Link;
  readonly watches_: Watches;
  /** Handles whose stores have listeners. */
  readonly handles_ = new Set<Handle>();
  private readonly mine_: Mine;
  private readonly rest_: Rest;

  constructor(options: ConnectOptions, transport: Transport, standard: Transport) {
    const [base, query] = splitURL(options.url);
    const tokens = new Tokens(options.token);
    // Called without a receiver: browsers refuse fetch as a method of another object.
    const fetch: typeof globalThis.fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
    const { bigints } = options;
    const parser = async (): Promise<Parse> =>
      bigints && bigints !== "number" ? (await import("./bigints.js")).parser(bigints) : JSON.parse;
    this.rest_ = new Rest(base, tokens, fetch, parser);
    this.link_ = new Link(
      transport,
      { base, query, tickets: options.tickets === true, fetch, WebSocket: options.WebSocket, standard },
      tokens, new Backoff(options.backoff), parser, (wake) => wakes(wake, options.wake),
    );
    this.link_.user_ = this;
    this.mine_ = new Mine(this.link_, this as any);
    this.watches_ = new Watches(this.link_, this.mine_.told_);
  }

  get connection(): Ackwire["connection"] {
    return this.link_.state_;
  }

  // Requests through a session.

  async submit(type: string, payload: unknown, options: SubmitOptions = {}): Promise<Handle> {
    const { key: given, ttl, signal, runAt, watch, timeout, deadline, callbackUrl, callbackEvents } = options;
    const key = given === false ? undefined : (given ?? random());
    const fields = {
      job: type, payload: payload ?? null, key, runAt, timeout, deadline, callbackUrl, callbackEvents,
      watch: watch === false ? watch : undefined, traceparent: options.traceparent, tracestate: options.tracestate,
    };
    const body_ = "," + quote(fields).slice(1);
    const until_ = now() + (ttl ?? tenMinutes);
    // An answer left open whether the job exists. From then on only an ack or a refusal for good settles it: "nothing
    // was written" speaks of the last try alone.
    let doubt = false;
    let jobId: string | undefined;
    for (let tries = 0; ; tries++) {
      const call: Call = {
        kind_: "submit", body_, key_: key, watch_: watch !== false, resend_: key !== undefined, until_, signal_: signal,
      };
      try {
        const ack = await this.link_.call_(call);
        return new Handle(this, ack.jobId, ack.duplicate === true, call.sub_);
      } catch (error) {
        const answer = call.answered_ ? (error as AckwireError) : undefined;
        const open = answer?.code === "indeterminate" || (call.sends_! > 1 && answer?.retryable);
        if (signal?.aborted || (answer && !answer.retryable && !open)) throw error;
        if (open) doubt = true;
        if (!doubt) throw error;
        jobId = answer?.jobId ?? jobId;
        const wait = this.link_.backoff_.wait_(tries, answer?.retryAfter);
        if (!answer || !key || this.link_.ended_ || now() + wait >= until_) {
          throw new IndeterminateError(error instanceof IndeterminateError && !answer ? error.cause : error, key, jobId);
        }
        await this.link_.sleep_(wait, signal);
      }
    }
  }

  private async order_(kind_: "cancel" | "retry", id: string, signal_?: AbortSignal): Promise<State> {
    checkID(id);
    // A cancel may be sent twice; a retry could open the job once more than was asked for.
    const retry = kind_ === "retry";
    try {
      const frame = await this.link_.call_({
        kind_, body_: `,"jobId":${quote(id)}${retry ? ',"watch":false' : ""}}`, resend_: !retry, signal_,
      });
      return frame.state;
    } finally {
      if (retry) for (const handle of this.handles_) if (handle.id === id) handle.reopened_();
    }
  }

  cancel(id: string, options?: CallOptions): Promise<State> {
    return this.order_("cancel", id, options?.signal);
  }

  retry(id: string, options?: CallOptions): Promise<State> {
    return this.order_("retry", id, options?.signal);
  }

  job(id: string): Handle {
    if (/^[0-9a-f-]{36}$/i.test(id)) id = id.toLowerCase(); // a UUID in upper case is the same one
    for (const handle of this.handles_) if (handle.id === id) return handle;
    return new Handle(this, id);
  }

  watch(id: string, options?: WatchOptions): AsyncIterableIterator<Status<any>, undefined, undefined> {
    return this.job(id).watch(options);
  }

  mine(options?: CallOptions): AsyncIterableIterator<Status, undefined, undefined> {
    return this.mine_.follow_(options?.signal);
  }

  result(id: string, options?: CallOptions): Promise<any> {
    return this.job(id).result(options);
  }

  // Questions over HTTP.

  private async path_(id: string, rest: string, options?: CallOptions): Promise<[any, Response]> {
    checkID(id);
    return this.rest_.get_("/v1/jobs/" + encodeURIComponent(id) + rest, options);
  }

  async list({ signal, ...query }: ListQuery = {}): Promise<JobPage> {
    const search: string[] = [];
    for (const [name, values] of Object.entries(query)) {
      for (const value of [values].flat()) {
        if (value === undefined) continue;
        search.push(name + "=" + encodeURIComponent(value instanceof Date ? value.toISOString() : String(value)));
      }
    }
    const path = "/v1/jobs" + (search.length ? "?" + search.join("&") : "");
    return (await this.rest_.get_(path, signal && { signal }))[0];
  }

  async get(id: string, options?: CallOptions): Promise<Status<any>> {
    const [status, response] = await this.path_(id, "", options);
    status.version = Number(/\d+/.exec(response.headers.get("ETag")!)) || 0;
    return status;
  }

  async why(id: string, options?: CallOptions): Promise<unknown> {
    return (await this.path_(id, "/why", options))[0];
  }

  async deliveries(id: string, options?: CallOptions): Promise<unknown> {
    return (await this.path_(id, "/deliveries", options))[0];
  }

  async stats(options?: CallOptions): Promise<unknown> {
    return (await this.rest_.get_("/v1/stats", options))[0];
  }

  /** Reads a result that a document does not hold: JSON, or a Blob of anything else. */
  async download_(id: string, options?: CallOptions): Promise<unknown> {
    return this.rest_.content_(`/v1/jobs/${encodeURIComponent(id)}/result`, options);
  }

  // What the link tells.

  watching_(): boolean {
    return this.watches_.any_() || this.mine_.any_();
  }

  frame_(conn: Conn): string | undefined {
    return this.watches_.frame_(conn);
  }

  opened_(): void {
    this.watches_.install_();
    this.mine_.poke_();
  }

  lost_(conn: Conn): void {
    this.mine_.ended_(conn);
  }

  take_(conn: Conn, frame: Frame): boolean | void {
    const { id, jobId } = frame;
    const call = conn.calls_.get(id);
    switch (frame.type) {
      case "status": {
        const { version, job } = frame;
        if (typeof job.jobId !== "string" || typeof job.state !== "string" || !(Number.isSafeInteger(version) && version > 0)) return false;
        job.version = version;
        if (frame.mine === true) this.mine_.status_(job.jobId, job);
        return this.watches_.status_(job.jobId, job);
      }
      case "ack":
        if (!call) return;
        if (typeof jobId !== "string" || !jobId || typeof frame.state !== "string") {
          call.answered_ = true;
          this.link_.answer_(conn, call, failure("indeterminate", "the server's answer could not be read"));
          return false;
        }
        // Here and not in submit: the next frame may already be this job's first status.
        if (call.watch_) {
          if (call.finished_) this.watches_.unwanted_(conn, jobId);
          else call.sub_ = this.watches_.opened_(conn, jobId);
        }
        return this.link_.answer_(conn, call, undefined, frame);
      case "subscribed":
        if (frame.mine === true) this.mine_.subscribed_(conn, frame.reset);
        else this.watches_.subscribed_(conn, frame);
      // falls through
      case "unsubscribed":
        if (call) this.link_.answer_(conn, call, undefined, frame);
        return;
      case "cursor":
        return this.mine_.cursor_is_(conn, frame);
      case "error": {
        const error = problem(frame);
        if (!call) return this.watches_.refused_(conn, id, error);
        call.answered_ = true;
        this.link_.answer_(conn, call, error);
      }
    }
  }

  failed_(error: AckwireError): void {
    this.rest_.ended_ = error;
    this.watches_.fail_(error);
    this.mine_.fail_(error);
    this.handles_.clear();
  }

  async close(): Promise<void> {
    this.link_.fail_(new ClosedError({ code: "closed", detail: "the client was closed" }));
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }
}
