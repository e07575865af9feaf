// A transport whose other side is the test: it says what the server says, and sees what the client sends.

import { afterEach, beforeEach, vi } from "vitest";
import { type Ackwire, type ConnectOptions, connect } from "../../src/index.js";
import type { AckwireError } from "../../src/errors.js";
import type { Session, SessionEvents, Target, Transport } from "../../src/types.js";

export type Any = any;

/** Gives each test of a file fake timers, and one value for all random numbers: with it a wait is known. */
export function fakeTime(random: number): void {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.spyOn(Math, "random").mockReturnValue(random);
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });
}

export const limits = { frameBytes: 262_144, subscriptions: 1000, inFlightSubmits: 64 };

/** One session, seen from the server. */
export class FakeSession implements Session {
  /** The frames that the client has sent and the test has not taken. */
  readonly sent: Any[] = [];
  readonly texts: string[] = [];
  /** The code that the client closed it with. */
  closedBy: number | undefined;
  ended = false;

  constructor(readonly target: Target, readonly events: SessionEvents) {}

  send(text: string): void {
    if (this.ended) return;
    this.texts.push(text);
    this.sent.push(JSON.parse(text));
  }

  close(code = 1000): void {
    if (this.ended) return;
    this.closedBy = code;
    this.end(code);
  }

  /** Says a frame. */
  say(frame: object | string): void {
    this.events.frame(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  welcome(members: object = {}): this {
    this.say({ type: "welcome", connection: "c", protocol: "ackwire.v1", pingInterval: 25, limits, ...members });
    return this;
  }

  /** Ends the session, as the server or the network does. */
  end(code = 1006, reason = "", error?: AckwireError): void {
    if (this.ended) return;
    this.ended = true;
    this.events.closed(code, reason, error);
  }

  /** Takes the next frame that the client sent. */
  take(type?: string): Any {
    const frame = this.sent.shift();
    if (type !== undefined && frame?.type !== type) throw new Error(`sent ${JSON.stringify(frame)}, not ${type}`);
    return frame;
  }

  ack(id: string, jobId: string, members: object = {}): void {
    this.say({ type: "ack", id, jobId, state: "pending", statusUrl: `/v1/jobs/${jobId}`, ...members });
  }

  status(jobId: string, version: number, state = "processing", members: object = {}): void {
    this.say({ type: "status", version, job: { jobId, type: "t", state, attempt: 1, maxAttempts: 3 }, ...members });
  }
}

export class FakeTransport implements Transport {
  readonly name = "fake";
  readonly sessions: FakeSession[] = [];
  /** Called for each session; by default nothing is said. */
  opened: (session: FakeSession) => void = () => {};

  open(target: Target, events: SessionEvents): Session {
    const session = new FakeSession(target, events);
    this.sessions.push(session);
    this.opened(session);
    return session;
  }

  get last(): FakeSession {
    return this.sessions.at(-1)!;
  }
}

/** Lets all that takes no time happen, the loading of code included. */
export async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
  await vi.dynamicImportSettled();
  await vi.advanceTimersByTimeAsync(0);
}

/** Lets time pass, in milliseconds. */
export const pass = (time: number): Promise<unknown> => vi.advanceTimersByTimeAsync(time);

export interface World {
  client: Ackwire;
  server: FakeTransport;
}

/** A client on a fake transport. With `welcome` every session is welcomed at once. */
export function world(options: ConnectOptions & { welcome?: boolean | object } = {}): World {
  const { welcome, ...rest } = options;
  const server = new FakeTransport();
  if (welcome) server.opened = (s) => queueMicrotask(() => s.ended || s.welcome(welcome === true ? {} : welcome));
  const client = connect({ url: "https://jobs.example", transports: [server], ...rest });
  return { client, server };
}

/** The outcome of a promise so far. */
export function outcomeOf<T>(promise: Promise<T>): { value?: T; error?: Any; done: boolean } {
  const outcome: { value?: T; error?: Any; done: boolean } = { done: false };
  promise.then(
    (value) => Object.assign(outcome, { value, done: true }),
    (error) => Object.assign(outcome, { error, done: true }),
  );
  return outcome;
}

/** Reads an iterator to its end in the background. */
export function read<T>(iterable: AsyncIterable<T>): { values: T[]; error?: Any; done: boolean } {
  const got: { values: T[]; error?: Any; done: boolean } = { values: [], done: false };
  (async () => {
    for await (const value of iterable) got.values.push(value);
  })().then(() => (got.done = true), (error) => Object.assign(got, { error, done: true }));
  return got;
}

/** A client that watches a job, and is connected. */
export async function watching(
  options: Parameters<typeof world>[0] = {},
): Promise<World & { got: ReturnType<typeof read> }> {
  const w = world({ welcome: true, ...options });
  const got = read(w.client.watch("j1"));
  await settle();
  return { ...w, got };
}
