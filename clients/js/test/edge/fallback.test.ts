// The fallback: the frames of a socket over HTTP alone, before a proxy that opens no sockets and may gather streams.

import { afterEach, describe, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { fallback } from "../../src/fallback/index.js";
import { connect } from "../../src/index.js";
import { createServer, type ServerOptions, type TestServer } from "../../src/testing/index.js";
import type { Transport } from "../../src/types.js";
import { FrameClient } from "./frames.js";
import { Proxy } from "./proxy.js";

let server: TestServer;
let proxy: Proxy;
let transport: Transport;
const clients: FrameClient[] = [];

async function start(options?: ServerOptions) {
  server = createServer(options);
  proxy = new Proxy(server);
  await proxy.start();
  transport = fallback();
}

afterEach(async () => {
  vi.useRealTimers();
  for (const client of clients.splice(0)) client.session.close(1000);
  await proxy.stop();
  server.stop();
});

function dial(token?: string, of = transport) {
  const client = new FrameClient(of, { base: proxy.url, token });
  clients.push(client);
  return client;
}

async function opened(token?: string) {
  const client = dial(token);
  await client.next("welcome", (f) => f.type === "welcome");
  return client;
}

/** Has the clock of the tests run while real requests are on their way. */
function hurry() {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  return async (until: Promise<unknown>) => {
    let over = false;
    until.then(() => (over = true), () => (over = true));
    while (!over) {
      await new Promise((done) => setImmediate(done));
      await vi.advanceTimersByTimeAsync(50);
    }
    return until;
  };
}

/** The same story for every transport: what it tells, but for what differs between any two runs. */
async function story(client: FrameClient) {
  await client.next("welcome", (f) => f.type === "welcome");
  const ack = await client.ask({ type: "submit", job: "a", payload: { n: 1 }, key: "k" });
  const job = await server.next("a");
  await client.next("processing", (f) => f.type === "status" && f.job.state === "processing");
  const again = await client.ask({ type: "submit", job: "a", payload: { n: 1 }, key: "k" });
  expect(again).toMatchObject({ type: "ack", jobId: ack.jobId, duplicate: true });
  await job.progress(50);
  await client.next("half", (f) => f.type === "status" && f.job.progress?.percent === 50);
  await job.fail("no");
  const end = await client.next("the end", (f) => f.type === "status" && f.job.state === "failed");
  expect(await client.ask({ type: "cancel", jobId: ack.jobId })).toMatchObject({ code: "invalid_state" });
  expect(await client.ask({ type: "retry", jobId: ack.jobId })).toMatchObject({ type: "ack", jobId: ack.jobId });
  await client.next("again", (f) => f.type === "status" && f.version > end.version);
  expect(await client.ask({ type: "cancel", jobId: ack.jobId })).toMatchObject({ type: "ack" });
  const cancelled = await client.next("cancelled", (f) => f.type === "status" && f.job.state === "cancelled");
  const jobs = [{ jobId: ack.jobId, after: cancelled.version }, { jobId: "x" }];
  expect(await client.ask({ type: "subscribe", jobs })).toMatchObject({
    type: "subscribed", jobs: [{ jobId: ack.jobId, version: cancelled.version }, { error: "not_found" }],
  });
  expect(await client.ask({ type: "unsubscribe", jobs: [ack.jobId] })).toMatchObject({ type: "unsubscribed" });
  expect(await client.ask({ type: "nonsense" })).toMatchObject({ type: "error", code: "unknown_frame" });
  expect(await client.ask({ type: "ping" })).toMatchObject({ type: "pong" });
  const statuses = client.statuses(ack.jobId);
  const versions = statuses.map(([version]) => version);
  expect(versions).toEqual([...new Set(versions)].sort((a, b) => a - b));
  return statuses.map(([, state]) => state).filter((state, i, all) => state !== all[i - 1]);
}

describe("a stream", () => {
  test("tells what a socket tells", async () => {
    await start();
    const bySocket = await story(new FrameClient(server.transport, { base: server.url }));
    await proxy.stop();
    server.stop();
    await start();
    const states = await story(dial());
    const settled = ["processing", "failed", "cancelled"]; // the story waits in these; others may be skipped
    expect(bySocket.filter((state) => settled.includes(state))).toEqual(settled);
    expect(states.filter((state) => settled.includes(state))).toEqual(settled);
    expect(proxy.of().every(({ headers }) => headers.prefer === undefined)).toBe(true);
  });

  test("sends the token in a header, and the key in a header and in the body", async () => {
    await start({ tokens: { t: "alice" } });
    const client = await opened("t");
    await client.ask({ type: "submit", job: "a", payload: 1, key: "k" });
    await client.ask({ type: "submit", job: "a", payload: 1, key: 'quo"ted' });
    const [plain, quoted] = proxy.of("/v1/jobs");
    expect(plain!.headers).toMatchObject({ authorization: "Bearer t", "idempotency-key": "k" });
    expect(quoted!.headers["idempotency-key"]).toBeUndefined();
    expect(JSON.parse(quoted!.body)).toMatchObject({ key: 'quo"ted' });
    expect(proxy.of()[0]!.headers.authorization).toBe("Bearer t");
  });

  test("carries payloads and results with every digit", async () => {
    await start();
    const client = await opened();
    client.session.send('{"type":"submit","id":"1","job":"a","payload":{"n":12345678901234567890}}');
    await client.next("ack", (f) => f.id === "1");
    expect(proxy.of("/v1/jobs")[0]!.body).toContain("12345678901234567890");
  });

  test("begins behind the versions that the client has, also after it was cut", async () => {
    await start();
    const client = await opened();
    const { jobId } = await client.ask({ type: "submit", job: "a", payload: 1 });
    const job = await server.next();
    await client.next("processing", (f) => f.job?.state === "processing");
    const before = proxy.of().length;
    const run = hurry();
    vi.setSystemTime(Date.now() + 2000); // the stream has lived
    proxy.cut();
    await job.complete("r" as never);
    await run(client.next("the end", (f) => f.job?.state === "completed"));
    const asked = proxy.of().slice(before).map(({ body }) => JSON.parse(body));
    expect(asked).toHaveLength(1);
    expect(asked[0].jobs).toMatchObject([{ jobId }]);
    expect(asked[0].jobs[0].after).toBeGreaterThan(0);
    const versions = client.statuses(jobId).map(([version]) => version);
    expect(versions).toEqual([...new Set(versions)]);
  });

  test("that cannot be opened again ends the session", async () => {
    await start();
    const client = await opened();
    await client.ask({ type: "submit", job: "a", payload: 1 });
    await client.next("pending", (f) => f.type === "status");
    proxy.cut();
    expect(await client.ended()).toMatchObject({ code: 1006 });
  });

  test("one request follows all that is watched", async () => {
    await start();
    const client = await opened();
    const submits = Array.from({ length: 50 }, () => client.ask({ type: "submit", job: "a", payload: 1 }));
    const acks = await Promise.all(submits);
    for (const { jobId } of acks) await client.until("a status", () => client.statuses(jobId).length > 0);
    expect(proxy.of().length).toBeLessThan(25);
    expect(JSON.parse(proxy.of().at(-1)!.body).jobs).toHaveLength(50);
  });

  test("follows all jobs of the subject from a cursor on, and tells acks first", async () => {
    await start({ tokens: { t: "alice" } });
    const other = new FrameClient(server.transport, { base: server.url, token: "t" });
    clients.push(other);
    await other.next("welcome", (f) => f.type === "welcome");
    const client = await opened("t");
    expect(await client.ask({ type: "subscribe", mine: true })).toMatchObject({ type: "subscribed", mine: true });
    const { jobId } = await other.ask({ type: "submit", job: "a", payload: 1 });
    await client.next("a job of another session", (f) => f.mine && f.job?.jobId === jobId);
    for (let i = 0; i < 5; i++) {
      const { jobId } = await client.ask({ type: "submit", job: "a", payload: 1 });
      await client.until("its status", () => client.statuses(jobId).length > 0);
      const about = client.frames.filter((f) => f.jobId === jobId || f.job?.jobId === jobId);
      expect(about[0]!.type).toBe("ack");
    }
    expect(await client.ask({ type: "unsubscribe", mine: true })).toMatchObject({ type: "unsubscribed", mine: true });
    const told = client.frames.length;
    await other.ask({ type: "submit", job: "a", payload: 1 });
    await client.ask({ type: "ping" });
    expect(client.frames.slice(told).filter((f) => f.type === "status" && f.mine)).toEqual([]);
  });

  test("of all jobs that was cut before its first cursor ends the session: what it has missed is not known", async () => {
    for (const withoutCursor of [true, false]) {
      await start({ tokens: { t: "alice" } });
      proxy.withoutCursor = withoutCursor;
      const client = await opened("t");
      await client.ask({ type: "subscribe", mine: true });
      if (!withoutCursor) await client.next("the cursor", (f) => f.type === "cursor");
      // Without a watch, which would be asked for by one more request.
      const { jobId } = await client.ask({ type: "submit", job: "a", payload: 1, watch: false });
      await client.next("its status", (f) => f.mine && f.job?.jobId === jobId);
      const run = hurry();
      vi.setSystemTime(Date.now() + 2000); // the stream has lived
      const before = proxy.of().length;
      proxy.cut();
      if (withoutCursor) {
        expect(await run(client.ended())).toMatchObject({ code: 1006 });
      } else {
        await run(client.ask({ type: "ping" }));
        await run(client.until("a new stream", () => proxy.of().length > before));
        const { after, known } = JSON.parse(proxy.of().at(-1)!.body);
        expect(after).toBeTruthy();
        expect(known).toMatchObject([{ jobId, after: client.statuses(jobId).at(-1)![0] }]);
        expect(client.ends).toEqual([]);
      }
      vi.useRealTimers();
      client.session.close(1000);
      await proxy.stop();
      server.stop();
    }
    await start();
  });

  /** A client that follows all jobs and has submitted one, on a stream whose frames the test writes. */
  async function submitting() {
    await start();
    let stream!: ReadableStreamDefaultController<Uint8Array>;
    const write = (...frames: object[]) => stream.enqueue(
      new TextEncoder().encode(frames.map((frame) => `data: ${JSON.stringify(frame)}\n\n`).join("")));
    let respond!: (response: Response) => void;
    const client = new FrameClient(transport, {
      base: proxy.url,
      fetch: async (input) => {
        if (String(input).endsWith("/v1/jobs")) return new Promise((resolve) => (respond = resolve));
        return new Response(new ReadableStream({ start: (controller) => void (stream = controller) }));
      },
    });
    clients.push(client);
    await vi.waitFor(() => expect(stream).toBeDefined());
    write({ type: "welcome" }, { type: "subscribed", jobs: [] });
    await client.next("welcome", (f) => f.type === "welcome");
    const first = stream;
    client.send({ type: "subscribe", mine: true });
    await vi.waitFor(() => expect(stream).not.toBe(first));
    write({ type: "welcome" }, { type: "subscribed", jobs: [], mine: true });
    await client.next("subscribed", (f) => f.type === "subscribed" && f.mine);
    client.send({ type: "submit", job: "a", payload: 1 });
    const answer = (jobId: string) => respond(Response.json({ jobId, state: "pending" }, { status: 202 }));
    return { client, write, answer };
  }

  test("tells a cursor behind the statuses that it holds back", async () => {
    const { client, write, answer } = await submitting();
    write({ type: "status", version: 3, mine: true, job: { jobId: "j", state: "pending" } }, { type: "cursor", cursor: "c" },
      { type: "expiring" });
    await client.next("what is not held", (f) => f.type === "expiring");
    expect(client.frames.filter((f) => f.type === "status" || f.type === "cursor")).toEqual([]);
    answer("k");
    await client.until("the cursor", () => client.frames.some((f) => f.type === "cursor"));
    expect(client.frames.slice(-3).map((f) => f.type)).toEqual(["ack", "status", "cursor"]);
  });

  test("holds back 8 million characters at most", async () => {
    const { client, write, answer } = await submitting();
    const result = "x".repeat(1_000_000);
    const told = () => client.frames.filter((f) => f.type === "status").length;
    for (let i = 1; i < 18; i++) {
      const job = { jobId: `j${i}`, state: "processing", result };
      write({ type: "status", version: 1, mine: true, job }, { type: "error", code: `sent_${i}` });
      await client.next("what is not held", (f) => f.code === `sent_${i}`);
      expect(told()).toBe(i < 8 ? 0 : i < 16 ? 8 : 16); // 8 are more than it holds
    }
    answer("j17");
    await client.next("the ack", (f) => f.type === "ack");
    await client.until("the others", () => told() === 17);
  });

  test("answers for a job whose last status comes before the request is made", async () => {
    await start();
    const client = await opened();
    const { jobId } = await client.ask({ type: "submit", job: "a", payload: 1 });
    const job = await server.next("a");
    await client.next("processing", (f) => f.type === "status" && f.job.state === "processing");
    const run = hurry(); // the request waits for the clock, and the status does not
    const answer = client.ask({ type: "subscribe", jobs: [{ jobId }, { jobId: "x" }] });
    await job.complete(1);
    const end = await client.next("the end", (f) => f.type === "status" && f.job.state === "completed");
    expect(await run(answer)).toMatchObject({
      type: "subscribed", jobs: [{ jobId, version: end.version }, { jobId: "x", error: "not_found" }],
    });
  });

  test("holds the limits of the session", async () => {
    await start({ limits: { subscriptions: 2 } });
    const client = await opened();
    const one = await client.ask({ type: "submit", job: "a", payload: 1, watch: false });
    const two = await client.ask({ type: "submit", job: "a", payload: 1 });
    const jobs = [{ jobId: one.jobId }, { jobId: two.jobId }, { jobId: "x" }];
    const answer = await client.ask({ type: "subscribe", jobs });
    expect(answer.jobs).toMatchObject([{ jobId: one.jobId }, { jobId: two.jobId }, { error: "limit_exceeded" }]);
    expect(await client.ask({ type: "submit", job: "a", payload: 1 })).toMatchObject({ code: "limit_exceeded" });
    expect(await client.ask({ type: "submit", job: "a", payload: 1, watch: false })).toMatchObject({ type: "ack" });
  });
});

describe("behind a proxy that gathers answers", () => {
  test("tells what a socket tells, by long polls, and tries streams again later", async () => {
    await start();
    proxy.gathers = true;
    const run = hurry();
    const client = dial();
    const states = (await run(story(client))) as string[];
    expect(states.at(-1)).toBe("cancelled");
    const polls = proxy.of().filter(({ headers }) => headers.prefer !== undefined);
    expect(polls.length).toBeGreaterThan(3);
    expect(proxy.of().length - polls.length).toBe(1); // the one that did not arrive
    client.session.close(1000);
    const next = dial();
    await run(next.next("welcome", (f) => f.type === "welcome"));
    expect(proxy.of().at(-1)!.headers.prefer).toBe("wait=1");
    next.session.close(1000);
    vi.setSystemTime(Date.now() + 301_000);
    proxy.gathers = false;
    await run(dial().next("welcome", (f) => f.type === "welcome"));
    expect(proxy.of().at(-1)!.headers.prefer).toBeUndefined();
  });

  test("polls wait for news, and none is asked for where nothing is watched", async () => {
    await start();
    proxy.gathers = true;
    const run = hurry();
    const client = dial();
    await run(client.next("welcome", (f) => f.type === "welcome"));
    const before = proxy.of().length;
    await run(new Promise((done) => setTimeout(done, 60_000)));
    expect(proxy.of().length).toBe(before);
    const ack = await run(client.ask({ type: "submit", job: "a", payload: 1 })) as { jobId: string };
    await run(client.until("a status", () => client.statuses(ack.jobId).length > 0));
    const asked = proxy.of().length;
    await run(new Promise((done) => setTimeout(done, 60_000)));
    expect(proxy.of().length - asked).toBeLessThanOrEqual(4);
    expect(proxy.of().at(-1)!.headers.prefer).toBe("wait=20");
  });

  test("a fetch that cannot stream is read by long polls at once", async () => {
    await start();
    const whole: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      return new Proxied(response) as unknown as Response;
    };
    class Proxied {
      readonly body = undefined;
      constructor(private readonly of: Response) {}
      get ok() { return this.of.ok; }
      get status() { return this.of.status; }
      text() { return this.of.text(); }
    }
    const client = new FrameClient(transport, { base: proxy.url, fetch: whole });
    clients.push(client);
    const ack = await client.ask({ type: "submit", job: "a", payload: 1 });
    await client.until("a status", () => client.statuses(ack.jobId).length > 0);
    expect(proxy.of().at(-1)!.headers.prefer).toBeDefined();
  });
});

