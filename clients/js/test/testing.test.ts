import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import type { AckwireError } from "../src/errors.js";
import { type Ackwire, connect, fallback } from "../src/index.js";
import { codes } from "../src/testing/codes.js";
import { createServer, Failure, type Frame, type ServerOptions, type TestServer } from "../src/testing/index.js";
import { fault, frameFaults } from "./schemas.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Lets microtasks run, and that much time pass. */
const pass = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

/** The outcome of a promise, or the code of its error, for which time passes. */
async function outcome<T>(promise: Promise<T>): Promise<T | string> {
  let over = false;
  const settled = promise.catch((error: AckwireError) => error.code).finally(() => void (over = true));
  for (let i = 0; i < 200 && !over; i++) await pass(50);
  return settled;
}

/** A client that is nothing but a session. */
function dial(server: TestServer, token?: string) {
  const frames: Frame[] = [];
  const ends: { code: number; reason: string; error: AckwireError | undefined }[] = [];
  const session = server.transport.open(
    {
      base: server.url, query: "", token, tickets: false, standard: server.transport, fetch: server.fetch,
      WebSocket: undefined,
    },
    {
      frame: (text) => void frames.push(JSON.parse(text) as Frame),
      closed: (code, reason, error) => void ends.push({ code, reason, error }),
    },
  );
  return {
    frames, ends,
    close: (code?: number) => session.close(code),
    send: async (frame: object | string) => {
      session.send(typeof frame === "string" ? frame : JSON.stringify(frame));
      await pass();
    },
    /** The frames since the last call. */
    take: () => frames.splice(0),
  };
}

async function opened(server: TestServer, token?: string) {
  const client = dial(server, token);
  await pass();
  expect(client.take()).toMatchObject([{ type: "welcome", protocol: "ackwire.v1" }]);
  return client;
}

const servers: TestServer[] = [];
function make(options?: ServerOptions): TestServer {
  const server = createServer(options);
  servers.push(server);
  return server;
}

// Whatever a test did: every frame that a server sent fits its schema.
afterEach(() => {
  for (const server of servers.splice(0)) {
    expect(frameFaults(server.sessions.map(({ sent }) => ({ sent, received: [] })))).toEqual([]);
    server.stop();
  }
  expect(vi.getTimerCount()).toBe(0);
});

const states = (frames: Frame[]) =>
  frames.filter((frame) => frame.type === "status").map((frame) => (frame["job"] as { state: string }).state);

