// The watch of all jobs of the token's subject.

import { expect, test, vi } from "vitest";
import type { Status } from "../../src/types.js";
import { type Any, type FakeSession, fakeTime, outcomeOf, pass, read, settle, world } from "./fake.js";

fakeTime(0.5);

const mine = { mine: true };
const seen = (got: { values: Any[] }) => got.values.map((s) => `${s.jobId}@${s.version}`);

/** Answers the next subscribe of all jobs, and returns it. */
function subscribed(s: FakeSession, members: object = {}): Any {
  const frame = s.take("subscribe");
  if (frame.mine !== true) throw new Error(JSON.stringify(frame));
  s.say({ type: "subscribed", id: frame.id, jobs: [], mine: true, ...members });
  return frame;
}

test("all jobs, versions rising per job; a slow reader sees the latest of each", async () => {
  const w = world({ welcome: true });
  const all = w.client.mine();
  const first = all.next();
  await settle();
  expect(subscribed(w.server.last)).not.toHaveProperty("after");
  w.server.last.status("a", 1, "queued", mine);
  expect((await first).value).toMatchObject({ jobId: "a", version: 1 });
  for (let version = 2; version < 50; version++) {
    w.server.last.status("a", version, "processing", mine);
    w.server.last.status("b", version, "processing", mine);
    w.server.last.status("b", version - 1, "processing", mine);
  }
  w.server.last.status("c", 1); // of a watch, not of this
  const rest = [await all.next(), await all.next()].map((r) => `${r.value!.jobId}@${r.value!.version}`);
  expect(rest).toEqual(["a@49", "b@49"]);
  const waits = outcomeOf(all.next());
  await settle();
  expect(waits.done).toBe(false);
  await all.return!();
  await settle();
  expect(w.server.last.take("unsubscribe")).toMatchObject(mine);
  expect(vi.getTimerCount()).toBe(1); // for the answer
});

test("several readers share one subscription", async () => {
  const w = world({ welcome: true });
  const [a, b] = [read(w.client.mine()), read(w.client.mine())];
  await settle();
  subscribed(w.server.last);
  w.server.last.status("a", 1, "queued", mine);
  await settle();
  expect([seen(a), seen(b)]).toEqual([["a@1"], ["a@1"]]);
  expect(w.server.last.sent).toEqual([]);
});

test("a new session goes on from the cursor", async () => {
  const w = world({ welcome: true });
  const got = read(w.client.mine());
  await settle();
  subscribed(w.server.last);
  w.server.last.say({ type: "cursor", cursor: "c1" });
  w.server.last.status("a", 5, "queued", mine);
  w.server.last.say({ type: "cursor", cursor: "c2" });
  w.server.last.end();
  await pass(100);
  expect(subscribed(w.server.last).after).toBe("c2");
  w.server.last.status("a", 5, "queued", mine); // within a minute before they may come again
  w.server.last.status("a", 6, "queued", mine);
  await settle();
  expect(seen(got)).toEqual(["a@5", "a@6"]);
});

test("a renewed token that does not permit the watch any more ends it", async () => {
  const w = world({ welcome: true });
  const got = read(w.client.mine());
  await settle();
  subscribed(w.server.last);
  w.server.last.say({ type: "unsubscribed", id: "none", jobs: [], mine: true, error: "forbidden" }); // an answer
  await settle();
  expect(got.error).toBeUndefined();
  w.server.last.say({ type: "unsubscribed", jobs: [], mine: true, error: "forbidden" });
  await settle();
  expect(got.error).toMatchObject({ code: "forbidden" });
});

test("reset: what was seen is not of this log", async () => {
  const w = world({ welcome: true, fetch: (async () => new Response('{"jobs":[]}')) as any });
  const got = read(w.client.mine());
  await settle();
  subscribed(w.server.last);
  w.server.last.say({ type: "cursor", cursor: "c1" });
  w.server.last.status("a", 50, "queued", mine);
  w.server.last.end();
  await pass(100);
  subscribed(w.server.last, { reset: true });
  w.server.last.status("a", 3, "queued", mine);
  await settle();
  expect(seen(got)).toEqual(["a@50", "a@3"]);
  w.server.last.end();
  await pass(200);
  expect(subscribed(w.server.last)).not.toHaveProperty("after");
});

