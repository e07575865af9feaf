// The server in memory as tests see it.

import type { ErrorCode } from "../codes_gen.js";
import type { Workers } from "../operate/workers.js";
import type { JobType, Payload, Result, Session, SessionEvents, Status, Target, Transport } from "../types.js";
import { anyone } from "./access.js";
import { Engine, type Limits, type Refusable } from "./engine.js";
import { serve } from "./http.js";
import type { Handler, TestJob } from "./job.js";
import type { JobRecord, Submit } from "./record.js";
import { type Frame, ServerSession } from "./session.js";
import { webSocketOf } from "./websocket.js";

/** Options of {@link createServer}. */
export interface ServerOptions {
  /**
   * The tokens that are taken, with the subject of each, whose own jobs it opens. By default any token is taken, and none,
   * for one subject. Grants that the server has made are taken, too, until they end, and open what they say.
   */
  tokens?: Record<string, string>;
  /** The job types that there are; a submit of another one is refused. By default all are taken. */
  types?: string[];
  /** What `welcome` allows, and what is held. */
  limits?: Partial<Limits>;
  /** The ping interval that `welcome` names, in seconds; 25 by default. */
  pingInterval?: number;
  /** Attempts of a job; 3 by default. */
  maxAttempts?: number;
  /** Milliseconds between a failed attempt and the next; 0 by default. */
  backoff?: number;
}

/** A job that the server has. */
export interface ServerJob {
  readonly id: string;
  readonly type: string;
  /** The subject whose token submitted the job. */
  readonly subject: string;
  readonly submitted: Readonly<Submit>;
  /** The document now. */
  readonly status: Status;
  /** The document at each of its versions, oldest first. */
  readonly history: readonly Status[];
}

/** A session that the server has or had. */
export interface TestSession {
  readonly name: string;
  readonly subject: string;
  readonly token: string | undefined;
  /** The frames that the server sent, and those that came. */
  readonly sent: readonly Frame[];
  readonly received: readonly Frame[];
  /** How the session ended; undefined while it is open. */
  readonly ended: { readonly code: number; readonly reason: string; readonly by: "client" | "server" } | undefined;
  /** Sends a frame, or any text, right or wrong. */
  send(frame: Frame | string): void;
  close(code: number, reason?: string): void;
  cut(): void;
}

/** What {@link TestServer.refuse} refuses, and how. */
export interface RefuseOptions {
  /** What is refused; a submit by default. */
  of?: Refusable;
  /** How many are; 1 by default. */
  times?: number;
  detail?: string;
  /** Seconds that the client is asked to wait. */
  retryAfter?: number;
}

/**
 * Makes a server in memory, which speaks the frames of ackwire.v1 and serves the HTTP routes. Nothing is slow unless
 * a test says so: what takes no time happens in microtasks, and all else by timers, so that fake timers decide.
 *
 * ```ts
 * const server = createServer();
 * server.on("report.generate", async (job) => {
 *   job.progress(50);
 *   return { rows: 31 };
 * });
 * const ackwire = connect(server.options);
 * ```
 */
export function createServer(options: ServerOptions = {}): TestServer {
  return new TestServer(options);
}

/** An Ackwire in memory; see {@link createServer}. */
export class TestServer {
  readonly #engine: Engine;

  /** The server's address. Nothing listens there. */
  readonly url = "http://ackwire.test";
  /** Opens sessions at this server, for the option `transports` of `connect`. */
  readonly transport: Transport;
  /** Serves the HTTP routes, for the option `fetch` of `connect`. */
  readonly fetch: typeof fetch;
  /**
   * A class WebSocket whose only server is this one, for the option `WebSocket` of `connect`, or in place of the global
   * one.
   */
  readonly WebSocket: typeof WebSocket;
  /**
   * What `connect` needs: `connect({ ...server.options, token })`. Frames then go the shortest way. A program that
   * chooses its transports keeps its choice by `connect({ ...server.options, transports: [tabs()] })`: `webSocket()`,
   * `fallback()` and `tabs()` all end at this server. Over the fallback each request for frames is a session of its
   * own, and what is submitted is not among the frames that a session received.
   */
  readonly options: { url: string; transports: Transport[]; fetch: typeof fetch; WebSocket: typeof WebSocket };

  /** @internal */
  constructor(options: ServerOptions) {
    const engine = new Engine(options);
    this.#engine = engine;
    this.transport = { name: "memory", open: (target, events) => open(engine, target, events) };
    this.fetch = (input, init) => serve(engine, input, init);
    this.WebSocket = webSocketOf(engine);
    const { url, transport, fetch, WebSocket } = this;
    this.options = { url, transports: [transport], fetch, WebSocket };
  }

