// The server in memory behind the platform's own means: WebSocket, and fetch alone.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import type { AckwireError } from "../src/errors.js";
import { fallback } from "../src/fallback/index.js";
import { type Ackwire, connect, webSocket } from "../src/index.js";
import { tabs } from "../src/tabs/index.js";
import { createServer, type TestServer } from "../src/testing/index.js";
import { fault, frameFaults } from "./schemas.js";

let server: TestServer;
let client: Ackwire;
beforeEach(() => {
  vi.useFakeTimers();
  server = createServer({ tokens: { a: "ada", b: "ada" } });
  server.on("report", async (job) => {
    await job.delay(1000);
    job.progress(50);
    await job.delay(1000);
    return { rows: 31 };
  });
});
afterEach(async () => {
  await client.close();
  server.stop();
  await pass(1000);
  expect(frameFaults(server.sessions)).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** Lets time pass, once the code that the client loads when it needs it is there. */
async function pass(ms = 0): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
  await vi.dynamicImportSettled();
  await vi.advanceTimersByTimeAsync(ms);
}

async function wantJob(): Promise<void> {
  const states: string[] = [];
  const reading = (async () => {
    const job = await client.submit("report", 1, { key: "k" });
    for await (const { state, progress } of job) states.push(`${state} ${progress?.percent ?? ""}`.trim());
    return job.result();
  })();
  await pass(10_000);
  expect(await reading).toEqual({ rows: 31 });
  expect(states.slice(-2)).toEqual(["processing 50", "completed 50"]);
}

test("over a WebSocket, whose token is in a subprotocol", async () => {
  vi.stubGlobal("WebSocket", server.WebSocket);
  vi.stubGlobal("fetch", server.fetch);
  client = connect({ url: server.url, token: () => "a" });
  await wantJob();
  server.cut();
  await pass(20_000);
  expect(await client.get(server.jobs[0]?.id ?? "")).toMatchObject({ state: "completed" });
  expect(server.sessions.every(({ subject }) => subject === "ada")).toBe(true);
});

test("over a WebSocket that a ticket opens, once", async () => {
  const urls: string[] = [];
  class Spied extends server.WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols);
      urls.push(String(url));
    }
  }
  client = connect({ url: server.url, token: "a", tickets: true, fetch: server.fetch, WebSocket: Spied });
  await wantJob();
  const [used] = urls;
  expect(used).toContain("/v1/ws?ticket=");
  const closes: number[] = [];
  const again = new server.WebSocket(used ?? "");
  again.onclose = ({ code }) => void closes.push(code);
  await pass(20_000);
  expect(closes).toEqual([1006]);
});

test("a WebSocket has the states, events and errors of the standard", async () => {
  client = connect(server.options);
  const events: string[] = [];
  const socket = new server.WebSocket(`${server.url}/v1/ws`, ["ackwire.v1", "ackwire.bearer.a"]);
  for (const type of ["open", "message", "error", "close"]) socket.addEventListener(type, () => events.push(type));
  expect(() => socket.send("{}")).toThrow(DOMException);
  expect(() => socket.close(1006)).toThrow(DOMException);
  await pass();
  expect([socket.readyState, socket.protocol, events]).toEqual([1, "ackwire.v1", ["open", "message"]]);
  socket.close(3000, "enough");
  socket.close();
  await pass();
  expect([socket.readyState, events, server.sessions[0]?.ended]).toEqual([
    3, ["open", "message", "close"], { code: 3000, reason: "enough", by: "client" },
  ]);
});

test("over fetch alone, by a stream", async () => {
  client = connect({ url: server.url, token: () => "a", fetch: server.fetch, transports: [fallback()] });
  await wantJob();
  const mine = client.mine();
  const next = mine.next();
  await pass(1000);
  const other = client.submit("other", 1, { watch: false });
  await pass(1000);
  const { id } = await other;
  expect((await next).value).toMatchObject({ jobId: id });
  server.cut();
  await pass(20_000);
  (await server.next("other")).complete();
  const ended = mine.next();
  await pass(20_000);
  expect((await ended).value).toMatchObject({ jobId: id, state: expect.stringMatching(/processing|completed/) });
  await mine.return?.();
});