test("without a cursor the jobs that changed in the gap are listed and read", async () => {
  const asked: string[] = [];
  const document = (jobId: string, updatedAt: string) => ({ jobId, type: "t", state: "queued", updatedAt });
  let fail = 1;
  const fetch = (async (url: string) => {
    asked.push(decodeURIComponent(url.replace("https://jobs.example/v1/", "")));
    if (fail-- > 0) return new Response("", { status: 503 });
    if (url.includes("cursor")) return Response.json({ jobs: [document("gone", "u9"), document("b", "u1")], asOf: "" });
    if (url.includes("?")) return Response.json({ jobs: [document("a", "u2")], nextCursor: "next", asOf: "" });
    if (url.endsWith("gone")) return Response.json({ code: "not_found", title: "" }, { status: 404 });
    return Response.json(document("a", "u2"), { headers: { ETag: '"7"' } });
  }) as any;
  const w = world({ welcome: true, fetch });
  const got = read(w.client.mine());
  await settle();
  subscribed(w.server.last);
  w.server.last.say({ type: "status", version: 3, job: document("b", "u1"), mine: true });
  await settle();
  const lost = Date.now();
  w.server.last.end();
  await pass(100);
  subscribed(w.server.last);
  await pass(0);
  expect(asked).toHaveLength(1); // unavailable: asked again
  await pass(100);
  subscribed(w.server.last);
  await settle();
  expect(asked[1]).toBe(`jobs?mine=true&updatedAfter=${new Date(lost - 60_000).toISOString()}`);
  expect(asked.slice(2)).toEqual(["jobs/a", `jobs?mine=true&updatedAfter=${new Date(lost - 60_000).toISOString()}&cursor=next`, "jobs/gone"]);
  expect(seen(got)).toEqual(["b@3", "a@7"]);
});

test("unavailable is asked again, a refusal for good ends it", async () => {
  const w = world({ welcome: true });
  const got = read(w.client.mine());
  await settle();
  const refuse = (code: string, retryable: boolean) =>
    w.server.last.say({ type: "error", id: w.server.last.take("subscribe").id, code, title: "", retryable });
  refuse("unavailable", true);
  await pass(200);
  refuse("forbidden", false);
  await settle();
  expect(got.error).toMatchObject({ code: "forbidden" });
  await settle();
  expect(w.server.last.sent).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});

/** Reads to the end, which is limit_exceeded; returns how many documents came before. */
async function tooSlow(all: AsyncIterable<Status>): Promise<number> {
  let n = 0;
  const read = async () => {
    for await (const _ of all) n++;
  };
  await expect(read()).rejects.toMatchObject({ code: "limit_exceeded" });
  return n;
}

test("a loop that takes fewer documents than come ends with limit_exceeded", async () => {
  const w = world({ welcome: true });
  const all = w.client.mine();
  const first = all.next();
  await settle();
  subscribed(w.server.last);
  for (let i = 0; i <= 10_001; i++) w.server.last.status(`j${i}`, 1, "queued", mine);
  await first;
  expect(await tooSlow(all)).toBe(10_000);
});

test("a watch of a job that this has brought starts with that: a server sends no version twice", async () => {
  const w = world({ welcome: true });
  void read(w.client.mine());
  await settle();
  subscribed(w.server.last);
  w.server.last.status("a", 5, "processing", mine);
  w.server.last.status("b", 6, "completed", mine);
  const [a, b] = [read(w.client.watch("a")), read(w.client.watch("b"))];
  await settle();
  expect([seen(a), seen(b), b.done]).toEqual([["a@5"], ["b@6"], true]);
  expect(w.server.last.take("subscribe").jobs).toEqual([{ jobId: "a", after: 5 }]);
  w.server.last.status("a", 7, "completed", mine);
  await settle();
  expect(seen(a)).toEqual(["a@5", "a@7"]);
});

test("abort ends it with the reason", async () => {
  const w = world({ welcome: true });
  const abort = new AbortController();
  const got = read(w.client.mine({ signal: abort.signal }));
  await settle();
  abort.abort(new Error("enough"));
  await settle();
  expect(got.error.message).toBe("enough");
});

// Documents of 250,000 characters: 32 of them are more than the 8 million that are kept.
const result = "x".repeat(250_000);
const large = (s: FakeSession, jobId: string, version = 1) =>
  s.say({ type: "status", version, job: { jobId, type: "t", state: "processing", result }, ...mine });

