// POST /v1/events of the server in memory: the frames of a session, as server-sent events.

import type { AckwireError } from "../errors.js";
import { readRefs } from "./checks.js";
import { Refusal } from "./codes.js";
import type { Engine } from "./engine.js";
import { toJSON } from "./json.js";
import { type Frame, ServerSession } from "./session.js";

/** What a stream is asked for, and by whom. */
export interface Asked {
  token: string | undefined;
  /** The body: the jobs that are followed, and whether all of the subject are, from a cursor on. */
  watch: { jobs?: unknown; mine?: unknown; after?: unknown };
  /** Seconds of a long poll; 0 for a stream. */
  wait: number;
  signal: AbortSignal | undefined;
}

/** Answers with a stream once its session has begun. Rejects with what refuses the session. */
export async function streamFrames(engine: Engine, asked: Asked): Promise<Response> {
  const jobs = readRefs(asked.watch.jobs ?? []);
  const most = engine.limits.subscriptions;
  if (jobs.length > most) throw new Refusal("limit_exceeded", `a stream may follow ${most} jobs`);
  const events = new Events(engine, asked);
  await events.begun;
  return new Response(events.body, { headers: { "Content-Type": "text/event-stream" } });
}

/** One stream, and the session behind it. */
class Events {
  readonly body: ReadableStream<Uint8Array>;
  readonly begun: Promise<void>;
  readonly #engine: Engine;
  readonly #asked: Asked;
  readonly #session: ServerSession;
  readonly #stops: (() => void)[] = [];
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #begin!: () => void;
  #refuse!: (error: unknown) => void;
  #started = false;
  #news = false;
  #over = false;
  /** Answers of the session to what was asked for, which are told as one, and what must follow them. */
  #missing: number;
  readonly #answers: Frame[] = [];
  readonly #later: string[] = [];

  constructor(engine: Engine, asked: Asked) {
    this.#engine = engine;
    this.#asked = asked;
    this.#missing = (hasJobs(asked) ? 1 : 0) + (asked.watch.mine === true ? 1 : 0);
    this.begun = new Promise((resolve, reject) => {
      this.#begin = resolve;
      this.#refuse = reject;
    });
    this.body = new ReadableStream({
      start: (controller) => void (this.#controller = controller),
      cancel: () => this.#end(),
    });
    const aborted = () => this.#end(asked.signal?.reason);
    asked.signal?.addEventListener("abort", aborted);
    this.#stops.push(() => asked.signal?.removeEventListener("abort", aborted));
    this.#session = new ServerSession(engine, asked.token, {
      frame: (text) => this.#frame(text),
      closed: (code, _, error) => this.#closed(code, error),
    });
    if (asked.wait > 0) this.#stops.push(engine.after(asked.wait * 1000, () => this.#end()));
  }

  #frame(text: string): void {
    const frame = JSON.parse(text) as Frame;
    if (!this.#started) {
      this.#started = true;
      this.#begin();
      this.#write(text);
      this.#ask();
    } else if (frame.type === "error" && frame.id) {
      this.#write(text); // the test refuses what was asked for
      this.#end();
    } else if (frame.type === "subscribed" && frame.id) {
      this.#answers.push(frame);
      if (--this.#missing === 0) this.#answer();
    } else if (this.#missing > 0) {
      this.#later.push(text);
    } else {
      this.#tell(text, frame.type);
    }
  }

  #ask(): void {
    const { jobs, after } = this.#asked.watch;
    if (this.#missing === 0) this.#answer();
    if (hasJobs(this.#asked)) this.#session.receive(toJSON({ type: "subscribe", id: "jobs", jobs }));
    if (this.#asked.watch.mine === true) {
      this.#session.receive(toJSON({ type: "subscribe", id: "mine", mine: true, after }));
    }
  }

  #answer(): void {
    const jobs = this.#answers.flatMap((answer) => answer["jobs"] as unknown[]);
    const mine = this.#answers.find((answer) => answer["mine"] === true);
    this.#write(toJSON({ type: "subscribed", jobs, ...(mine && { mine: true, reset: mine["reset"] }) }));
    for (const text of this.#later.splice(0)) this.#tell(text, (JSON.parse(text) as Frame).type);
  }

  /** Tells a frame. A long poll ends behind its statuses; with mine, behind their cursor. */
  #tell(text: string, type: string): void {
    this.#write(text);
    this.#news ||= type === "status" || type === "chunk";
    const last = this.#asked.watch.mine === true ? "cursor" : "status";
    const whole = this.#news && (type === last || type === "chunk");
    if (this.#asked.wait > 0 && whole) this.#engine.after(0, () => this.#end());
  }

  #write(text: string): void {
    if (!this.#over) this.#controller.enqueue(new TextEncoder().encode(`data: ${text}\n\n`));
  }

  #closed(code: number, error: AckwireError | undefined): void {
    if (!this.#started) {
      const { code: refused, message, retryAfter } = error ?? {};
      this.#refuse(error ? new Refusal(refused as never, message, retryAfter) : new TypeError("fetch failed"));
    }
    if (code === 4002) this.#write(toJSON({ type: "error", ...new Refusal("unauthenticated").problem }));
    this.#end(code === 1006 ? new TypeError("terminated") : undefined);
  }

  #end(error?: unknown): void {
    if (this.#over) return;
    this.#over = true;
    for (const stop of this.#stops) stop();
    this.#session.leave(1000, "");
    try {
      if (error === undefined) this.#controller.close();
      else this.#controller.error(error);
    } catch {
      // Its reader has cancelled it.
    }
  }
}

const hasJobs = ({ watch }: Asked) => Array.isArray(watch.jobs) && watch.jobs.length > 0;