test("over fetch alone, by long polls: each ends with what it told", async () => {
  client = connect({ ...server.options, token: "a" });
  const poll = async (watch: object, wait: number) => {
    const answer = await server.fetch(`${server.url}/v1/events`, {
      method: "POST", body: JSON.stringify(watch),
      headers: { "Content-Type": "application/json", Authorization: "Bearer a", Prefer: `wait=${wait}` },
    });
    const events = (await answer.text()).split("\n\n").filter(Boolean).map((text) => JSON.parse(text.slice(6)));
    for (const frame of events) expect(fault(`frame/${frame.type}`, frame)).toBeUndefined();
    return events.map((frame) => frame.type);
  };
  const asked = { mine: true, jobs: [{ jobId: "none" }] };
  const nothing = poll(asked, 20);
  await pass(20_000);
  expect(await nothing).toEqual(["welcome", "subscribed", "cursor"]);
  const news = poll(asked, 20);
  await pass(5000);
  const submitted = client.submit("other", 1, { watch: false });
  await pass();
  expect(await news).toEqual(["welcome", "subscribed", "cursor", "status", "cursor"]);
  const { id: jobId } = await submitted;
  expect(await poll({ jobs: [{ jobId }] }, 20)).toEqual(["welcome", "subscribed", "status"]);
});

test("what refuses a stream is told as a problem, and its end by an error frame", async () => {
  client = connect(server.options);
  const headers = { "Content-Type": "application/json", Authorization: "Bearer a" };
  const open = () => server.fetch(`${server.url}/v1/events`, { method: "POST", headers, body: '{"mine":true}' });
  server.refuse("overloaded", { of: "session", retryAfter: 2 });
  expect((await open()).status).toBe(503);
  const stream = await open();
  server.expiring(90);
  await pass(90_000);
  expect(await stream.text()).toMatch(/"type":"expiring".*"type":"error","code":"unauthenticated"/s);
  const cut = await open();
  server.cut();
  await expect(cut.text()).rejects.toThrow(TypeError);
  const refused = server.fetch(`${server.url}/v1/events`, { method: "POST", headers, body: '{"jobs":[5]}' });
  expect(await (await refused).text()).toContain('"code":"invalid_frame"');
});

test("a token that is refused is one error", async () => {
  client = connect({ url: server.url, token: "wrong", fetch: server.fetch, transports: [fallback()] });
  const submitted = client.submit("report", 1).then(() => "none", (err: AckwireError) => err.code);
  await pass(60_000);
  expect(await submitted).toBe("unauthenticated");
});

const transports = { memory: undefined, webSocket, fallback, tabs };

/** What a test may do to the server while a job is under way; the client's next token is b. */
const faults: Record<string, () => void> = {
  nothing: () => {},
  cut: () => server.cut(),
  down: () => {
    server.down();
    setTimeout(() => server.up(), 3000);
  },
  goaway: () => server.goaway(0.1),
  close: () => server.close(1013),
  expiring: () => server.expiring(1),
  loseAcks: () => server.loseAcks(),
  "refuse a submit": () => server.refuse("overloaded", { retryAfter: 1 }),
  "refuse a session": () => {
    server.cut();
    server.refuse("unavailable", { of: "session", times: 2 });
  },
  "refuse a watch": () => {
    server.cut();
    server.refuse("unavailable", { of: "watch" });
  },
  stall: () => server.stall(),
  delay: () => server.delay(200),
  delayAcks: () => server.delayAcks(200),
};

describe.each(Object.keys(transports) as (keyof typeof transports)[])("with the options and %s", (name) => {
  test.each(Object.keys(faults))("%s: both jobs are made, once, and end", async (fault) => {
    const transport = transports[name]?.();
    let tokens = 0;
    client = connect({
      ...server.options, token: () => (tokens++ ? "b" : "a"), ...(transport && { transports: [transport] }),
    });
    const watching = (await settled(client.submit("report", 1))).result();
    faults[fault]!();
    const second = client.submit("report", 2).then((job) => job.result()).catch((error: AckwireError) => error.code);
    await pass(150_000);
    expect(await watching).toEqual({ rows: 31 });
    expect(await second).toEqual(fault === "refuse a submit" ? "overloaded" : { rows: 31 });
    expect(server.jobs.map(({ status }) => status.state)).toEqual(server.jobs.map(() => "completed"));
    expect(server.jobs).toHaveLength(fault === "refuse a submit" ? 1 : 2);
  });
});

/** Waits for a promise while time passes. */
async function settled<T>(promise: Promise<T>): Promise<T> {
  let done = false;
  const waiting = promise.finally(() => (done = true));
  for (let i = 0; i < 100 && !done; i++) await pass(50);
  return waiting;
}