test("a loop that takes fewer bytes than come ends with limit_exceeded", async () => {
  const w = world({ welcome: true });
  const all = w.client.mine();
  const first = all.next();
  await settle();
  subscribed(w.server.last);
  for (let version = 1; version < 100; version++) large(w.server.last, "a", version); // the latest takes its place
  await first;
  expect((await all.next()).value).toMatchObject({ jobId: "a", version: 99 });
  for (let i = 0; i < 40; i++) large(w.server.last, `j${i}`);
  expect(await tooSlow(all)).toBe(31); // 7.75 million characters
}, 60_000);

test("a document that was forgotten for its bytes is asked for in a new session", async () => {
  const w = world({ welcome: true });
  const got = read(w.client.mine());
  await settle();
  const first = w.server.last;
  subscribed(first);
  first.say({ type: "cursor", cursor: "c1" });
  for (let i = 0; i < 40; i++) {
    large(first, `j${i}`);
    await settle(); // the loop takes it
  }
  first.say({ type: "cursor", cursor: "c2" });
  const kept = read(w.client.watch("j39"));
  await settle();
  expect([seen(kept), w.server.sessions.length]).toEqual([["j39@1"], 1]);
  expect(first.take("subscribe").jobs).toEqual([{ jobId: "j39", after: 1 }]);

  const lost = [read(w.client.watch("j0")), read(w.client.watch("j1"))];
  await settle();
  expect(w.server.sessions).toHaveLength(2);
  const second = w.server.last;
  expect(subscribed(second).after).toBe("c2");
  expect(second.take("subscribe").jobs).toEqual([{ jobId: "j0" }, { jobId: "j1" }, { jobId: "j39", after: 1 }]);
  for (const jobId of ["j0", "j1"]) large(second, jobId);
  await settle();
  expect([lost.map(seen), first.ended]).toEqual([[["j0@1"], ["j1@1"]], true]);
  expect(seen(got)).toHaveLength(40); // each once

  const again = read(w.client.watch("j2")); // this session has not brought it: the server sends it
  const known = read(w.client.watch("j1"));
  await settle();
  expect([w.server.sessions.length, seen(again), seen(known)]).toEqual([2, [], ["j1@1"]]);
}, 60_000);

test("a job whose version was forgotten may have been told: a watch of it takes a new session", async () => {
  const w = world({ welcome: true });
  void read(w.client.mine());
  await settle();
  subscribed(w.server.last);
  const updatedAt = "2026-01-01T00:00:00Z".padEnd(10_000, "0");
  for (let i = 0; i < 1000; i++) {
    w.server.last.say({ type: "status", version: 1, job: { jobId: `j${i}`, state: "queued", updatedAt }, ...mine });
    await null; // the loop takes it
  }
  await settle();
  void read(w.client.watch("j999"));
  await settle();
  expect(w.server.sessions).toHaveLength(1);
  void read(w.client.watch("j0"));
  await settle();
  expect(w.server.sessions).toHaveLength(2);
}, 60_000);

test("a second watch of a job takes a new session where the first was before: no version is sent twice", async () => {
  const w = world({ welcome: true });
  const before = read(w.client.watch("a"));
  await settle();
  w.server.last.take("subscribe");
  w.server.last.status("a", 3, "completed");
  await settle();
  expect(before.done).toBe(true);
  const all = read(w.client.mine());
  await settle();
  subscribed(w.server.last);
  const other = read(w.client.watch("b")); // which this session has not watched
  await settle();
  expect(w.server.last.take("subscribe").jobs).toEqual([{ jobId: "b" }]);
  expect(w.server.sessions).toHaveLength(1);

  const again = read(w.client.watch("a"));
  await settle();
  expect(w.server.sessions).toHaveLength(2);
  subscribed(w.server.last);
  expect(w.server.last.take("subscribe").jobs).toEqual([{ jobId: "a" }, { jobId: "b" }]);
  w.server.last.status("a", 3, "completed", mine);
  await settle();
  expect([seen(again), again.done, seen(all), seen(other)]).toEqual([["a@3"], true, ["a@3"], []]);

  void read(w.client.watch("a")); // from what the watch of all jobs has brought
  await settle();
  expect(w.server.sessions).toHaveLength(2);
});

test("jobs that are watched beside all jobs take no new session, however many they are", async () => {
  const w = world({ welcome: true });
  void read(w.client.mine());
  await settle();
  subscribed(w.server.last);
  for (let i = 0; i < 3000; i++) {
    const waiting = w.client.job(`j${i}`).wait();
    await null;
    w.server.last.status(`j${i}`, 1, "completed", mine);
    await waiting;
  }
  await settle();
  expect(w.server.sessions).toHaveLength(1);
}, 60_000);
