// The fallback against a real Ackwire: what a socket tells, over HTTP alone, also while the process is killed.

import { build } from "esbuild";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { afterEach, beforeEach, expect, test } from "vitest";
import { WebSocket } from "ws";
import { connect, fallback, webSocket } from "../../src/index.js";
import type { ConnectOptions, Status } from "../../src/types.js";
import { type Frame, FrameClient } from "../edge/frames.js";
import { HTTPProxy } from "./lib/httpproxy.js";
import { run, serve, type System } from "./lib/process.js";

let system: System;
let proxy: HTTPProxy;
beforeEach(async () => {
  system = await serve();
  proxy = await new HTTPProxy(system.gateways[0]!).start();
});
afterEach(async () => {
  await proxy.stop();
  await system.stop();
});

const client = (options: ConnectOptions = {}) =>
  connect({ url: proxy.url, WebSocket: WebSocket as never, backoff: { base: 50, cap: 1000 }, ...options });

/** A job's story as frames tell it, without what differs between any two runs. `least` statuses are told of it. */
async function story(frames: FrameClient, least: number): Promise<unknown[]> {
  const told: unknown[] = [];
  const answer = async (frame: { type: string; [member: string]: unknown }) => {
    const { type, code, duplicate, jobs, mine } = await frames.ask(frame);
    const errors = (jobs as { error?: string }[] | undefined)?.map(({ error }) => error);
    told.push({ type, code, duplicate, mine, errors });
  };
  const welcome = await frames.next("welcome", (f) => f.type === "welcome");
  told.push(Object.keys(welcome).sort());
  await answer({ type: "subscribe", mine: true });
  const submit = { type: "submit", job: "demo.sleep", payload: { seconds: 1, steps: 4 }, key: "k" };
  const { jobId } = await frames.ask(submit);
  const completed = (f: Frame) => f.type === "status" && f.job.jobId === jobId && f.job.state === "completed";
  const end = await frames.next("the end", completed);
  told.push(end.job.result, Object.keys(end.job).sort());
  await answer(submit);
  await answer({ type: "submit", job: "demo.sleep", payload: { seconds: 2 }, key: "k" });
  await answer({ type: "submit", job: "nonsense", payload: 1 });
  const unknown = "019c1db0-01c0-7a54-9d8e-3f1b5c7a9e02";
  await answer({ type: "subscribe", jobs: [{ jobId, after: end.version }, { jobId: unknown }] });
  await answer({ type: "cancel", jobId });
  await answer({ type: "retry", jobId });
  const again = await frames.next("its second end", (f) => f.version > end.version && completed(f));
  await answer({ type: "unsubscribe", jobs: [jobId] });
  await answer({ type: "unsubscribe", mine: true });
  await answer({ type: "nonsense" });
  await answer({ type: "ping" });
  const versions = frames.statuses(jobId).map(([version]) => version);
  expect(versions.at(-1)).toBe(again.version);
  expect(new Set(versions).size).toBeGreaterThanOrEqual(least);
  expect([...versions].sort((a, b) => a - b)).toEqual(versions);
  return told;
}

test("a stream and long polls tell what a socket tells", async () => {
  const base = `http://${system.gateways[0]}`;
  const socket = new FrameClient(webSocket(), { base, WebSocket: WebSocket as never });
  const expected = await story(socket, 6); // its progress, too
  socket.session.close(1000);
  for (const gathers of [false, true]) {
    proxy.gathers = gathers;
    const other = await serve(); // the same keys are new to it
    const before = await new HTTPProxy(other.gateways[0]!).start();
    before.gathers = gathers;
    try {
      const frames = new FrameClient(fallback(), { base: before.url });
      expect(await story(frames, gathers ? 3 : 6)).toEqual(expected); // polls skip more
      frames.session.close(1000);
    } finally {
      await before.stop();
      await other.stop();
    }
  }
});

test.each([["streams", false], ["long polls", true]])(
  "100 submits are in flight when the process is killed, over %s: each becomes one job, and is followed to its end",
  async (_, gathers) => {
    proxy.gathers = gathers;
    const ackwire = client();
    const all: Status[] = [];
    const stop = new AbortController();
    let held = () => {};
    const followed = new Promise<void>((resolve) => (held = resolve));
    const mine = (async () => {
      for await (const status of ackwire.mine({ signal: stop.signal, held })) all.push(status);
    })().catch(() => {});
    await followed;
    const first = await ackwire.submit("demo.echo", -1);
    await first.wait();
    expect(ackwire.connection.snapshot().transport).toBe("fallback");
    expect(proxy.refused).toBeGreaterThan(0);

    const payloads = Array.from({ length: 100 }, (_, i) => i);
    const results = payloads.map(async (n) => {
      const job = await ackwire.submit("demo.echo", n);
      const versions: number[] = [];
      let last: Status | undefined;
      for await (const status of job) {
        versions.push(status.version);
        last = status;
      }
      expect([...new Set(versions)].sort((a, b) => a - b)).toEqual(versions);
      expect(last?.state).toBe("completed");
      return last?.result;
    });
    const [process] = system.processes;
    await process!.kill();
    await process!.start();
    expect(await Promise.all(results)).toEqual(payloads);
    const listed: unknown[] = [];
    for (let cursor: string | undefined = ""; cursor !== undefined; ) {
      const page = await ackwire.list({ type: "demo.echo", limit: 500, ...(cursor && { cursor }) } as never);
      listed.push(...page.jobs.map(({ result }) => result));
      cursor = page.nextCursor;
    }
    expect(listed.sort((a, b) => Number(a) - Number(b))).toEqual([-1, ...payloads]);
    const ended = () => new Set(all.filter(({ state }) => state === "completed").map(({ jobId }) => jobId)).size;
    await expect.poll(ended, { timeout: 30_000 }).toBe(101);
    stop.abort();
    await mine;
    await ackwire.close();
  },
);