describe("jobs", () => {
  test("a client sees the stage and the data of progress, and none that a worker may not report", async () => {
    const server = make();
    const failures: unknown[] = [];
    const full = "x".repeat(4094);
    server.on("report.generate", async (job) => {
      job.progress(40, "rows", { current: 4, total: 10, stage: "collect", data: { sum: 9007199254740993n } });
      await job.delay(1000);
      job.progress(20, undefined, { stage: "a".repeat(64), data: full });
      for (const more of [{ stage: "a".repeat(65) }, { stage: "Render" }, { data: full + "x" }, { data: "é".repeat(2048) }]) {
        try {
          job.progress(90, "never seen", more);
        } catch (err) {
          failures.push(err);
        }
      }
      await job.delay(1000);
      job.progress(50, "an older worker");
      await job.delay(1000);
      job.progress(60, "fails", { stage: "No" });
    });
    const client = await opened(server);
    await client.send({ type: "submit", id: "1", job: "report.generate", payload: {} });
    const url = `${server.url}/v1/jobs/${server.jobs[0]?.id}`;
    expect(await (await server.fetch(url)).text()).toContain(
      '"progress":{"percent":40,"message":"rows","current":4,"total":10,"stage":"collect","data":{"sum":9007199254740993}}',
    );
    await pass(1000);
    const progress = async () => ((await (await server.fetch(url)).json()) as { progress: unknown }).progress;
    expect(await progress()).toEqual({ percent: 40, stage: "a".repeat(64), data: full });
    expect(failures).toMatchObject(Array.from({ length: 4 }, () => ({ code: "invalid_progress", retryable: false })));
    await pass(1000);
    expect(await progress()).toEqual({ percent: 50, message: "an older worker" });
    await pass(1000);
    expect(await (await server.fetch(url)).json()).toMatchObject({ state: "failed", error: { code: "invalid_progress" } });
  });

  test("a handler works on a job, and its client is told", async () => {
    const server = make();
    server.on("report.generate", async (job) => {
      job.progress(40, "collecting", { current: 4, total: 10 });
      await job.delay(1000);
      job.progress(20);
      return { rows: 31, sum: 9007199254740993n };
    });
    const client = await opened(server);
    await client.send({ type: "submit", id: "1", job: "report.generate", payload: { year: 2026 }, key: "a" });
    const jobId = server.jobs[0]?.id;
    const first = client.take();
    expect(first[0]).toEqual({
      type: "ack", id: "1", jobId, state: "pending", ahead: 0, estimate: 0, statusUrl: `/v1/jobs/${jobId}`,
    });
    expect(states(first)).toEqual(["pending", "processing", "processing"]);
    await pass(1000);
    const last = client.take();
    expect(states(last)).toEqual(["processing", "completed"]);
    expect(last[0]).toMatchObject({ job: { progress: { percent: 40 } } });
    expect(server.jobs[0]?.history.at(-1)).toMatchObject({ state: "completed", attempt: 1 });
    const versions = [...first, ...last].filter(({ type }) => type === "status").map((frame) => frame["version"]);
    expect(versions).toEqual([1, 2, 3, 4, 5]);
    const body = await (await server.fetch(`${server.url}/v1/jobs/${jobId}`)).text();
    expect(body).toContain('"result":{"rows":31,"sum":9007199254740993}');
  });

  test("an ack says what waits before its job", async () => {
    const server = make();
    const client = await opened(server);
    const submit = async (job: string, more: object = {}) => {
      await client.send({ type: "submit", id: job, job, payload: 1, ...more });
      return client.take().find((frame) => frame.type === "ack");
    };
    expect(await submit("a")).toMatchObject({ ahead: 0 });
    expect(await submit("a")).toMatchObject({ ahead: 1 });
    expect(await submit("a")).not.toHaveProperty("estimate"); // nobody works on it
    expect(await submit("b")).toMatchObject({ ahead: 0 });
    server.on("c", (job) => job.payload);
    expect(await submit("c")).toMatchObject({ ahead: 0, estimate: 0 });
    const later = new Date(Date.now() + 60_000).toISOString();
    expect(await submit("a", { runAt: later })).not.toHaveProperty("ahead");
  });

  test("a key has one job, and refuses another payload", async () => {
    const server = make();
    const client = await opened(server);
    await client.send({ type: "submit", id: "1", job: "a", payload: { x: 1, y: 2 }, key: "k" });
    await client.send({ type: "submit", id: "2", job: "a", payload: { y: 2, x: 1 }, key: "k" });
    await client.send({ type: "submit", id: "3", job: "a", payload: { x: 2 }, key: "k" });
    await client.send({ type: "submit", id: "4", job: "b", payload: { x: 2 }, key: "k" });
    const answers = client.take().filter(({ type }) => type !== "status");
    expect(answers).toMatchObject([
      { type: "ack", id: "1" }, { type: "ack", id: "2", duplicate: true, jobId: answers[0]?.["jobId"] },
      { type: "error", id: "3", code: "idempotency_key_reused" }, { type: "ack", id: "4" },
    ]);
    expect(server.jobs.map(({ type }) => type)).toEqual(["a", "b"]);
  });

  test("a failure is final or tried again, as it says", async () => {
    const server = make({ backoff: 500 });
    let runs = 0;
    server.on("late", () => {
      if (++runs < 3) throw new Error("not yet");
      return runs;
    });
    server.on("never", () => {
      throw new Failure("nobody", "no name");
    });
    const client = await opened(server);
    await client.send({ type: "submit", id: "1", job: "late", payload: null });
    await client.send({ type: "submit", id: "2", job: "never", payload: null });
    await pass(1000);
    expect(server.jobs.map(({ status }) => [status.state, status.attempt])).toEqual([["completed", 3], ["failed", 1]]);
    expect(server.jobs[0]?.history.map(({ state }) => state)).toEqual([
      "pending", "processing", "retrying", "pending", "processing", "retrying", "pending", "processing", "completed",
    ]);
    expect(server.jobs[1]?.status.error).toEqual({ code: "nobody", message: "no name", retryable: false });
    expect(server.jobs[1]?.status.attempts).toMatchObject([{ number: 1, outcome: "failed" }]);
  });

  test("a test takes the job itself; it is cancelled and retried", async () => {
    const server = make();
    const client = await opened(server);
    const taken = server.next("a");
    await client.send({ type: "submit", id: "1", job: "a", payload: 1 });
    const job = await taken;
    await client.send({ type: "retry", id: "2", jobId: job.id });
    await client.send({ type: "cancel", id: "3", jobId: job.id });
    expect(job.signal.aborted).toBe(true);
    job.fail("stopped");
    job.complete("too late");
    await client.send({ type: "cancel", id: "4", jobId: job.id });
    await client.send({ type: "retry", id: "5", jobId: job.id });
    const frames = client.take();
    expect(frames.filter(({ type }) => type === "error" || type === "ack")).toMatchObject([
      { id: "1" }, { id: "2", code: "invalid_state" }, { id: "3", state: "processing" },
      { id: "4", code: "invalid_state" }, { id: "5", state: "retrying" },
    ]);
    expect(states(frames)).toEqual(["pending", "processing", "processing", "cancelled", "retrying", "pending"]);
    (await server.next()).complete();
    expect(server.jobs[0]?.status).toMatchObject({ state: "completed", attempt: 2, maxAttempts: 4 });
  });

  test("runAt, timeout and deadline are held", async () => {
    const server = make({ maxAttempts: 2 });
    server.on("slow", (job) => job.delay(60_000).catch(() => undefined));
    const client = await opened(server);
    const runAt = new Date(Date.now() + 29 * 86_400_000).toISOString();
    await client.send({ type: "submit", id: "1", job: "slow", payload: 1, runAt });
    await client.send({ type: "submit", id: "2", job: "slow", payload: 1, timeout: 2 });
    await client.send({ type: "submit", id: "3", job: "slow", payload: 1, deadline: 3 });
    await pass(29 * 86_400_000 - 1);
    expect(server.jobs.map(({ status }) => [status.state, status.error?.code])).toEqual([
      ["scheduled", undefined], ["failed", "timeout"], ["failed", "deadline_exceeded"],
    ]);
    await pass(1);
    expect(server.jobs[0]?.status.state).toBe("processing");
  });
});