describe("refusals", () => {
  test("a token that the server does not take ends the session before its welcome", async () => {
    await start({ tokens: { t: "alice" } });
    const { code, error } = await dial("wrong").ended();
    expect(code).toBe(4500);
    expect(error).toMatchObject({ code: "unauthenticated", status: 401 });
  });

  test("a proxy's own error is one that may pass", async () => {
    await start();
    proxy.answers.push({ path: "/v1/events", status: 502, body: "<html>" });
    expect(await dial().ended()).toMatchObject({ code: 1006, error: { retryable: true, status: 502 } });
  });

  test("a submit that a proxy has lost is indeterminate, and one that the server refuses is refused", async () => {
    await start({ types: ["a"] });
    const client = await opened();
    proxy.answers.push({ path: "/v1/jobs", status: 504 });
    expect(await client.ask({ type: "submit", job: "a", payload: 1 }))
      .toMatchObject({ code: "indeterminate", retryable: true });
    expect(await client.ask({ type: "submit", job: "b", payload: 1 }))
      .toMatchObject({ code: "unknown_job_type", retryable: false });
    expect(client.ends).toEqual([]);
  });

  test("a token that has ended ends the session, and a newer one renews it", async () => {
    await start({ tokens: { t: "alice", u: "alice" } });
    const client = await opened("t");
    expect(await client.ask({ type: "auth", token: "u" })).toMatchObject({ type: "welcome" });
    await client.ask({ type: "submit", job: "a", payload: 1 });
    expect(proxy.of("/v1/jobs").at(-1)!.headers.authorization).toBe("Bearer u");
    expect(await client.ask({ type: "auth", token: "bad" })).toMatchObject({ type: "error", code: "unauthenticated" });
    expect(await client.ended()).toMatchObject({ code: 4500 });
    const other = await opened("t");
    proxy.answers.push({ path: "/v1/jobs", status: 401, body: '{"code":"unauthenticated"}' });
    other.send({ type: "submit", job: "a", payload: 1 });
    expect(await other.ended()).toMatchObject({ code: 4002 });
  });

  test("a stream that is refused answers the subscribe, and the session goes on", async () => {
    await start();
    const client = await opened();
    const body = '{"code":"unavailable","retryable":true,"retryAfter":1}';
    proxy.answers.push({ path: "/v1/events", status: 503, body });
    expect(await client.ask({ type: "subscribe", jobs: [{ jobId: "x" }] }))
      .toMatchObject({ type: "error", code: "unavailable", retryable: true, retryAfter: 1 });
    expect(await client.ask({ type: "submit", job: "a", payload: 1 })).toMatchObject({ type: "ack" });
    expect(client.ends).toEqual([]);
  });

  test("goaway is told, what is on its way is answered, and then the session ends", async () => {
    await start();
    const client = await opened();
    server.sessions.at(-1)!.send({ type: "goaway", reason: "restart", reconnectAfter: 0.5 });
    await client.next("goaway", (f) => f.type === "goaway");
    server.sessions.at(-1)!.close(1012);
    expect(await client.ended()).toMatchObject({ code: 1012 });
  });
});

