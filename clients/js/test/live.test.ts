// Lists that are followed: what a reader knows at rest is what a full list says, whatever happens to sessions.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { connect, fallback, type Ackwire, type AckwireError, type Status, type Transport } from "../src/index.js";
import { watchList, type ListUpdate } from "../src/operate/index.js";
import { createServer, type TestServer } from "../src/testing/index.js";
import type { Session } from "../src/types.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function pass(ms: number): Promise<void> {
  for (let at = 0; at < ms; at += 50) {
    await vi.dynamicImportSettled();
    await vi.advanceTimersByTimeAsync(50);
  }
}

/** Follows a list, and keeps its rows. */
function follow(client: Ackwire, query = {}) {
  const rows = new Map<string, string>();
  const updates: ListUpdate[] = [];
  const state = { rows, updates, error: undefined as AckwireError | undefined, ended: false };
  const reader = watchList(client, query);
  void (async () => {
    try {
      for await (const update of reader) {
        updates.push(update);
        if (update.listed) rows.clear();
        for (const { jobId, version, state } of update.jobs) rows.set(jobId, `${state}@${version}`);
        for (const id of update.left) rows.delete(id);
      }
    } catch (error) {
      state.error = error as AckwireError;
    }
    state.ended = true;
  })();
  return Object.assign(state, { stop: () => reader.return!() });
}

const full = async (client: Ackwire, query = {}) => {
  const page = (await client.list({ limit: 500, ...query })) as unknown as { jobs: Status[]; versions?: number[] };
  return new Map(page.jobs.map(({ jobId, state }, i) => [jobId, `${state}@${page.versions![i]}`]));
};

const open = ({ url, fetch, transport }: TestServer) => connect({ url, fetch, transports: [transport] });

test("rows come and go, and a lost session is made up for", async () => {
  const server = createServer({ types: ["a", "b"] });
  const client = open(server);
  const other = open(server);
  await Promise.all([client.submit("a", 1, { watch: false }), pass(500)]);
  const all = follow(client, { limit: 500 });
  const open_ = follow(client, { state: ["pending", "processing"], type: "a", createdAfter: new Date(0) });
  await pass(500);
  expect([all.updates.length, all.updates[0]!.listed, all.rows.size, open_.rows.size]).toEqual([1, true, 1, 1]);
  expect(all.updates[0]!.nextCursor).toBe(undefined); // nothing else matches
  const jobs = [];
  for (let i = 0; i < 5; i++) {
    const [job] = await Promise.all([other.submit(i % 2 ? "a" : "b", i, { watch: false }), pass(200)]);
    jobs.push(job);
  }
  expect([all.rows.size, open_.rows.size]).toEqual([6, 3]);
  await Promise.all([other.cancel(jobs[1]!.id), pass(200)]);
  expect(all.rows).toEqual(await full(client));
  expect(open_.rows).toEqual(await full(client, { state: ["pending", "processing"], type: "a" }));
  expect(open_.updates.at(-1)!.left).toEqual([jobs[1]!.id]);
  await Promise.all([other.erase(jobs[1]!.id), pass(200)]);
  expect(all.rows.has(jobs[1]!.id)).toBe(false);

  const listed = all.updates.filter((u) => u.listed).length;
  server.cut();
  void other.submit("a", 9, { watch: false });
  await pass(20_000);
  expect(all.rows).toEqual(await full(client));
  expect(open_.rows).toEqual(await full(client, { state: ["pending", "processing"], type: "a" }));
  expect(all.updates.filter((u) => u.listed).length).toBe(listed + 1);

  const short = follow(client, { limit: 3 });
  await pass(500);
  const cursor = short.updates[0]!.nextCursor!;
  const older = (await client.list({ limit: 500, cursor })).jobs.map((job) => job.jobId);
  expect([...short.rows.keys(), ...older].sort()).toEqual([...all.rows.keys()].sort());
  expect(older.length).toBeGreaterThan(0);
  for (const list of [all, open_, short]) list.stop();
  await pass(500);
  expect(all.ended && open_.ended).toBe(true);
  expect(server.sessions.at(-1)!.received.filter(({ type }) => type === "unwatchList").length +
    server.sessions.at(-2)!.received.filter(({ type }) => type === "unwatchList").length).toBe(3);
  await Promise.all([client.close(), other.close()]);
});

test("what is refused ends it, and so does the client", async () => {
  const server = createServer({ types: ["a"] });
  const client = open(server);
  const wrong = [{ cursor: "x" }, { limit: 501 }, { limit: 0 }, { state: "lost", colour: "red" }].map((query) => follow(client, query));
  await pass(1000);
  expect(wrong.map(({ error }) => error?.code)).toEqual(Array(4).fill("invalid_frame"));
  const list = follow(client);
  await pass(500);
  await client.close();
  await pass(100);
  expect(list.error?.code).toBe("closed");
  const { url, fetch } = server;
  const plain = connect({ url, fetch, transports: [fallback()] });
  const over = follow(plain);
  await pass(2000);
  expect(over.error?.retryable).toBe(false);
  await plain.close();
});