  /** Has `handler` work on all jobs of a type, those that wait included. Jobs of other types wait for {@link next}. */
  on<T extends JobType>(
    type: T, handler: (job: TestJob & { payload: Payload<T> }) => Result<T> | Promise<Result<T>> | undefined | void,
  ): void {
    this.#engine.handlers.set(type, handler as Handler);
    for (const record of [...this.#engine.order]) this.#engine.handOut(record);
  }

  /** Takes the oldest job that waits for a worker, of that type if one is named, once there is one. */
  next(type?: string): Promise<TestJob> {
    const engine = this.#engine;
    const waits = ({ doc }: JobRecord) => doc.state === "pending" && (type === undefined || doc.type === type);
    return new Promise((resolve) => {
      const take = () => {
        const record = engine.order.find(waits);
        if (!record) return;
        engine.listeners.delete(take);
        resolve(engine.begin(record));
      };
      engine.listeners.add(take);
      take();
    });
  }

  /** The jobs that the server has, the oldest first. */
  get jobs(): readonly ServerJob[] {
    return this.#engine.order.map((record) => ({
      id: record.doc.jobId, type: record.doc.type, subject: record.subject, submitted: record.submit,
      status: status(record), history: record.history.map(status),
    }));
  }

  /** All sessions that there were, the oldest first. */
  get sessions(): readonly TestSession[] {
    return this.#engine.history;
  }

  /** The sessions that are open. */
  get open(): readonly TestSession[] {
    return [...this.#engine.sessions];
  }

  /** Forgets the sessions that have ended. */
  forget(): void {
    this.#engine.history = [...this.#engine.sessions];
  }

  /** Takes a token from now on, as that subject's. It needs the option `tokens`. */
  allow(token: string, subject: string): void {
    this.#engine.tokens?.set(token, subject);
  }

  /** Takes a token, or a grant, no more. Sessions that it has opened go on. */
  revoke(token: string): void {
    this.#engine.revoke(token);
  }

  /** Ends every connection without a word (1006), as a crash does. Clients may come back at once. */
  cut(): void {
    this.#engine.cut();
  }

  /** Ends every connection and takes no new one, until {@link up}. */
  down(): void {
    this.#engine.down = true;
    this.#engine.cut();
  }

  /** Takes connections again. */
  up(): void {
    this.#engine.down = false;
  }

  /** Has the open sessions fall silent: they bring nothing and end nothing, as a network that is gone does. */
  stall(): void {
    for (const session of this.#engine.sessions) session.stalled = true;
  }

  /** Closes every open session with a code; its range says whether clients come back. */
  close(code: number, reason = ""): void {
    for (const session of this.#engine.sessions) session.close(code, reason);
  }

  /** Asks every open session to reconnect after that many seconds, as a server does before a restart. */
  goaway(reconnectAfter: number): void {
    for (const session of this.#engine.sessions) session.send({ type: "goaway", reason: "restart", reconnectAfter });
  }

  /** Warns every open session that its token ends; those that do not renew it are closed with 4002 after that time. */
  expiring(closesAfter: number): void {
    for (const session of this.#engine.sessions) session.expiring(closesAfter);
  }

  /** Refuses the next submit, or what `of` says, with an error. A session's refusal is told as a handshake's. */
  refuse(code: ErrorCode, options: RefuseOptions = {}): void {
    this.#engine.refuse(options.of ?? "submit", options.times ?? 1, code, options.detail, options.retryAfter);
  }

  /**
   * Takes the next submits, cancels and retries, sends no ack and cuts the connection: their outcome is not known to
   * the client.
   */
  loseAcks(times = 1): void {
    this.#engine.acksToLose += times;
  }

  /** Has every frame and every HTTP answer take that many milliseconds from now on. */
  delay(ms: number): void {
    this.#engine.delay = ms;
  }

  /** Has every later submit take that many milliseconds: its job is made after that time, and acked then. */
  delayAcks(ms: number): void {
    this.#engine.ackDelay = ms;
  }

  /** Sets what `workers` of `ackwire/operate` tells: by default that there are none. */
  showWorkers(all: Partial<Workers>): void {
    this.#engine.workers = all;
  }

  /** Removes a job, as a real server does when its retention is over: its key makes a new job. */
  expire(jobId: string): void {
    this.#engine.expire(this.#engine.find(jobId, anyone));
  }

  /** Has versions start anew, below those that clients have, as after a restore from a backup. */
  rewind(): void {
    this.#engine.rewind();
  }

  /** Ends all connections and timers. */
  stop(): void {
    this.down();
    this.#engine.stopTimers();
    for (const record of this.#engine.order) record.stopTimers();
  }
}

function status({ version, text }: { version: number; text: string }): Status {
  return { ...(JSON.parse(text) as Omit<Status, "version">), version };
}

/** Opens a session, as a transport does. */
function open(engine: Engine, target: Target, events: SessionEvents): Session {
  let left = false;
  const session = new ServerSession(engine, target.token, {
    frame: (text) => {
      if (!left) events.frame(text);
    },
    closed: (code, reason, error) => events.closed(code, reason, error),
  });
  return {
    send: (text) => {
      if (!left) session.receive(text);
    },
    close: (code = 1000, reason = "") => {
      left = true;
      session.leave(code, reason);
    },
  };
}
