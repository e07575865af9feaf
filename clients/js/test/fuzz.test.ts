// Whatever a server says: the client does not crash, loops for ever or is polluted; a call has an outcome of its type.

import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { AckwireError } from "../src/errors.js";
import { fallback } from "../src/fallback/index.js";
import { type Ackwire, connect, type ConnectOptions } from "../src/index.js";
import { createServer } from "../src/testing/index.js";
import type { Session, SessionEvents } from "../src/types.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const pass = (ms = 0) => vi.advanceTimersByTimeAsync(ms);
const tenMinutes = 600_000;

/** Waits for the modules that the client loads when it needs them, which takes real time. */
async function loaded(): Promise<void> {
  await pass();
  await vi.dynamicImportSettled();
  await pass();
}

const builtIn = Object.getOwnPropertyNames(Object.prototype).length;

// Texts.

/** A piece of JSON text that no value stands for. */
class Raw {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Value = null | boolean | number | string | Raw | Value[] | Members;
type Members = [name: string, value: Value][] & { members?: true };

/** An object as a list of its members, so that names may be __proto__, or stand twice. */
const object = (members: [string, Value][]): Members => Object.assign([...members], { members: true as const });
const of = (value: Record<string, Value>) => object(Object.entries(value));

function text(value: Value): string {
  if (value instanceof Raw) return value.text;
  if (!Array.isArray(value)) return JSON.stringify(value);
  if (!("members" in value)) return `[${(value as Value[]).map(text).join(",")}]`;
  return `{${(value as Members).map(([name, member]) => `${JSON.stringify(name)}:${text(member)}`).join(",")}}`;
}

const huge = ["1e400", "-1e400", "1e308", "9007199254740993", "-9007199254740993", "1".repeat(400), "1e-400", "-0"];
const nested = new Raw("[".repeat(2000) + "]".repeat(2000));
const names = [
  "type", "id", "jobId", "version", "job", "jobs", "code", "mine", "__proto__", "constructor", "toString", "then",
];

/** The ID of one of the client's own requests; the test puts it in. */
const ids = fc.nat(9).map((i) => `$${i}`);
const scalar: fc.Arbitrary<Value> = fc.oneof(
  fc.constantFrom<Value>(null, true, false, 0, -1, 1.5, "", nested), fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }), fc.string(), ids, fc.constantFrom(...names),
  fc.constantFrom(...huge).map((digits) => new Raw(digits)),
);
const polluted = of({ polluted: true });
const pollution: Value = object([["__proto__", polluted], ["constructor", of({ prototype: polluted })]]);
const value: fc.Arbitrary<Value> = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { weight: 5, arbitrary: scalar }, fc.constant(pollution),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.array(fc.tuple(fc.oneof(fc.constantFrom(...names), fc.string()), tie("value")), { maxLength: 3 }).map(object),
  ),
})).value;

// Frames.

const states = ["pending", "processing", "retrying", "completed", "failed", "cancelled"];
const jobIds = fc.constantFrom("j1", "j2", "none");
const right = fc.tuple(ids, jobIds, fc.constantFrom(...states), fc.nat(20)).chain(([id, jobId, state, version]) => {
  const job = of({ jobId, type: "report", state, attempt: 1, maxAttempts: 3, createdAt: "", updatedAt: "" });
  return fc.constantFrom(
    of({ type: "ack", id, jobId, state, statusUrl: `/v1/jobs/${jobId}` }),
    of({ type: "status", version, job }), of({ type: "status", version, mine: true, job }),
    of({ type: "subscribed", id, jobs: [of({ jobId, version })] }),
    of({ type: "subscribed", id, jobs: [of({ jobId, error: "not_found" })] }),
    of({ type: "subscribed", id, jobs: [of({ jobId: "j2", error: "unavailable" })] }),
    of({ type: "subscribed", jobs: [of({ jobId, version, reset: true })] }),
    of({ type: "subscribed", id, jobs: [], mine: true, reset: true }), of({ type: "unsubscribed", id, jobs: [jobId] }),
    of({ type: "cursor", cursor: "1.2" }), of({ type: "pong", id }),
    of({ type: "error", id, code: "validation_failed", title: "", retryable: false, errors: [of({ pointer: "" })] }),
    of({ type: "error", id, code: "indeterminate", title: "", retryable: true, retryAfter: 1, jobId }),
    of({ type: "error", id, code: "overloaded", title: "", retryable: true }),
    of({ type: "error", code: "invalid_frame", title: "", retryable: false }),
    of({ type: "goaway", reason: "restart", reconnectAfter: 1 }),
    of({ type: "expiring", expiresAt: "2026-02-02T09:30:00Z", closesAfter: 90 }), of({ type: "later", id, what: 1 }),
    welcome(),
  );
});

function welcome(): Members {
  const limits = of({ frameBytes: 262_144, subscriptions: 1000, inFlightSubmits: 64 });
  return of({ type: "welcome", connection: "c", protocol: "ackwire.v1", pingInterval: 25, limits });
}

