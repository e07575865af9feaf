// A session without a socket: each frame of the client becomes a request, what is watched comes by one stream.

import { AckwireError } from "../errors.js";
import type { Session, SessionEvents, Target } from "../types.js";
import { eventData, post, refusal } from "./http.js";
import type { Shared } from "./index.js";
import { Stream } from "./stream.js";
import type { End } from "./stream.js";
import { Upward } from "./upward.js";
import { type StreamRef, Watches } from "./watches.js";

/** Seconds that a long poll waits for news: below what proxies cut off. */
const pollWait = 20;
/** Milliseconds for which long polls replace streams, once these were seen to be gathered on the way. */
const pollFor = 300_000;
/** Milliseconds between a change of what is watched and the request for it, and what each watched job adds. */
const gather = 20;
const gatherPerJob = 1;
/** Submits, cancels and retries at a time: browsers open six connections to a server, and the stream has one. */
const maxInFlight = 8;
/** A stream that lived so many milliseconds was cut by a proxy, not by a server that is not there. */
const lived = 1000;
/** Milliseconds within which something was heard, so that a ping needs no request. */
const fresh = 30_000;
/** Statuses of all jobs that wait for the answers of submits, and their characters. */
const maxHeld = 100;
const maxHeldText = 8e6;
const keyHeader = "Idempotency-Key";
/** A key that a header can carry as it is. */
const plainKey = /^[!#-[\]-~]+$/;

/** A frame that a client sends. */
interface ClientFrame {
  type: string;
  id?: string;
  jobs?: ({ jobId: string; after?: number } | string)[];
  mine?: boolean;
  after?: string;
  jobId?: string;
  key?: string;
  watch?: boolean;
  streams?: StreamRef[];
  token?: string;
}

/** What a session needs to know of a job in a batch. */
interface Submitted {
  watch?: boolean;
  streams?: StreamRef[];
}

/** The frame that answers what a stream was asked for, or resets a watch. */
interface Subscribed {
  jobs: { jobId: string; version?: number; error?: string; reset?: boolean }[];
  reset?: boolean; // of the watch of all jobs
}

/** A subscribe frame that waits for its answer. */
interface Ask {
  id: string | undefined;
  jobs: string[];
  mine: boolean;
  /** The request that will answer it. */
  by: Stream | undefined;
  refused: { jobId: string; error: string }[];
  /** The last versions of jobs whose watches have ended since, so that no request asks for them. */
  ended: Map<string, number>;
}

export class HTTPSession implements Session {
  private readonly watches = new Watches();
  private readonly abort = new AbortController();
  private readonly upward: Upward;
  private token: string | undefined;
  private asks: Ask[] = [];
  private current: Stream | undefined; // has answered
  private next: Stream | undefined; // has not
  private timer: ReturnType<typeof setTimeout> | undefined;
  private pause = 0; // after a poll that brought nothing too early
  private limit = Infinity; // of subscriptions
  private welcomed = false;
  private warned = false; // of the token's end
  private draining = false;
  private inFlight = 0;
  private held: { jobId: string; text: string }[] = [];
  private heldText = 0; // characters of held
  private heldCursor: string | undefined; // the frame with the cursor behind what is held
  private follows = false; // it was answered that all jobs of the subject are followed
  private over = false;
  private lastError: AckwireError | undefined; // an error frame that answers nothing

  constructor(
    private readonly target: Target, private readonly events: SessionEvents, private readonly shared: Shared,
  ) {
    this.token = target.token;
    this.upward = new Upward(target, (goaway) => this.tell(goaway));
  }

  send(text: string): void {
    if (this.over) return;
    this.upward.look(this.token);
    const frame = JSON.parse(text) as ClientFrame;
    switch (frame.type) {
      case "submit":
        // The body has the key. The header is for proxies, which repeat a request that has it.
        return this.order(frame, "/v1/jobs", text, plainKey.test(frame.key ?? "") ? { [keyHeader]: frame.key! } : {});
      case "submitBatch":
        return this.batch(frame.id, frame.jobs as unknown as Submitted[], text);
      case "cancel":
      case "retry":
        return this.order(frame, `/v1/jobs/${encodeURIComponent(frame.jobId ?? "")}/${frame.type}`, "");
      case "subscribe":
        return this.subscribe(frame);
      case "unsubscribe":
        return this.unsubscribe(frame);
      case "auth":
        return this.renew(frame);
      case "ping":
        return this.ping(frame);
      default:
        this.refuse(frame.id, new AckwireError({ code: "unknown_frame", title: "Unknown frame" }));
    }
  }

  close(code = 1000, reason = ""): void {
    this.end(code, reason);
  }

  private end(code: number, reason: string, error?: AckwireError): void {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.timer);
    this.upward.stop();
    this.abort.abort();
    this.current?.stop();
    this.next?.stop();
    this.events.closed(code, reason, error);
  }

  private tell(frame: string | object): void {
    if (!this.over) this.events.frame(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  private refuse(id: string | undefined, e: AckwireError): void {
    const { code, message: detail, retryable, retryAfter, jobId, errors } = e;
    this.tell({ type: "error", id, code, detail, retryable, retryAfter, jobId, ...(errors.length > 0 && { errors }) });
  }

  // Orders: submit, cancel, retry.

  private order(frame: ClientFrame, path: string, body: string, headers?: Record<string, string>): void {
    if (this.watched(frame) && this.watches.size + this.inFlight >= this.limit) {
      const detail = `${this.limit} jobs are watched; with "watch":false this is still taken`;
      return this.refuse(frame.id, new AckwireError({ code: "limit_exceeded", detail }));
    }
    this.inFlight++;
    void this.answerOrder(frame, path, body, headers).finally(() => {
      this.inFlight--;
      this.release();
      if (this.draining && !this.current && this.inFlight === 0) this.end(1012, "service_restart");
    });
  }

  private async answerOrder(frame: ClientFrame, path: string, body: string, headers?: Record<string, string>) {
    let response: Response;
    let ack: { jobId: string; state: string };
    try {
      response = await post(this.target, this.token, path, body, this.abort.signal, headers);
      if (!response.ok) return this.refuseOrder(frame, await refusal(response));
      ack = JSON.parse(await response.text());
      if (typeof ack.jobId !== "string") throw new TypeError("the answer is no ack");
    } catch {
      return this.end(1006, ""); // whether it was done is not known, as when a socket breaks
    }
    this.release(ack.jobId, () => this.tell({ ...ack, type: "ack", id: frame.id }));
    const streams = this.watched(frame) ? frame.streams : undefined;
    if (streams) this.watches.follow(ack.jobId, streams);
    if (!this.watched(frame) || (!streams && this.watches.jobs.has(ack.jobId))) return;
    this.watches.add(ack.jobId, 0, true);
    this.refresh();
  }

  /** Submits a batch. It waits for its answer as an order does, and its watched jobs count among those in flight. */
  private batch(id: string | undefined, jobs: Submitted[], text: string): void {
    const places = jobs.filter(({ watch }) => watch !== false).length;
    if (this.watches.size + this.inFlight + places > this.limit) {
      const detail = `${this.limit} jobs may be watched; with "watch":false in its jobs this is still taken`;
      return this.refuse(id, new AckwireError({ code: "limit_exceeded", detail }));
    }
    const counted = Math.max(1, places);
    this.inFlight += counted;
    void this.answerBatch(id, jobs, text).finally(() => {
      this.inFlight -= counted;
      this.release();
      if (this.draining && !this.current && this.inFlight === 0) this.end(1012, "service_restart");
    });
  }

  private async answerBatch(id: string | undefined, jobs: Submitted[], text: string): Promise<void> {
    let results: { ack?: { jobId: string } }[];
    try {
      // The frame as it is: reading and writing it anew could change big numbers in payloads.
      const response = await post(this.target, this.token, "/v1/jobs:batch", text, this.abort.signal);
      if (!response.ok) return this.refuseOrder({ type: "submitBatch", ...(id !== undefined && { id }) }, await refusal(response));
      results = JSON.parse(await response.text()).results;
      if (results?.length !== jobs.length) throw new TypeError("the answer is no acks");
    } catch {
      return this.end(1006, ""); // whether it was done is not known, as when a socket breaks
    }
    this.tell({ type: "acks", id, results });
    results.forEach(({ ack }, i) => {
      if (!ack) return;
      this.release(ack.jobId);
      const { watch, streams } = jobs[i]!;
      if (watch === false) return;
      if (streams) this.watches.follow(ack.jobId, streams);
      if (streams || !this.watches.jobs.has(ack.jobId)) this.watches.add(ack.jobId, 0, true);
    });
    this.refresh();
  }

  /** Whether an order's job is watched from its ack on. */
  private watched(frame: ClientFrame): boolean {
    return frame.type !== "cancel" && frame.watch !== false;
  }

  private refuseOrder(frame: ClientFrame, e: AckwireError): void {
    if (e.code === "unauthenticated") return this.end(4002, "token_expired");
    if (e.code.startsWith("http_") && e.retryable) {
      // A proxy's answer: the gateway may have done it.
      e = new AckwireError({ code: "indeterminate", detail: e.message, retryable: true, status: e.status! });
    }
    this.refuse(frame.id, e);
  }

  /** Tells what was held: of one job, behind `ack`; of all, once no submit is on its way. */
  private release(jobId?: string, ack?: () => void): void {
    ack?.();
    const full = this.held.length > maxHeld || this.heldText > maxHeldText;
    const all = jobId === undefined && (this.inFlight === 0 || full);
    const ready = this.held.filter((h) => all || h.jobId === jobId);
    if (ready.length === 0) return;
    this.held = this.held.filter((h) => !ready.includes(h));
    for (const { text } of ready) {
      this.heldText -= text.length;
      this.onStatus(text, true);
    }
    if (this.held.length > 0 || !this.heldCursor) return;
    this.tell(this.heldCursor);
    this.heldCursor = undefined;
  }

  // Watches.

  private subscribe(frame: ClientFrame): void {
    const ask: Ask = {
      id: frame.id, jobs: [], mine: frame.mine === true, by: undefined, refused: [], ended: new Map(),
    };
    if (ask.mine) this.watches.cursor = frame.after || this.watches.cursor || "";
    for (const of of (frame.jobs ?? []) as { jobId: string; after?: number; streams?: StreamRef[] }[]) {
      if (!this.watches.jobs.has(of.jobId) && this.watches.size >= this.limit) {
        ask.refused.push({ jobId: of.jobId, error: "limit_exceeded" });
        continue;
      }
      this.watches.add(of.jobId, of.after ?? 0, false);
      if (of.streams) this.watches.follow(of.jobId, of.streams);
      ask.jobs.push(of.jobId);
    }
    if (!ask.mine && ask.jobs.length === 0) return this.tell({ type: "subscribed", id: ask.id, jobs: ask.refused });
    this.asks.push(ask);
    this.refresh();
  }

  private unsubscribe(frame: ClientFrame): void {
    const jobs = (frame.jobs ?? []) as string[];
    for (const jobId of jobs) this.watches.drop(jobId);
    if (frame.mine) this.unfollow();
    this.tell({ type: "unsubscribed", id: frame.id, jobs, ...(frame.mine && { mine: true }) });
    // The stream goes on with more than is wanted, until it is asked for anew; a poll asks anew by itself.
  }

  private unfollow(): void {
    this.watches.cursor = undefined;
    this.follows = false;
  }

  /** Asks for what is watched, soon: what changes meanwhile is asked for at once. */
  refresh(wait = gather + gatherPerJob * this.watches.jobs.size): void {
    if (this.timer !== undefined || this.over || this.draining) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      void this.ask();
    }, wait);
  }

  private get polls(): boolean {
    return Date.now() < this.shared.pollUntil;
  }

  private async ask(): Promise<void> {
    // Without a cursor a request begins with now, and what came before it would be missed. The client asks a new session
    // for it.
    if (this.follows && this.watches.cursor === "") return this.end(1006, "");
    this.next?.stop();
    if (this.polls) this.current?.stop(); // it cannot be read before its end
    const asked = this.asks.length > 0;
    const wait = !this.polls ? undefined : asked || !this.welcomed ? 1 : pollWait;
    const { token } = this;
    const body = this.watches.body();
    const stream = new Stream(this.target, { token, body, wait, follows: this.watches.size > 0 });
    const began = Date.now();
    this.next = stream;
    let news = false;
    for (const ask of this.asks) ask.by = stream;
    const end = await stream.run(
      (text) => {
        try {
          news = this.onFrame(stream, text) || news;
        } catch {
          this.tell(text); // it makes no sense: the client counts it, and the session goes on
        }
      },
      () => this.upward.look(this.token),
    );
    if (this.over || end.why === "aborted") return;
    const answered = this.current === stream;
    if (answered) this.current = undefined;
    else if (this.next === stream) this.next = undefined;
    else return; // a later one has taken its place
    this.ended(end, answered, news, wait !== undefined, Date.now() - began);
  }

  private ended(end: End, answered: boolean, news: boolean, poll: boolean, took: number): void {
    switch (end.why) {
      case "gathered":
        this.shared.pollUntil = Date.now() + pollFor;
        return this.refresh(0);
      case "refused":
        return this.refused(end.error);
    }
    if (this.lastError?.code === "unauthenticated") return this.end(4002, "token_expired");
    if (this.draining) {
      if (this.inFlight === 0) this.end(1012, "service_restart");
      return;
    }
    if (end.why === "lost" && poll) this.shared.pollUntil = 0; // it was no proxy that gathers
    if (!answered || (end.why === "lost" && took < lived)) return this.end(1006, "");
    if (this.asks.length > 0) return this.refresh(0);
    if (!poll) return took < lived ? this.end(1006, "") : this.refresh(0);
    if (this.watches.size === 0) return; // nothing to poll for
    this.pause = news || took > 5000 ? 0 : Math.min(2 * this.pause || 1000, 5000);
    this.refresh(this.pause);
  }

  private refused(e: AckwireError): void {
    if (!this.welcomed) return this.end(e.status === 401 ? 4500 : 1006, e.code, e);
    if (e.code === "unauthenticated") return this.end(4002, "token_expired");
    const before = this.watches.size;
    for (const ask of this.asks.splice(0)) {
      for (const jobId of ask.jobs) this.watches.drop(jobId);
      if (ask.mine) this.unfollow();
      this.refuse(ask.id, e);
    }
    if (e.code === "forbidden") { // a submit is watched only if its token may
      for (const [jobId, { implied }] of this.watches.jobs) if (implied) this.watches.drop(jobId);
    }
    if (this.watches.size === before) return this.end(e.retryable ? 1013 : 1006, e.code); // again would be no better
    if (!this.current && this.watches.size > 0) this.refresh();
  }

  /** Takes a frame of a stream. Returns whether the client did not know what it says. */
  private onFrame(stream: Stream, text: string): boolean {
    const frame = JSON.parse(text);
    switch (frame.type) {
      case "welcome":
        this.limit = frame.limits?.subscriptions ?? this.limit;
        if (!this.welcomed) {
          this.welcomed = true;
          const inFlightSubmits = Math.min(frame.limits?.inFlightSubmits ?? maxInFlight, maxInFlight);
          this.tell({ ...frame, limits: { ...frame.limits, inFlightSubmits } });
        }
        return false;
      case "subscribed":
        return this.onSubscribed(stream, frame);
      case "status":
        return this.onStatus(text, false);
      case "chunk":
        this.watches.chunk(frame);
        this.tell(text);
        return true;
      case "cursor":
        if (this.watches.cursor === undefined) return false;
        this.watches.cursor = frame.cursor;
        if (this.held.length > 0) {
          this.heldCursor = text;
          return false;
        }
        break;
      case "goaway":
        this.draining = true;
        break;
      case "expiring":
        if (this.warned) return false;
        this.warned = true;
        break;
      case "error":
        this.lastError = new AckwireError(frame);
    }
    this.tell(text);
    return false;
  }

  /** A stream has answered: it takes the place of the one before it. */
  private onSubscribed(stream: Stream, frame: Subscribed): boolean {
    const first = this.next === stream;
    if (first) {
      this.current?.stop();
      this.current = stream;
      this.next = undefined;
    }
    const told = new Map(frame.jobs.map((job) => [job.jobId, job]));
    const unasked = new Map(told);
    for (const job of frame.jobs) {
      const watched = this.watches.jobs.get(job.jobId);
      if (watched && job.reset) watched.seen = 0;
      if (job.error) this.watches.drop(job.jobId);
    }
    if (frame.reset) this.watches.resetMine();
    const answers = this.asks.filter((ask) => first && ask.by === stream);
    this.asks = this.asks.filter((ask) => !answers.includes(ask));
    for (const ask of answers) {
      this.follows ||= ask.mine;
      const answer = (jobId: string): object | undefined => {
        const version = ask.ended.get(jobId);
        return told.get(jobId) ?? (version ? { jobId, version } : undefined);
      };
      const jobs = ask.jobs.flatMap((jobId) => answer(jobId) ?? []);
      for (const jobId of ask.jobs) unasked.delete(jobId);
      const mine = ask.mine ? { mine: true, reset: frame.reset } : {};
      this.tell({ type: "subscribed", id: ask.id, jobs: [...jobs, ...ask.refused], ...mine });
    }
    // Nobody has just asked for the others: they matter if their watch has ended or begun anew.
    const jobs = Array.from(unasked.values()).filter((job) => job.error || job.reset);
    if (jobs.length > 0) this.tell({ type: "subscribed", jobs });
    return false;
  }

  private onStatus(text: string, released: boolean): boolean {
    const frame = JSON.parse(text);
    if (frame.mine && !released && this.inFlight > 0 && !this.watches.knows(frame.job.jobId)) {
      // Perhaps the job of a submit whose ack comes in a moment: the first frame about a job is its ack.
      this.held.push({ jobId: frame.job.jobId, text });
      this.heldText += text.length;
      this.release();
      return true;
    }
    const { jobId } = frame.job;
    const watched = this.watches.jobs.has(jobId);
    const news = this.watches.news(frame);
    if (watched && !this.watches.jobs.has(jobId)) for (const ask of this.asks) ask.ended.set(jobId, frame.version);
    if (news) this.tell(text);
    return news;
  }

  // The session itself.

  private ping(frame: ClientFrame): void {
    const pong = () => this.tell({ type: "pong", id: frame.id });
    if (this.current && !this.polls && Date.now() - this.current.heardAt < fresh) return pong();
    this.probe(this.token).then(pong, (e: unknown) => {
      if (e instanceof AckwireError && e.code === "unauthenticated") this.end(4002, "token_expired");
      else if (e instanceof AckwireError) pong();
      else this.end(1006, "");
    });
  }

  /** Takes a newer token, once the server has taken it. */
  private renew(frame: ClientFrame): void {
    this.probe(frame.token).then(
      (welcome) => {
        this.token = frame.token;
        this.warned = false;
        this.tell({ ...welcome, id: frame.id });
        if (this.current || this.next) this.refresh();
      },
      (e: unknown) => {
        if (!(e instanceof AckwireError)) return this.end(1006, "");
        this.refuse(frame.id, e);
        if (e.code === "unauthenticated") this.end(4500, "unauthenticated");
      },
    );
  }

  /** Asks for the welcome that a token has; rejects with an AckwireError if the server refuses it. */
  private async probe(token: string | undefined): Promise<object> {
    const response = await post(this.target, token, "/v1/events", "{}", this.abort.signal, { Prefer: "wait=1" });
    if (!response.ok) throw await refusal(response);
    return JSON.parse(eventData(await response.text())[0] ?? "{}");
  }
}