describe("watches", () => {
  test("subscribe tells what is newer than after, or why not", async () => {
    const server = make();
    const submitter = await opened(server);
    await submitter.send({ type: "submit", job: "a", payload: 1, watch: false });
    const [job] = server.jobs;
    const jobId = job?.id ?? "";
    const client = await opened(server);
    await client.send({ type: "subscribe", id: "1", jobs: [{ jobId }, { jobId: "none" }] });
    expect(client.take()).toMatchObject([
      { type: "subscribed", id: "1", jobs: [{ jobId, version: 1 }, { jobId: "none", error: "not_found" }] },
      { type: "status", version: 1 },
    ]);
    await client.send({ type: "subscribe", id: "2", jobs: [{ jobId, after: 1 }] });
    expect(client.take()).toHaveLength(1);
    await client.send({ type: "subscribe", id: "3", jobs: [{ jobId, after: 99 }] });
    expect(client.take()).toMatchObject([
      { jobs: [{ jobId, version: 1, reset: true }] }, { type: "status", version: 1 },
    ]);
    await client.send({ type: "unsubscribe", id: "4", jobs: [jobId] });
    (await server.next()).complete();
    await pass();
    expect(client.take()).toEqual([{ type: "unsubscribed", id: "4", jobs: [jobId] }]);
    expect(states(submitter.take())).toEqual([]);
  });

  test("mine tells the subject's jobs, and goes on from a cursor", async () => {
    const server = make({ tokens: { a: "ada", e: "eve" } });
    const [ada, eve] = [await opened(server, "a"), await opened(server, "e")];
    await ada.send({ type: "subscribe", id: "1", mine: true });
    const [subscribed, cursor] = ada.take();
    expect(subscribed).toEqual({ type: "subscribed", id: "1", jobs: [], mine: true });
    expect(cursor).toMatchObject({ type: "cursor" });
    await eve.send({ type: "submit", id: "1", job: "x", payload: 1 });
    expect(ada.take()).toEqual([]);
    await ada.send({ type: "submit", id: "2", job: "x", payload: 1 });
    expect(ada.take().map(({ type }) => type)).toEqual(["ack", "status", "cursor"]);
    ada.close();
    const again = await opened(server, "a");
    await again.send({ type: "subscribe", id: "1", mine: true, after: cursor?.["cursor"] });
    expect(again.take()).toMatchObject([
      { mine: true }, { type: "status", mine: true, version: 2 }, { type: "cursor" },
    ]);
    server.rewind();
    await pass();
    expect(again.take()).toMatchObject([{ type: "subscribed", mine: true, reset: true }]);
    await again.send({ type: "subscribe", id: "2", mine: true, after: cursor?.["cursor"] });
    expect(again.take()).toEqual([{ type: "subscribed", id: "2", jobs: [], mine: true }]); // it goes on
    const last = await opened(server, "a");
    await last.send({ type: "subscribe", id: "3", mine: true, after: cursor?.["cursor"] });
    expect(last.take()).toMatchObject([{ mine: true, reset: true }, { type: "cursor" }]);
  });

  test("limits are held", async () => {
    const server = make({ limits: { subscriptions: 2, inFlightSubmits: 1, frameBytes: 200 } });
    server.delayAcks(10);
    const client = await opened(server);
    for (const id of ["1", "2"]) await client.send({ type: "submit", id, job: "a", payload: 1 });
    await pass(10);
    expect(client.take()).toMatchObject([{ id: "2", code: "limit_exceeded" }, { id: "1", type: "ack" }, {}]);
    await client.send({ type: "submit", id: "3", job: "a", payload: 1 });
    await pass(10);
    await client.send({ type: "submit", id: "4", job: "a", payload: 1 });
    expect(client.take().at(-1)).toMatchObject({ id: "4", code: "limit_exceeded" });
    await client.send("x".repeat(201));
    expect(client.ends).toMatchObject([{ code: 1009 }]);
  });
});