/** Changes one member of a frame, or of an object in it: it gets another value, is left out or comes twice. */
const mutation = fc.record({
  depth: fc.nat(3), at: fc.nat(20), how: fc.constantFrom("set", "drop", "add"), name: fc.constantFrom(...names), value,
});
type Mutation = { depth: number; at: number; how: string; name: string; value: Value };

function mutate(frame: Value, change: Mutation, depth = change.depth): Value {
  if (!Array.isArray(frame) || frame.length === 0) return frame;
  const at = change.at % frame.length;
  if (!("members" in frame)) {
    return (frame as Value[]).map((item, i) => (i === at ? mutate(item, change, depth) : item));
  }
  const members = frame as Members;
  const inner = members.findIndex(([, member]) => Array.isArray(member) && member.length > 0);
  if (depth > 0 && inner >= 0) {
    return object(members.map(([name, member], i) => [name, i === inner ? mutate(member, change, depth - 1) : member]));
  }
  if (change.how === "add") return object([...members, [change.name, change.value]]);
  if (change.how === "drop") return object(members.filter((_, i) => i !== at));
  return object(members.map(([name, member], i) => [name, i === at ? change.value : member]));
}

const mutated = (frames: fc.Arbitrary<Value>) => fc.tuple(frames, fc.array(mutation, { maxLength: 3 }))
  .map(([frame, changes]) => text(changes.reduce<Value>((was, change) => mutate(was, change), frame)));
const frameText = fc.oneof(
  { weight: 10, arbitrary: mutated(right) }, { weight: 1, arbitrary: value.map(text) },
  { weight: 1, arbitrary: fc.oneof(fc.string(), fc.string({ unit: "binary" })) },
);
const welcomeText = fc.oneof({ weight: 1, arbitrary: fc.constant(text(welcome())) }, mutated(fc.constant(welcome())));

// The client.

/** A session whose other side says what the test gives it. */
class Hostile implements Session {
  readonly sent: string[] = [];
  readonly events: SessionEvents;
  ended = false;

  constructor(events: SessionEvents) {
    this.events = events;
  }

  send(frame: string): void {
    this.sent.push(frame);
  }

  close(code = 1000): void {
    if (this.ended) return;
    this.ended = true;
    this.events.closed(code, "");
  }

  say(frame: string): void {
    const own = this.sent.map((sent) => (JSON.parse(sent) as { id?: string }).id ?? "");
    const said = frame.replace(/"\$(\d)"/g, (_, i: string) => JSON.stringify(own[Number(i)] ?? ""));
    if (!this.ended) this.events.frame(said);
  }
}

type Outcome = { value: unknown } | { error: unknown } | undefined;

/** Notes what becomes of a promise. */
function noted(promise: Promise<unknown>): { outcome: Outcome } {
  const note: { outcome: Outcome } = { outcome: undefined };
  promise.then((result) => (note.outcome = { value: result }), (error: unknown) => (note.outcome = { error }));
  return note;
}

/** Reads an iterator to its end. */
async function readAll(statuses: AsyncIterable<unknown>): Promise<unknown> {
  let last: unknown;
  for await (const status of statuses) last = status;
  return last;
}

function wantTyped(outcome: Outcome): void {
  if (outcome && "error" in outcome && !(outcome.error instanceof AckwireError)) throw outcome.error;
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  expect(Object.getOwnPropertyNames(Object.prototype)).toHaveLength(builtIn);
}

async function converse(welcomed: string, frames: string[], bigints: ConnectOptions["bigints"]): Promise<void> {
  vi.clearAllTimers(); // of a run that failed
  const server = createServer();
  server.on("report", () => ({ rows: 1 }));
  const sessions: Hostile[] = [];
  let opened = 0;
  const client = connect({
    url: server.url, fetch: server.fetch, token: () => "t", ...(bigints && { bigints }),
    transports: [{
      name: "hostile",
      open(target, events) {
        if (opened++ > 0) return server.transport.open(target, events);
        const session = new Hostile(events);
        sessions.push(session);
        return session;
      },
    }],
  });
  const stop = new AbortController();
  const { signal } = stop;
  const leave = client.job("j2").subscribe(() => {});
  const submits = [noted(client.submit("report", 1)), noted(client.submit("report", 2, { key: false }))];
  const orders = [noted(client.cancel("j1")), noted(client.retry("j2"))];
  const watches = [noted(readAll(client.watch("j1", { signal }))), noted(readAll(client.mine({ signal })))];
  await loaded();
  const [session] = sessions;
  if (!session) throw new Error("no session was opened");
  session.say(welcomed);
  await pass();
  for (const frame of frames) {
    session.say(frame);
    await pass(1);
  }
  const said = session.sent.length;
  await pass(1000);
  session.close(1006);
  await pass(tenMinutes);
  expect(opened).toBeLessThan(10);
  expect(said).toBeLessThan(100 + 4 * frames.length);
  for (const { outcome } of submits) {
    if (!outcome) throw new Error("a submit has no outcome");
    if ("value" in outcome) expect((outcome.value as { id: unknown }).id).toMatch(/./);
    wantTyped(outcome);
  }
  for (const { outcome } of orders) {
    if (!outcome) throw new Error("an order has no outcome");
    if ("value" in outcome) expect(outcome.value).toBeTypeOf("string");
    wantTyped(outcome);
  }
  await works(client);
  stop.abort(new AckwireError({ code: "aborted" }));
  leave();
  await pass();
  for (const { outcome } of watches) wantTyped(outcome);
  expect(watches.every(({ outcome }) => outcome)).toBe(true);
  await client.close();
  await pass();
  expect(vi.getTimerCount()).toBe(0);
}