test("1,000 jobs are watched by one stream, and a token that expires is renewed", async () => {
  let asked = 0;
  const token = async () => {
    asked++;
    const args = ["token", "--data", system.data, "--tenant", "acme", "--subject", "alice", "--ttl", "15s"];
    return (await run("ackwire", ...args)).trim();
  };
  const ackwire = client({ token, transports: [fallback()] });
  const submits = Array.from({ length: 1000 }, (_, i) => ackwire.submit("demo.echo", i, { watch: false }));
  const jobs = await Promise.all(submits);
  const ends = await Promise.all(jobs.map((job) => ackwire.job(job.id).wait()));
  expect(ends.map(({ result }) => result)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
  // It lasts longer than a token and the time that is left for clocks that differ, 30 seconds.
  const long = await ackwire.submit("demo.sleep", { seconds: 50, steps: 5 });
  expect(await long.wait()).toMatchObject({ state: "completed" });
  expect(asked).toBeGreaterThan(1);
  await ackwire.close();
});

const modes = [["streams", false], ["long polls", true]] as const;
test.each(modes)("a page of another origin in Chromium, over %s", async (_, gathers) => {
  proxy.gathers = gathers;
  const contents = `
    import { connect } from "./src/index.ts";
    window.go = async (url) => {
      const ackwire = connect({ url, backoff: { base: 50, cap: 500 } });
      const jobs = await Promise.all(Array.from({ length: 20 }, (_, i) => ackwire.submit("demo.echo", i)));
      const ends = await Promise.all(jobs.map((job) => job.wait()));
      return [ackwire.connection.snapshot().transport, ends.map(({ state, result }) => [state, result])];
    };`;
  const resolveDir = fileURLToPath(new URL("../..", import.meta.url));
  const { outputFiles } = await build({ stdin: { contents, resolveDir }, bundle: true, format: "esm", write: false });
  const page = createServer((_, response) => {
    response.setHeader("Content-Type", "text/html");
    response.end(`<!doctype html><script type="module">${outputFiles[0]!.text}</script>`);
  });
  await new Promise<void>((done) => page.listen(0, "127.0.0.1", done));
  const browser = await chromium.launch({
    executablePath: process.env["ACKWIRE_CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
  try {
    const tab = await browser.newPage();
    await tab.goto(`http://127.0.0.1:${(page.address() as AddressInfo).port}`);
    await tab.waitForFunction(() => "go" in window);
    const told = await tab.evaluate((url) => (window as unknown as { go(url: string): unknown }).go(url), proxy.url);
    expect(told).toEqual(["fallback", Array.from({ length: 20 }, (_, i) => ["completed", i])]);
    expect(proxy.refused).toBeGreaterThan(0);
  } finally {
    await browser.close();
    page.close();
  }
});

test.each([["a socket", false, [webSocket()]], ["streams", false, [fallback()]], ["long polls", true, [fallback()]]])(
  "a job that was followed before all jobs are is followed again, over %s", async (_, gathers, transports) => {
    proxy.gathers = gathers;
    const url = gathers ? proxy.url : `http://${system.gateways[0]}`;
    await using ackwire = client({ url, transports });
    const ended = await ackwire.submit("demo.echo", 1);
    expect((await ended.wait()).state).toBe("completed");
    const running = await ackwire.submit("demo.sleep", { seconds: 60 });
    const before = running.watch();
    for (let state; state !== "processing"; ) state = (await before.next()).value?.state;

    let held!: () => void;
    const holds = new Promise<void>((resolve) => (held = resolve));
    const all = ackwire.mine({ held });
    const first = all.next();
    await holds;
    await before.return!();
    const again = running.watch();
    expect((await ackwire.job(ended.id).wait()).state).toBe("completed");
    expect((await again.next()).value?.state).toBe("processing");
    await again.return!();
    await running.cancel();
    await first;
    await all.return!();
  },
);