describe("sessions", () => {
  test("a token is taken, refused, asked for and renewed", async () => {
    const server = make({ tokens: { a: "ada", b: "ada", e: "eve" } });
    const refused = dial(server, "wrong");
    await pass();
    expect(refused.ends).toMatchObject([{ code: 1006, error: { code: "unauthenticated", status: 401 } }]);
    const late = dial(server);
    await pass(10_000);
    expect(late.ends).toMatchObject([{ code: 4501 }]);
    const wrong = dial(server);
    await wrong.send({ type: "ping" });
    expect(wrong.ends).toMatchObject([{ code: 4502 }]);
    const client = dial(server);
    await client.send({ type: "auth", id: "0", token: "a" });
    expect(client.take()).toMatchObject([{ type: "welcome", id: "0" }]);
    server.expiring(90);
    await client.send({ type: "auth", id: "1", token: "b" });
    await pass(90_000);
    expect(client.take()).toMatchObject([{ type: "expiring", closesAfter: 90 }, { type: "welcome", id: "1" }]);
    await client.send({ type: "auth", id: "2", token: "e" });
    expect(client.take()).toMatchObject([{ id: "2", code: "forbidden" }]);
    server.expiring(1);
    await pass(1000);
    expect(client.ends).toMatchObject([{ code: 4002 }]);
    const last = await opened(server, "e");
    server.revoke("e");
    await last.send({ type: "auth", id: "3", token: "e" });
    expect(last.ends).toMatchObject([{ code: 4500 }]);
  });

  test("a session is cut, closed, sent away, stalled and refused", async () => {
    const server = make();
    const cut = await opened(server);
    server.goaway(2);
    server.cut();
    await pass();
    expect([cut.take(), cut.ends]).toMatchObject([[], [{ code: 1006 }]]);
    const closed = await opened(server);
    server.goaway(2);
    server.close(1012, "service_restart");
    await pass();
    expect([closed.take(), closed.ends]).toMatchObject([
      [{ type: "goaway", reconnectAfter: 2 }], [{ code: 1012, reason: "service_restart" }],
    ]);
    const stalled = await opened(server);
    server.stall();
    await stalled.send({ type: "ping" });
    await pass(3_600_000);
    expect([stalled.take(), stalled.ends]).toEqual([[], []]);
    stalled.close(4001);
    await pass();
    expect(stalled.ends).toMatchObject([{ code: 4001 }]);
    server.refuse("overloaded", { of: "session", retryAfter: 3 });
    const refused = dial(server);
    await pass();
    expect(refused.ends).toMatchObject([{ code: 1006, error: { code: "overloaded", status: 503, retryAfter: 3 } }]);
    server.down();
    const down = dial(server);
    await pass();
    expect(down.ends).toMatchObject([{ code: 1006, error: undefined }]);
    server.up();
    await opened(server);
    expect(server.open).toHaveLength(1);
    expect(server.sessions.map(({ ended }) => ended?.by)).toEqual([
      "server", "server", "client", "server", "server", undefined,
    ]);
  });

  test("frames are refused, lost and delayed", async () => {
    const server = make();
    const client = await opened(server);
    server.refuse("indeterminate", { retryAfter: 1 });
    server.refuse("unavailable", { of: "watch" });
    server.refuse("rate_limited", { of: "subscribe", times: 2 });
    await client.send({ type: "submit", id: "1", job: "a", payload: 1 });
    for (const id of ["2", "3", "4"]) await client.send({ type: "subscribe", id, jobs: [{ jobId: "x" }] });
    expect(client.take()).toMatchObject([
      { id: "1", code: "indeterminate", retryAfter: 1, retryable: true }, { id: "2", code: "rate_limited" },
      { id: "3", code: "rate_limited" }, { id: "4", jobs: [{ jobId: "x", error: "unavailable" }] },
    ]);
    expect(server.jobs).toEqual([]);
    server.delay(100);
    await client.send({ type: "ping", id: "5" });
    server.delay(0);
    await client.send({ type: "ping", id: "6" });
    await pass(100);
    expect(client.take()).toMatchObject([{ type: "pong", id: "5" }, { type: "pong", id: "6" }]);
    await client.send({ type: "what", id: "7" });
    await client.send("{");
    expect(client.take()).toMatchObject([{ id: "7", code: "unknown_frame" }, { code: "invalid_frame" }]);
    server.loseAcks();
    await client.send({ type: "submit", id: "8", job: "a", payload: 1, key: "k" });
    expect([client.take(), client.ends, server.jobs.length]).toMatchObject([[], [{ code: 1006 }], 1]);
  });
});

