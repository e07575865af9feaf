// Streams over every transport, on the server in memory.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Ackwire, connect, fallback, webSocket } from "../src/index.js";
import { createServer, type TestJob, type TestServer } from "../src/testing/index.js";
import { frameFaults } from "./schemas.js";

let server: TestServer;
let client: Ackwire;

beforeEach(() => {
  server = createServer();
});
afterEach(async () => {
  vi.unstubAllGlobals();
  await client.close();
});

const until = (done: () => boolean) => vi.waitFor(() => {
  if (!done()) throw new Error("not yet");
}, { timeout: 10_000, interval: 5 });

/** Reads a stream into a text; a reset empties it. */
function reading(job: { stream(name: string, options: object): AsyncIterable<string> }, options: object = {}) {
  const got = { text: "", resets: 0, done: false, error: undefined as any };
  const onReset = () => {
    got.text = "";
    got.resets++;
  };
  (async () => {
    for await (const text of job.stream("tokens", { onReset, ...options })) got.text += text;
  })().then(() => (got.done = true), (error) => (got.error = error));
  return got;
}

/** Has each attempt of "chat" be given to the test. */
function attempts() {
  const all: { job: TestJob; finish: () => void; fail: (error: Error) => void }[] = [];
  server.on("chat", (job) => new Promise((resolve, reject) => {
    all.push({ job, finish: () => resolve({ done: true }), fail: reject });
  }));
  return all;
}

describe.each([
  ["a WebSocket", () => [webSocket()]],
  ["HTTP", () => [fallback()]],
])("over %s", (_, transports) => {
  beforeEach(() => {
    client = connect({ ...server.options, transports: transports() });
  });

  test("a text that is asked for with the submit, over a lost connection and a lost run", async () => {
    const all = attempts();
    const job = await client.submit("chat", { say: "hi" }, { streams: ["tokens"] });
    const got = reading(job);
    await until(() => all.length === 1);
    all[0]!.job.write("tokens", "Grüß ");
    await until(() => got.text === "Grüß ");
    server.cut();
    all[0]!.job.write("tokens", "Gott 👋");
    await until(() => got.text === "Grüß Gott 👋");
    all[0]!.fail(new Error("lost"));
    await until(() => all.length === 2);
    all[1]!.job.write("tokens", "Hello");
    await until(() => got.text === "Hello");
    expect(got).toMatchObject({ resets: 1, done: false });
    all[1]!.job.write("tokens", " there");
    all[1]!.finish();
    await until(() => got.done);
    expect(got.text).toBe("Hello there");
    expect((await job.wait()).streams).toEqual({ tokens: { kind: "text", total: 11 } });
    // Who comes later reads the same.
    const late = reading(client.job(job.id));
    await until(() => late.done);
    expect(late).toMatchObject({ text: "Hello there", resets: 0 });
  });

  test("items, two streams at once, and a stream that nobody has written to", async () => {
    const all = attempts();
    const job = await client.submit("chat", {}, { streams: ["rows", "log"] });
    const list = async <T>(name: string) => {
      const items: T[] = [];
      for await (const item of job.stream<T>(name)) items.push(item);
      return items;
    };
    const lists = Promise.all([list<{ n: number }>("rows"), list<{ message: string }>("log"), list("none")]);
    await until(() => all.length === 1);
    for (let n = 0; n < 100; n++) all[0]!.job.send("rows", { n });
    all[0]!.job.send("log", { message: "done" });
    all[0]!.finish();
    const [rows, log, none] = await lists;
    expect(rows.map(({ n }) => n)).toEqual(Array.from({ length: 100 }, (_, n) => n));
    expect(log).toEqual([{ message: "done" }]);
    expect(none).toEqual([]);
  });

  test("two readers of one stream, one of which begins behind what it has", async () => {
    const all = attempts();
    const job = await client.submit("chat", {});
    const one = reading(job);
    await until(() => all.length === 1);
    all[0]!.job.write("tokens", "äbc");
    await until(() => one.text === "äbc");
    const two = reading(client.job(job.id), { after: { run: 1, at: 2 } });
    await until(() => two.text === "bc");
    all[0]!.job.write("tokens", "d".repeat(300_000));
    all[0]!.finish();
    await until(() => one.done && two.done);
    expect([one.text, two.text]).toEqual(["äbc" + "d".repeat(300_000), "bc" + "d".repeat(300_000)]);
  });

  test("a job that is not there, or that the client may not see", async () => {
    const got = reading(client.job("00000000-0000-7000-8000-00000000dead"));
    await until(() => got.error);
    expect(got.error).toMatchObject({ code: "not_found" });
  });
});

test("the frames that are sent are those of the JSON Schemas", async () => {
  client = connect(server.options);
  const all = attempts();
  const job = await client.submit("chat", {}, { streams: ["tokens"] });
  const got = reading(job);
  const rows = job.stream("rows").next();
  await until(() => all.length === 1);
  all[0]!.job.write("tokens", "a");
  all[0]!.job.send("rows", [1]);
  await rows;
  all[0]!.finish();
  await until(() => got.done);
  const chunks = server.sessions[0]!.sent.filter(({ type }) => type === "chunk");
  expect(chunks.length).toBeGreaterThan(2);
  expect(frameFaults(server.sessions)).toEqual([]);
});