test("the preferred transport is tried again beside the session, which then ends by goaway", async () => {
  await start();
  const run = hurry();
  const client = new FrameClient(transport, { base: proxy.url, preferred: server.transport });
  clients.push(client);
  await run(client.next("welcome", (f) => f.type === "welcome"));
  vi.setSystemTime(Date.now() + 301_000);
  client.send({ type: "ping" });
  const goaway = await run(client.next("goaway", (f) => f.type === "goaway"));
  expect(goaway).toMatchObject({ reason: "better_transport", reconnectAfter: 0 });
  expect(client.ends).toEqual([]);
});

test("a session that is closed leaves nothing behind", async () => {
  await start();
  const client = await opened();
  await client.ask({ type: "submit", job: "a", payload: 1 });
  client.session.close(1000, "bye");
  client.session.close(1000);
  client.session.send('{"type":"ping"}');
  expect(client.ends).toMatchObject([{ code: 1000, reason: "bye" }]);
  await vi.waitFor(() => expect(server.sessions.every(({ ended }) => ended)).toBe(true));
});

test("a client that can open no WebSocket goes over to it by itself, and keeps its promises", async () => {
  await start();
  server.on("a", (job) => void job.progress(50));
  const client = connect({
    url: proxy.url, token: "t", backoff: { base: 1, cap: 5 }, WebSocket: WebSocket as never,
  });
  const states: string[] = [];
  for await (const status of await client.submit("a", 1)) states.push(status.state);
  expect(states.at(-1)).toBe("completed");
  expect(client.connection.snapshot()).toMatchObject({ state: "open", transport: "fallback" });
  const settled = await Promise.all(Array.from({ length: 20 }, async () => (await client.submit("a", 1)).wait()));
  expect(settled.every(({ state }) => state === "completed")).toBe(true);
  expect(server.jobs).toHaveLength(21);
  await client.close();
});