describe("access", () => {
  test("users are kept apart", async () => {
    const server = make({ tokens: { a: "ada", b: "bob" } });
    const [ada, bob] = ["a", "b"].map((token) => connect({ ...server.options, token })) as [Ackwire, Ackwire];
    const job = await ada.submit("x", 1, { key: "k" });
    const gone = { code: "not_found" };
    for (const ask of [
      () => bob.get(job.id), () => bob.why(job.id), () => bob.cancel(job.id), () => bob.retry(job.id),
      () => bob.erase(job.id), () => bob.watch(job.id).next(), () => bob.deliveries(job.id),
    ]) await expect(ask()).rejects.toMatchObject(gone);
    expect(await bob.list()).toMatchObject({ jobs: [] });
    expect(await bob.stats()).toMatchObject({ counts: [] });
    const other = await bob.submit("x", 2, { key: "k" }); // a key is its user's own
    expect([other.id === job.id, other.duplicate]).toEqual([false, false]);
    expect((await ada.list()).jobs.map(({ jobId }) => jobId)).toEqual([job.id]);
    await Promise.all([ada.close(), bob.close()]);
  });

  test("a page follows its job by grants that it renews, also without sockets", async () => {
    // What is loaded late takes no time of the fake clock.
    await Promise.all([import("../src/fallback/index.js"), import("../src/rest.js"), import("../src/mine.js")]);
    for (const transports of [undefined, [fallback()]]) {
      const server = make({ tokens: { a: "ada" } });
      const backend = connect({ ...server.options, token: "a" });
      const job = await backend.submit("x", 1);
      const other = await backend.submit("x", 2);
      const token = vi.fn(async () => (await backend.grant({ jobs: [job.id], ttl: 60 })).token);
      const page = connect({ ...server.options, ...(transports && { transports }), token });
      const end = page.job(job.id).wait();
      await pass(200_000);
      expect(token.mock.calls.length).toBeGreaterThan(2);
      expect(await outcome(page.watch(other.id).next())).toBe("not_found");
      expect(await outcome(page.submit("x", 1))).toBe("forbidden");
      expect(await outcome(page.mine().next())).toBe("forbidden");
      (await server.next()).complete(31);
      expect(await outcome(end)).toMatchObject({ state: "completed", result: 31 });
      await Promise.all([page.close(), backend.close()]);
    }
  });

  test("a renewed token that permits less ends what it does not cover, also without sockets", async () => {
    await Promise.all([import("../src/fallback/index.js"), import("../src/rest.js"), import("../src/mine.js")]);
    for (const transports of [undefined, [fallback()]]) {
      const server = make({ tokens: { a: "ada" } });
      const backend = connect({ ...server.options, token: "a" });
      const [job, other] = [await backend.submit("x", 1), await backend.submit("x", 2)];
      const { token: grant } = await backend.grant({ jobs: [job.id], ttl: 600 });
      const tokens = ["a"];
      const page = connect({ ...server.options, ...(transports && { transports }), token: () => tokens.shift() ?? grant });
      const watch = page.watch(job.id);
      const ends = [page.watch(other.id), page.mine()];
      await outcome(watch.next());
      await outcome(ends[0]!.next());
      const waiting = ends.map((end) => outcome(end.next()));
      await pass(1000);
      server.expiring(30);
      expect(await Promise.all(waiting)).toEqual(["not_found", "forbidden"]);
      await backend.cancel(job.id);
      expect(await outcome(watch.next())).toMatchObject({ value: { state: "cancelled" } });
      await Promise.all([page.close(), backend.close()]);
    }
  });

  test("a grant that is revoked opens no more, and one is no wider than its words", async () => {
    const server = make();
    const backend = connect(server.options);
    const job = await backend.submit("x", 1, { grant: { ttl: 60, permissions: ["read", "cancel"] } });
    const page = connect({ ...server.options, token: job.grant!.token });
    expect(await page.cancel(job.id)).toBe("cancelled");
    server.revoke(job.grant!.token);
    await expect(page.get(job.id)).rejects.toMatchObject({ code: "unauthenticated" });
    for (const [wrong, code] of [
      [{ ttl: "60" }, "invalid_frame"], [{ permissions: ["constructor"] }, "invalid_frame"],
      [{ permissions: "read" }, "invalid_frame"], [{ jobs: [5] }, "invalid_frame"], [{ jobs: "all" }, "invalid_frame"],
    ] as const) {
      const asked = { jobs: [job.id], ttl: 60, ...wrong } as never;
      await expect(backend.grant(asked), JSON.stringify(wrong)).rejects.toMatchObject({ code });
    }
    await Promise.all([page.close(), backend.close()]);
  });
});