/** After all that the client does its work. */
async function works(client: Ackwire): Promise<void> {
  const done = client.submit("report", 3).then((job) => job.result());
  await pass(60_000);
  expect(await done).toEqual({ rows: 1 });
}

const bigints = fc.constantFrom<ConnectOptions["bigints"]>(undefined, "string", "bigint");

test("frames of any kind", async () => {
  await fc.assert(
    fc.asyncProperty(welcomeText, fc.array(frameText, { maxLength: 12 }), bigints, converse),
    { numRuns: Number(process.env["FUZZ_RUNS"] ?? 60) },
  );
}, 600_000);

const status = fc.constantFrom(200, 201, 204, 304, 400, 401, 404, 409, 429, 500, 502, 503);
const headers = fc.dictionary(
  fc.constantFrom("ETag", "Content-Type", "Retry-After"),
  fc.constantFrom(
    "", '"7"', "x", "application/json", "text/csv", "-1", "1e9", "9".repeat(20), "Wed, 21 Oct 2099 07:28:00 GMT",
  ),
);
const bodies = ["", "null", "[]", '{"code":5}', '{"code":"x","errors":5}'];
const body = fc.oneof(frameText, value.map(text), fc.constantFrom(...bodies));

/** What answers one request: a stream of events where one is asked for, else the body. */
interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string;
  events: string[];
  /** The stream breaks instead of ending. */
  breaks: boolean;
}

function respond({ status, headers, body, events, breaks }: Answer, path: string): Response {
  if (status === 204 || status === 304) return new Response(null, { status, headers });
  if (!path.endsWith("/v1/events")) return new Response(body, { status, headers });
  const encoder = new TextEncoder();
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const event of events) controller.enqueue(encoder.encode(`data: ${event}\n\n`));
      if (breaks) controller.error(new TypeError("terminated"));
      else controller.close();
    },
  });
  return new Response(stream, { status, headers });
}

async function withoutSockets(answers: Answer[]): Promise<void> {
  vi.clearAllTimers();
  const server = createServer();
  server.on("report", () => ({ rows: 1 }));
  const left = [...answers];
  const hostile: typeof fetch = async (input, init) => {
    const answer = left.shift();
    return answer ? respond(answer, new URL(String(input)).pathname) : server.fetch(input, init);
  };
  const client = connect({ url: server.url, fetch: hostile, token: () => "t", transports: [fallback()] });
  const stop = new AbortController();
  const notes = [client.submit("report", 1), client.cancel("j1"), client.get("j1")].map((call) => noted(call));
  const watch = noted(readAll(client.watch("j1", { signal: stop.signal })));
  await loaded();
  await pass(2 * tenMinutes);
  for (const { outcome } of notes) {
    expect(outcome).toBeDefined();
    wantTyped(outcome);
  }
  const { state, error } = client.connection.snapshot();
  if (state === "closed") expect(error).toBeInstanceOf(AckwireError); // a 401, or another refusal for good
  left.length = 0;
  if (state !== "closed") await works(client);
  stop.abort(new AckwireError({ code: "aborted" }));
  await pass();
  wantTyped(watch.outcome);
  await client.close();
  await pass();
  expect(vi.getTimerCount()).toBe(0);
}

test("answers of any kind where there are no sockets", async () => {
  const events = fc.array(fc.oneof(frameText, welcomeText), { maxLength: 4 }).chain((later) =>
    welcomeText.map((first) => [first, ...later].map((event) => event.replaceAll("\n", " "))));
  const answer = fc.record({ status, headers, body, events, breaks: fc.boolean() });
  await fc.assert(fc.asyncProperty(fc.array(answer, { maxLength: 8 }), withoutSockets), {
    numRuns: Number(process.env["FUZZ_RUNS"] ?? 60),
  });
}, 600_000);

test("HTTP answers of any kind", async () => {
  await fc.assert(fc.asyncProperty(status, headers, body, bigints, async (status, headers, body, bigints) => {
    const answer = async () => new Response(status === 204 || status === 304 ? null : body, { status, headers });
    const client = connect({
      url: "http://x", fetch: answer, ...(bigints && { bigints }),
      transports: [{ name: "none", open: (_, events) => new Hostile(events) }],
    });
    const notes = [
      client.get("j"), client.list({ limit: 1 }), client.why("j"), client.stats(), client.deliveries("j"),
    ].map((call) => noted(call));
    await loaded();
    await pass(1000);
    for (const { outcome } of notes) {
      expect(outcome).toBeDefined();
      wantTyped(outcome);
    }
    await client.close();
  }), { numRuns: Number(process.env["FUZZ_RUNS"] ?? 60) });
}, 600_000);
