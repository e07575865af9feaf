// Batches: one outcome for each job, whatever happens to the connection, over a socket and over HTTP.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import type { AckwireError } from "../src/errors.js";
import { type Ackwire, type BatchItem, type BatchResult, connect, fallback, IndeterminateError } from "../src/index.js";
import { createServer, type ServerOptions, type TestServer } from "../src/testing/index.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const clients: [string, (server: TestServer) => Ackwire][] = [
  ["socket", ({ url, fetch, transport }) => connect({ url, fetch, transports: [transport] })],
  ["HTTP", ({ url, fetch }) => connect({ url, fetch, transports: [fallback()] })],
];

/** The outcome of a promise, for which time passes. */
async function settled<T>(promise: Promise<T>): Promise<T> {
  let over = false;
  const watched = promise.finally(() => void (over = true));
  watched.catch(() => {});
  for (let i = 0; i < 400 && !over; i++) {
    await vi.dynamicImportSettled();
    await vi.advanceTimersByTimeAsync(50);
  }
  expect(over).toBe(true);
  return promise;
}

const said = (results: BatchResult[]) => results.map(({ outcome, error }) => (error ? `${outcome} ${error.code}` : outcome));

describe.each(clients)("a batch over %s", (_, open) => {
  const world = (options?: ServerOptions) => {
    const server = createServer(options);
    return { server, client: open(server) };
  };

  test("each job has its outcome, in order, and is followed", async () => {
    const { server, client } = world({ types: ["a"] });
    server.on("a", () => "done");
    const items: BatchItem[] = [
      { type: "a", payload: 1 }, { type: "none" }, { type: "a", payload: 2, key: "k" }, { type: "a", payload: 2, key: "k" },
      { type: "a", payload: 3, key: "k" }, { type: "a", payload: 4, watch: false },
    ];
    const results = await settled(client.submitBatch(items));
    expect(said(results)).toEqual([
      "acked", "refused unknown_job_type", "acked", "acked", "refused idempotency_key_reused", "acked",
    ]);
    expect(results[2]!.job!.id).toBe(results[3]!.job!.id);
    expect([results[2]!.job!.duplicate, results[3]!.job!.duplicate]).toEqual([false, true]);
    expect(await settled(results[0]!.job!.result())).toBe("done");
    await client.close();
  });

  test("what is no batch is refused as a whole", async () => {
    const { client } = world();
    const whole = async (items: BatchItem[]) => settled(client.submitBatch(items)).catch((e: AckwireError) => e.code);
    expect(await whole([])).toBe("invalid_frame");
    expect(await whole(new Array(1001).fill({ type: "a" }))).toBe("limit_exceeded");
    expect(await whole(new Array(3).fill({ type: "a", payload: "x".repeat(100_000) }))).toBe("payload_too_large");
    await client.close();
  });

  test("jobs whose outcome is not known are sent again by their keys, and others are not", async () => {
    const { server, client } = world();
    const items: BatchItem[] = [{ type: "a", key: "a" }, { type: "a", key: "b" }, { type: "a", key: false }];
    server.refuse("indeterminate", { times: 2 });
    expect(said(await settled(client.submitBatch(items)))).toEqual(["acked", "acked", "acked"]);
    server.refuse("overloaded");
    expect(said(await settled(client.submitBatch(items)))).toEqual(["refused overloaded", "acked", "acked"]);
    server.loseAcks();
    const lost = await settled(client.submitBatch(items));
    expect(said(lost)).toEqual(["acked", "acked", "unknown indeterminate"]);
    expect(lost[2]!.error).toBeInstanceOf(IndeterminateError);
    expect(lost[0]!.job!.duplicate).toBe(true);
    server.loseAcks();
    expect(said(await settled(client.submitBatch(items.slice(0, 2))))).toEqual(["acked", "acked"]);
    await client.close();
  });

  test("its time to live ends it, and so does the client's end", async () => {
    const { server, client } = world();
    await settled(client.submit("a", 1));
    server.delayAcks(60_000);
    const [late] = await settled(client.submitBatch([{ type: "a", key: "k" }], { ttl: 1000 }));
    expect(late).toMatchObject({ outcome: "unknown", error: { key: "k", code: "indeterminate" } });
    const abort = new AbortController();
    const aborted = client.submitBatch([{ type: "a" }], { signal: abort.signal });
    aborted.catch(() => {});
    await vi.advanceTimersByTimeAsync(100);
    abort.abort("enough");
    await expect(settled(aborted)).rejects.toBe("enough");
    const closed = client.submitBatch([{ type: "a" }]);
    await vi.advanceTimersByTimeAsync(100);
    await client.close();
    expect(said(await settled(closed))).toEqual(["unknown indeterminate"]);
  });
});