describe("HTTP", () => {
  test("every route answers by its schema", async () => {
    const server = make();
    server.on("a", () => ({ rows: 1 }));
    const call = async (method: string, path: string, body?: object) => {
      const init: RequestInit = { method, headers: { "Content-Type": "application/json" } };
      if (body) init.body = JSON.stringify(body);
      const answer = await server.fetch(server.url + path, init);
      const value = await answer.json() as Record<string, unknown>;
      return { status: answer.status, etag: answer.headers.get("ETag"), value };
    };
    const made = await call("POST", "/v1/jobs", { job: "a", payload: 1, key: "k", grant: { ttl: 60 } });
    const again = await call("POST", "/v1/jobs", { job: "a", payload: 1, key: "k", grant: { ttl: 60 } });
    expect([made.value.grant, again.value.grant]).toMatchObject([{ token: "grant-1" }, { token: "grant-2" }]);
    const granted = await call("POST", "/v1/grants", { jobs: [made.value.jobId], ttl: 60 });
    expect([granted.status, fault("http/grant", granted.value)]).toEqual([201, undefined]);
    expect((await call("POST", "/v1/grants", { ttl: 60 })).status).toBe(400);
    expect((await call("POST", "/v1/jobs", { job: "a", payload: 1, grant: { ttl: 0 } })).status).toBe(400);
    const { jobId } = made.value as { jobId: string };
    await call("POST", "/v1/jobs", { job: "b", payload: 1 });
    await call("POST", "/v1/jobs", { job: "b", payload: 2, runAt: new Date(Date.now() + 1000).toISOString() });
    const at = `/v1/jobs/${jobId}`;
    const answers: [string, string, string, number][] = [
      ["GET", at, "job/document", 200], ["GET", `${at}/why`, "http/why", 200],
      ["GET", `${at}/history`, "http/history", 200], ["GET", `${at}/history?limit=1`, "http/history", 200],
      ["GET", `${at}/history?limit=0`, "http/problem", 400],
      ["GET", `${at}/deliveries`, "http/deliveries", 200], ["GET", "/v1/stats", "http/stats", 200],
      ["GET", "/v1/jobs?limit=1&mine=true", "http/list", 200], ["POST", "/v1/ws-tickets", "http/ticket", 201],
      ["POST", `${at}/retry`, "http/ack", 202], ["POST", `${at}/cancel`, "http/problem", 409],
      ["GET", "/v1/jobs/none", "http/problem", 404], ["PUT", "/v1/jobs", "http/problem", 405],
      ["GET", "/v1/jobs?what=1", "http/problem", 400],
    ];
    for (const [method, path, schema, status] of answers) {
      const answer = await call(method, path);
      expect([path, answer.status, fault(schema, answer.value)]).toEqual([path, status, undefined]);
    }
    expect([made.status, fault("http/ack", made.value)]).toEqual([202, undefined]);
    expect((await call("GET", `${at}/result`)).value).toEqual({ rows: 1 });
    const client = connect(server.options);
    expect(await client.payload(jobId)).toBe(1);
    const told: string[] = [];
    for (let cursor: string | undefined; ;) {
      const page = await client.history(jobId, { limit: 1, ...(cursor && { cursor }) });
      told.push(...page.events.map((event) => `${event.by} ${event.type} ${event.state}`));
      if (!(cursor = page.nextCursor)) break;
    }
    expect(told.slice(0, 3)).toEqual(["gateway accepted pending", "worker claimed processing", "worker completed completed"]);
    await client.close();
    const first = (await call("GET", "/v1/jobs?limit=2")).value as { jobs: { jobId: string }[]; nextCursor: string };
    const second = (await call("GET", `/v1/jobs?limit=2&cursor=${first.nextCursor}`)).value as typeof first;
    expect([...first.jobs, ...second.jobs].map((job) => job.jobId)).toEqual(server.jobs.map(({ id }) => id).reverse());
  });

  test("an ended job is erased for good", async () => {
    const server = make();
    const client = connect(server.options);
    const job = await client.submit("a", 1, { key: "k" });
    await expect(job.erase()).rejects.toMatchObject({ code: "invalid_state", status: 409, retryable: false });
    await job.cancel();
    await job.erase();
    const gone = { code: "not_found" };
    for (const ask of [
      () => client.erase(job.id), () => client.get(job.id), () => client.why(job.id), () => client.retry(job.id),
      () => client.watch(job.id).next(), () => client.submit("a", 1, { key: "k" }),
    ]) await expect(ask()).rejects.toMatchObject(gone);
    expect([(await client.list()).jobs, server.jobs]).toEqual([[], []]);
    await client.close();
  });

  test("a read waits for the end, and faults are HTTP's", async () => {
    const server = make({ tokens: { a: "ada" } });
    const headers = { Authorization: "Bearer a", "Content-Type": "application/json", Prefer: "wait=20" };
    const init = { method: "POST", headers, body: '{"job":"a","payload":1}' };
    const submit = () => server.fetch(`${server.url}/v1/jobs`, init);
    const waiting = submit();
    await pass(5000);
    (await server.next("a")).complete({ rows: 1 });
    expect(await (await waiting).json()).toMatchObject({ state: "completed", result: { rows: 1 } });
    expect((await server.fetch(`${server.url}/v1/jobs`)).status).toBe(401);
    server.refuse("overloaded", { of: "request", retryAfter: 2 });
    const refused = await submit();
    expect([refused.status, refused.headers.get("Retry-After")]).toEqual([503, "2"]);
    const abort = new AbortController();
    server.delay(1000);
    const aborted = server.fetch(server.url, { signal: abort.signal });
    abort.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
    server.delay(0);
    server.loseAcks();
    await expect(submit()).rejects.toThrow(TypeError);
    server.down();
    await expect(submit()).rejects.toThrow(TypeError);
    expect(server.jobs).toHaveLength(2);
  });
});

interface Listed {
  code: string;
  http: number;
  retryable: boolean;
  title: string;
}

test("the table of codes is that of schemas/code/codes.json", () => {
  const text = readFileSync(new URL("../../../schemas/code/codes.json", import.meta.url), "utf8");
  const { errors } = JSON.parse(text) as { errors: Listed[] };
  expect(codes).toEqual(Object.fromEntries(errors.map((e) => [e.code, [e.http, e.retryable, e.title]])));
});
