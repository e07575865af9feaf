import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import type { AckwireError } from "../src/errors.js";
import { connect } from "../src/index.js";
import { bulk, type BulkFilter, type BulkResult, previewBulk, workers } from "../src/operate/index.js";
import { createServer, Failure, type ServerOptions, type TestServer } from "../src/testing/index.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const servers: TestServer[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.stop();
});

function make(options?: ServerOptions, token?: string) {
  const server = createServer(options);
  servers.push(server);
  return { server, client: connect({ ...server.options, ...(token && { token }) }) };
}

/** The outcome of a promise, or the code of its error, for which time passes. */
async function outcome<T>(promise: Promise<T>): Promise<T | string> {
  let over = false;
  const settled = promise.catch((error: AckwireError) => error.code).finally(() => void (over = true));
  for (let i = 0; i < 200 && !over; i++) await vi.advanceTimersByTimeAsync(50);
  return settled;
}

describe("bulk actions", () => {
  test("count, retry, cancel and erase what matches", async () => {
    const { server, client } = make();
    let fails = true;
    server.on("report", () => {
      if (fails) throw new Failure("fire", "the printer is on fire");
      return "printed";
    });
    const ids: string[] = [];
    for (let n = 0; n < 3; n++) {
      const job = await client.submit("report", n);
      ids.unshift(job.id);
      await outcome(job.result());
    }
    const waiting = await client.submit("other", 1);
    const failed: BulkFilter = { state: "failed", type: ["report"] };
    expect(await previewBulk(client, "retry", failed)).toEqual({ action: "retry", count: 3, examples: ids });
    const differs = await bulk(client, "retry", failed, 2).catch((error: AckwireError) => error);
    expect(differs).toMatchObject({ code: "count_differs", message: expect.stringContaining("3 jobs match, not 2") });
    fails = false;
    const order = await bulk(client, "retry", failed, 3, { key: "k" });
    expect(order).toMatchObject({ action: "retry", count: 3, examples: ids });
    const result = (await outcome(client.job(order.jobId).result())) as BulkResult;
    expect(result).toEqual({
      action: "retry", matched: 3, done: 3, skipped: { not_found: 0, changed: 0, refused: 0 }, jobs: [],
    });
    for (const id of ids) expect(await outcome(client.job(id).result())).toBe("printed");
    // The same order again is the same job, though nothing matches any more.
    expect(await bulk(client, "retry", failed, 3, { key: "k" })).toMatchObject({ jobId: order.jobId });
    await bulk(client, "cancel", {}, 1);
    expect((await client.job(waiting.id).get()).state).toBe("cancelled");
    // Without a type bulk actions are not meant.
    expect(await previewBulk(client, "erase", {})).toMatchObject({ count: 4 });
    await bulk(client, "erase", {}, 4);
    expect(await outcome(client.job(waiting.id).get())).toBe("not_found");
  });

  test("are refused as by a real server", async () => {
    const { client } = make();
    for (const [action, filter, expected] of [
      ["run", {}, 1], ["retry", { limit: "3" }, 1], ["retry", { state: "pending" }, 1], ["cancel", { state: "failed" }, 1],
      ["retry", {}, 0],
    ] as const) {
      expect(await outcome(bulk(client, action as "retry", filter, expected)), `${action} ${JSON.stringify(filter)}`).toBe("invalid_frame");
    }
    const grant = await client.grant({ types: ["report"], ttl: 60 });
    const limited = connect({ ...servers[0]!.options, token: grant.token });
    expect(await outcome(previewBulk(limited, "retry", {}))).toBe("forbidden");
  });
});

describe("workers", () => {
  test("are those that the test shows", async () => {
    const { server, client } = make();
    expect(await workers(client)).toMatchObject({ workers: [], lanes: [], truncated: false });
    server.showWorkers({ lanes: [{ lane: "default", workers: 1, slots: 64, running: 7, waiting: 0, oldestWait: 0 }] });
    expect(await workers(client)).toMatchObject({ workers: [], lanes: [{ lane: "default", running: 7 }] });
  });

  test("are shown to who may operate", async () => {
    const { client } = make({ tokens: { t: "alice" } }, "t");
    expect(await outcome(workers(client))).toBe("forbidden");
  });
});