/** A session that a test plays: what the client sends, and what it is told. */
function played() {
  const sent: any[] = [];
  let session: { frame: (text: string) => void; closed: (code: number, reason: string) => void };
  const transport: Transport = {
    name: "played",
    open(_, events): Session {
      session = events;
      queueMicrotask(() => events.frame('{"type":"welcome","connection":"c","protocol":"ackwire.v1","pingInterval":25}'));
      return {
        send: (text) => {
          const frame = JSON.parse(text);
          sent.push(frame);
          if (frame.type === "watchList") tell({ type: "listWatched", id: frame.id, list: frame.list });
          if (frame.type === "ping") tell({ type: "pong", id: frame.id });
        },
        close: () => {},
      };
    },
  };
  const tell = (frame: object) => queueMicrotask(() => session.frame(JSON.stringify(frame)));
  return { transport, sent, tell };
}

const job = (jobId: string, state = "processing") => ({ jobId, type: "a", state, attempt: 1, maxAttempts: 1, createdAt: "2026-01-01T00:00:00Z", updatedAt: "2026-01-01T00:00:00Z" });

test("a listing is as true as what is told beside it: versions decide", async () => {
  const { transport, sent, tell } = played();
  let answer: (page: object) => void = () => {};
  const asked: string[] = [];
  const fetch = ((url: string) => {
    asked.push(url);
    return new Promise((resolve) => (answer = (page) => resolve(new Response(JSON.stringify(page), { headers: { ETag: '"9"' } }))));
  }) as unknown as typeof globalThis.fetch;
  const client = connect({ url: "https://jobs.example", transports: [transport], fetch });
  const list = follow(client, { type: "a", limit: 3 });
  await pass(500);
  expect(sent[0]).toMatchObject({ type: "watchList", list: "l1", filter: { type: "a" } });
  expect(asked).toEqual(["https://jobs.example/v1/jobs?type=a&limit=3"]);
  tell({ type: "listChanged", list: "l1", rows: [{ version: 5, job: job("old") }, { version: 8, job: job("new") }], left: [{ jobId: "gone", version: 7 }] });
  await pass(200);
  expect(list.updates).toEqual([]); // nothing before the listing
  answer({ jobs: [job("old"), job("new", "pending"), job("gone")], versions: [6, 7, 6], asOf: "" });
  await pass(200);
  expect(list.updates.map(({ listed, jobs, left }) => [listed, jobs.map((j) => j.jobId + j.version).join(), left.join()])).toEqual([
    [true, "old6,new7", ""], [false, "new8", "gone"],
  ]);
  // A document that is too large to be told is asked for.
  tell({ type: "listChanged", list: "l1", rows: [{ jobId: "large", version: 9 }] });
  await pass(200);
  expect(asked.at(-1)).toBe("https://jobs.example/v1/jobs/large");
  answer(job("large"));
  await pass(200);
  expect(list.rows.get("large")).toBe("processing@9");
  // Too much has changed: the list is asked for again, once a second at most.
  const before = asked.length;
  for (let i = 0; i < 20; i++) tell({ type: "listChanged", list: "l1", again: true, missed: 10 });
  await pass(200);
  expect(asked.length).toBe(before + 1);
  tell({ type: "listChanged", list: "l1", again: true, missed: 10 });
  answer({ jobs: [], asOf: "" });
  await pass(500);
  expect(asked.length).toBe(before + 1);
  await pass(1000);
  expect(asked.length).toBe(before + 2);
  answer({ jobs: [job("x")], versions: [20], asOf: "" });
  await pass(200);
  const last = list.updates.at(-1)!;
  expect([last.listed, last.jobs.length, last.missed]).toEqual([true, 1, expect.any(Number)]);
  expect(list.updates.filter((u) => u.listed).reduce((sum, { missed }) => sum + missed, 0)).toBe(210);
  // What makes no sense is counted, and stops nothing.
  tell({ type: "listChanged", list: "l1", rows: [{ version: -1, job: job("y") }, {}], left: [{}] });
  tell({ type: "listChanged", list: "l1", rows: 7 });
  tell({ type: "listChanged", list: "another", rows: [{ version: 1, job: job("z") }] });
  await pass(200);
  expect([list.rows.size, client.connection.snapshot().badFrames]).toEqual([1, 2]);
  // The renewed token does not cover it.
  tell({ type: "listUnwatched", list: "l1", error: "forbidden" });
  await pass(200);
  expect(list.error?.code).toBe("forbidden");
  await client.close();
});

test("a reader that takes nothing costs a bounded memory", async () => {
  const { transport, tell } = played();
  let listed = 0;
  const fetch = (async () => {
    listed++;
    return new Response('{"jobs":[],"asOf":""}');
  }) as unknown as typeof globalThis.fetch;
  const client = connect({ url: "https://jobs.example", transports: [transport], fetch });
  const reader = watchList(client);
  const first = reader.next();
  await pass(500);
  expect((await first).value!.listed).toBe(true);
  for (let n = 0; n < 50; n++) {
    tell({ type: "listChanged", list: "l1", rows: Array.from({ length: 100 }, (_, i) => ({ version: 1, job: job(`j${n}-${i}`) })) });
    await pass(50);
  }
  await pass(2000);
  const { value } = await reader.next();
  expect([value!.listed, value!.missed > 2000, listed > 1]).toEqual([true, true, true]);
  await reader.return!();
  await client.close();
});
