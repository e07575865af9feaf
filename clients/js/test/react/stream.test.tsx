// @vitest-environment jsdom

// The hook useStream, in React's StrictMode, on a client of the server in memory.

import { act, StrictMode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { connect, type Job } from "../../src/index.js";
import { AckwireProvider, type StreamSnapshot, useStream } from "../../src/react/index.js";
import { createServer, type TestJob, type TestServer } from "../../src/testing/index.js";
import type { Ackwire } from "../../src/types.js";

let server: TestServer;
let client: Ackwire;
let root: Root | undefined;
let host: HTMLElement;
let attempts: { job: TestJob; finish: () => void; fail: (error: Error) => void }[];
let renders: StreamSnapshot<any>[];

beforeEach(() => {
  (globalThis as any).IS_REACT_ACT_ENVIRONMENT = true;
  server = createServer();
  attempts = [];
  renders = [];
  server.on("chat", (job) => new Promise((resolve, reject) => {
    attempts.push({ job, finish: () => resolve(1), fail: reject });
  }));
  client = connect(server.options);
  host = document.createElement("div");
});
afterEach(async () => {
  await act(async () => root?.unmount());
  root = undefined;
  await client.close();
});

function Stream({ job, name }: { job: string | Job | undefined; name: string }) {
  const stream = useStream<{ n: number }>(job, name);
  renders.push(stream);
  return <p>{stream.error?.code ?? stream.text}{stream.items.map(({ n }) => n).join()}{stream.end ? "." : ""}</p>;
}

const node = (job: string | Job | undefined, name: string) =>
  <StrictMode><AckwireProvider client={client}><Stream job={job} name={name} /></AckwireProvider></StrictMode>;

async function render(job: string | Job | undefined, name = "tokens"): Promise<void> {
  root ??= createRoot(host);
  await act(async () => root!.render(node(job, name)));
}

/** Waits until that many attempts have begun. */
const begun = (count: number) => act(() => vi.waitFor(() => expect(attempts).toHaveLength(count)));

const shows = (text: string) => act(() => vi.waitFor(() => expect(host.textContent).toBe(text), { timeout: 10_000 }));

test("a text grows, begins anew with a new run, and ends; nothing is without a job and on a server", async () => {
  await render(undefined);
  expect(host.textContent).toBe("");
  expect(renderToString(node("00000000-0000-7000-8000-000000000001", "tokens"))).toBe("<p></p>");
  expect(server.sessions).toHaveLength(0);
  const job = await client.submit("chat", {}, { streams: ["tokens"] });
  await render(job);
  attempts[0]!.job.write("tokens", "Grüß ");
  await shows("Grüß ");
  server.cut();
  attempts[0]!.job.write("tokens", "Gott");
  await shows("Grüß Gott");
  attempts[0]!.fail(new Error("lost"));
  await begun(2);
  attempts[1]!.job.write("tokens", "Hello");
  await shows("Hello");
  for (const { text } of renders) expect(["", "Grüß ", "Grüß Gott", "Hello"]).toContain(text);
  attempts[1]!.finish();
  await shows("Hello.");
});

test("many pieces are rendered together, and no item is shown twice", async () => {
  const job = await client.submit("chat", {});
  await render(job.id, "rows");
  await begun(1);
  attempts[0]!.job.send("rows", { n: 0 });
  await shows("0");
  const before = renders.length;
  for (let n = 1; n < 500; n++) attempts[0]!.job.send("rows", { n });
  const all = Array.from({ length: 500 }, (_, n) => n).join();
  await shows(all);
  expect(renders.length - before).toBeLessThan(40); // StrictMode renders twice
  const { items } = renders.at(-1)!;
  attempts[0]!.finish();
  await shows(`${all}.`);
  expect(renders.at(-1)!.items).toBe(items); // nothing has changed of them
});

test("another stream shows nothing of the one before, and an unmounted component follows none", async () => {
  const job = await client.submit("chat", {});
  await render(job.id);
  await begun(1);
  attempts[0]!.job.write("tokens", "text");
  attempts[0]!.job.send("rows", { n: 7 });
  await shows("text");
  await render(job.id, "rows");
  await shows("7");
  await act(async () => root!.unmount());
  root = undefined;
  const [session] = server.sessions;
  const told = () => session!.sent.filter(({ type }) => type === "chunk").length;
  await vi.waitFor(() => expect(session!.received.at(-1)!.type).toMatch(/subscribe/));
  const before = told();
  await vi.waitFor(() => expect(session!.sent.at(-1)!.type).toMatch(/subscribed/));
  attempts[0]!.job.send("rows", { n: 8 });
  attempts[0]!.job.write("tokens", "more");
  await new Promise((done) => setTimeout(done, 0));
  expect(told()).toBe(before);
});

test("a stream that cannot be followed says why", async () => {
  await render("00000000-0000-7000-8000-00000000dead");
  await shows("not_found");
});

test("more than 8 million characters are cut, between characters", async () => {
  const { follow } = await import("../../src/react/follow.js");
  const { StreamStore } = await import("../../src/react/stream.js");
  const pieces = Array.from({ length: 90 }, () => "👋".repeat(50_000));
  const chunks = (async function* () {
    let at = 0;
    yield { kind: "text", run: 1, from: 0, at: (at += 1), text: "a" };
    for (const text of pieces) yield { kind: "text", run: 1, from: at, at: (at += 200_000), text };
  })();
  const store = new StreamStore({ stream: () => chunks } as never, "tokens");
  await follow(store, new AbortController().signal);
  const { text, cut, end } = store.snapshot();
  expect([cut, end]).toEqual([true, true]);
  expect(text.length).toBeLessThanOrEqual(8_000_000);
  expect(text.length).toBeGreaterThanOrEqual(5_900_000);
  expect(text.replaceAll("👋", "")).toBe("");
});

test("items of more than 8 million characters are cut", async () => {
  const { follow } = await import("../../src/react/follow.js");
  const { StreamStore } = await import("../../src/react/stream.js");
  const chunks = (async function* () {
    for (let n = 0; n < 300; n++) yield { kind: "json", run: 1, from: n, at: n + 1, items: [{ n, s: "x".repeat(32_000) }] };
  })();
  const store = new StreamStore({ stream: () => chunks } as never, "rows");
  await follow(store, new AbortController().signal);
  const { items, cut } = store.snapshot();
  expect(cut).toBe(true);
  expect(items.at(-1).n).toBe(299);
  expect(items.length).toBeLessThan(250);
  expect(items.length).toBeGreaterThan(180);
  expect(items[0].n).toBe(300 - items.length);
});
