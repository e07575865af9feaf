// Watches: versions rise, the end is never missed, and a new session goes on behind the last version.

import { describe, expect, test, vi } from "vitest";
import { JobError } from "../../src/index.js";
import { type Any, fakeTime, limits, outcomeOf, pass, read, settle, world } from "./fake.js";

fakeTime(0.5);

const versions = (got: { values: Any[] }) => got.values.map((status) => status.version);

describe("one watch", () => {
  test("versions strictly rise, the status carries its version, and the terminal one is the last", async () => {
    const w = world({ welcome: true });
    const got = read(w.client.watch("j1"));
    await settle();
    const s = w.server.last;
    expect(s.take("subscribe").jobs).toEqual([{ jobId: "j1" }]);
    for (const version of [3, 2, 3, 5, 4]) {
      s.status("j1", version);
      await settle();
    }
    s.status("j1", 9, "completed");
    s.status("j1", 10);
    await settle();
    expect(versions(got)).toEqual([3, 5, 9]);
    expect(got.done).toBe(true);
    expect(s.sent).toEqual([]); // an ended watch needs no unsubscribe
  });

  test("a slow reader sees the latest status, and never misses the end", async () => {
    const w = world({ welcome: true });
    const statuses = w.client.watch("j1");
    const first = statuses.next();
    await settle();
    for (let version = 1; version <= 100; version++) w.server.last.status("j1", version);
    expect((await first).value.version).toBe(1); // it waited
    expect((await statuses.next()).value.version).toBe(100);
    w.server.last.status("j1", 101);
    w.server.last.status("j1", 102, "failed");
    w.server.last.end();
    expect((await statuses.next()).value).toMatchObject({ version: 102, state: "failed" });
    expect(await statuses.next()).toEqual({ value: undefined, done: true });
    expect(await statuses.next()).toEqual({ value: undefined, done: true });
  });

  test("an iterator that is not read holds nothing; break ends the watch at the server", async () => {
    const w = world({ welcome: true });
    w.client.watch("j1");
    await settle();
    expect(w.server.sessions).toHaveLength(0);
    const loop = (async () => {
      for await (const status of w.client.job("j1")) return status;
      return undefined;
    })();
    await settle();
    w.server.last.take("subscribe");
    w.server.last.status("j1", 1);
    expect(await loop).toMatchObject({ version: 1 });
    await settle();
    expect(w.server.last.take("unsubscribe").jobs).toEqual(["j1"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("several calls of next() are answered in order", async () => {
    const w = world({ welcome: true });
    const statuses = w.client.watch("j1");
    const all = [statuses.next(), statuses.next(), statuses.next()].map(outcomeOf);
    await settle();
    w.server.last.status("j1", 1);
    w.server.last.status("j1", 2, "completed");
    await settle();
    expect(all.map((o) => o.value)).toMatchObject([{ value: { version: 1 } }, { value: { version: 2 } }, { done: true }]);
  });

  test("return() ends a next() that waits", async () => {
    const w = world({ welcome: true });
    const statuses = w.client.watch("j1");
    const next = outcomeOf(statuses.next());
    await settle();
    await statuses.return!();
    await settle();
    expect(next.value).toEqual({ value: undefined, done: true });
  });

  test("abort rejects with the reason, once, and keeps no listener", async () => {
    const w = world({ welcome: true });
    const abort = new AbortController();
    const got = read(w.client.watch("j1", { signal: abort.signal }));
    await settle();
    const reason = new Error("enough");
    abort.abort(reason);
    await settle();
    expect(got.error).toBe(reason);
    await expect(w.client.watch("j1", { signal: abort.signal }).next()).rejects.toBe(reason);
  });

  test.each([[undefined, undefined], [7, 7], [0, undefined], [-1, undefined], [NaN, undefined], [7.9, 7]])(
    "after %s", async (after, sent) => {
      const w = world({ welcome: true });
      const got = read(w.client.watch("j1", { after: after as number }));
      await settle();
      expect(w.server.last.take("subscribe").jobs[0].after).toBe(sent);
      w.server.last.status("j1", 7);
      w.server.last.status("j1", 8);
      await settle();
      expect(versions(got).at(-1)).toBe(8);
      await w.client.close();
    },
  );

  test("watches of one job share a subscription, which ends with the last", async () => {
    const w = world({ welcome: true });
    const abort = [new AbortController(), new AbortController()];
    const a = read(w.client.watch("j1", { signal: abort[0]!.signal }));
    await settle();
    w.server.last.status("j1", 4);
    await settle();
    const b = read(w.client.watch("j1", { signal: abort[1]!.signal }));
    await settle();
    expect(versions(b)).toEqual([4]); // what is known is told without asking
    expect(w.server.last.sent).toHaveLength(1);
    abort[0]!.abort();
    await settle();
    expect(w.server.last.sent).toHaveLength(1);
    abort[1]!.abort();
    await settle();
    expect(w.server.last.sent).toHaveLength(2);
    expect(a.done && b.done).toBe(true);
  });

  test("a watch that ends and begins in one turn is unsubscribed first: the server sends no version twice", async () => {
    const w = world({ welcome: true });
    const abort = new AbortController();
    void read(w.client.watch("j1", { signal: abort.signal }));
    await settle();
    w.server.last.sent.length = 0;
    abort.abort();
    void read(w.client.watch("j1"));
    await settle();
    expect(w.server.last.sent.map((f) => f.type)).toEqual(["unsubscribe", "subscribe"]);
  });

  test("an ID in upper case is the same job", async () => {
    const w = world({ welcome: true });
    const id = "019c1db0-01c0-7a54-9d8e-3f1b5c7a9e02";
    expect(w.client.job(id.toUpperCase()).id).toBe(id);
  });
});

describe("reconnect", () => {
  test("every watch goes on behind its last version", async () => {
    const w = world({ welcome: true });
    const got = ["a", "b", "c"].map((id) => read(w.client.watch(id, { after: id === "c" ? 40 : 0 })));
    await settle();
    w.server.last.status("a", 11);
    w.server.last.end();
    await pass(100);
    expect(w.server.last.take("subscribe").jobs).toEqual([{ jobId: "a", after: 11 }, { jobId: "b" }, { jobId: "c", after: 40 }]);
    w.server.last.status("a", 11);
    w.server.last.status("a", 12, "completed");
    await settle();
    expect(versions(got[0]!)).toEqual([11, 12]);
  });

  test("2,500 jobs are asked for in frames of at most 1,000 jobs and the server's bytes", async () => {
    const w = world({ welcome: { limits: { ...limits, frameBytes: 20_000 } } });
    const ids = Array.from({ length: 2_500 }, (_, i) => `019c1db0-01c0-7a54-9d8e-${String(i).padStart(12, "0")}`);
    ids.forEach((id) => void read(w.client.watch(id, { after: Number.MAX_SAFE_INTEGER })));
    await settle();
    const { texts, sent } = w.server.last;
    expect(texts.every((text) => text.length <= 20_000)).toBe(true);
    expect(texts.length).toBeLessThan(15);
    expect(sent.flatMap((f) => f.jobs.map((j: Any) => j.jobId))).toEqual(ids);
    const big = world({ welcome: true });
    ids.forEach((id) => void read(big.client.watch(id)));
    await settle();
    expect(big.server.last.sent.map((f) => f.jobs.length)).toEqual([1000, 1000, 500]);
    await w.client.close();
    await big.client.close();
  });

  test("frames that hold a single job are sent, however small the limit", async () => {
    const w = world({ welcome: { limits: { ...limits, frameBytes: 1 } } });
    ["a", "b"].forEach((id) => void read(w.client.watch(id)));
    await settle();
    expect(w.server.last.sent.map((f) => f.jobs.length)).toEqual([1, 1]);
  });

  test("reset: versions that the log has lost count as none, by an answer or unasked", async () => {
    const w = world({ welcome: true });
    const got = read(w.client.watch("j1"));
    await settle();
    w.server.last.status("j1", 100);
    w.server.last.end();
    await pass(100);
    const { id } = w.server.last.take("subscribe");
    w.server.last.say({ type: "subscribed", id, jobs: [{ jobId: "j1", version: 3, reset: true }] });
    w.server.last.status("j1", 3);
    await settle();
    w.server.last.say({ type: "subscribed", jobs: [{ jobId: "j1", version: 2, reset: true }] });
    w.server.last.status("j1", 2);
    await settle();
    expect(versions(got)).toEqual([100, 3, 2]);
    w.server.last.end();
    await pass(200);
    expect(w.server.last.take("subscribe").jobs).toEqual([{ jobId: "j1", after: 2 }]);
  });
});

describe("refusals", () => {
  test.each([["not_found"], ["limit_exceeded"], ["forbidden"]])("%s for a job ends its watch only", async (code) => {
    const w = world({ welcome: true });
    const [bad, good] = ["bad", "good"].map((id) => read(w.client.watch(id)));
    await settle();
    const { id } = w.server.last.take("subscribe");
    w.server.last.say({ type: "subscribed", id, jobs: [{ jobId: "bad", error: code }, { jobId: "good", version: 1 }] });
    await settle();
    expect(bad!.error).toMatchObject({ code, retryable: false });
    expect(good!.done).toBe(false);
  });

  test("unavailable for a job, or for a frame, is asked again with backoff", async () => {
    const w = world({ welcome: true });
    const got = read(w.client.watch("j1"));
    await settle();
    const s = w.server.last;
    s.say({ type: "subscribed", id: s.take("subscribe").id, jobs: [{ jobId: "j1", error: "unavailable" }] });
    await pass(49);
    expect(s.sent).toEqual([]);
    await pass(1);
    s.say({ type: "error", id: s.take("subscribe").id, code: "rate_limited", title: "", retryable: true, retryAfter: 2 });
    await pass(2_099);
    expect(s.sent).toEqual([]);
    await pass(1);
    s.say({ type: "subscribed", id: s.take("subscribe").id, jobs: [{ jobId: "j1", version: 1 }] });
    s.status("j1", 1, "completed");
    await settle();
    expect(versions(got)).toEqual([1]);
  });

  test("a frame that is refused for good is halved until the culprit stands alone", async () => {
    const w = world({ welcome: true });
    const ids = Array.from({ length: 8 }, (_, i) => `j${i}`);
    const got = ids.map((id) => read(w.client.watch(id)));
    for (let i = 0; i < 20; i++) {
      await settle();
      const frame = w.server.last.sent.shift();
      if (!frame) break;
      if (frame.jobs.some((j: Any) => j.jobId === "j5")) {
        w.server.last.say({ type: "error", id: frame.id, code: "invalid_frame", title: "", retryable: false });
      } else {
        w.server.last.say({ type: "subscribed", id: frame.id, jobs: frame.jobs.map((j: Any) => ({ ...j, version: 1 })) });
      }
    }
    expect(got.map((g) => g.done)).toEqual(ids.map((id) => id === "j5"));
    expect(got[5]!.error).toMatchObject({ code: "invalid_frame" });
    await w.client.close();
  });
});

describe("a job that was submitted", () => {
  async function submitted(options = {}) {
    const w = world({ welcome: true });
    const submit = outcomeOf(w.client.submit("t", 1, options));
    await settle();
    w.server.last.ack(w.server.last.take("submit").id, "j1");
    return { ...w, s: w.server.last, job: async () => (await settle(), submit.value!) };
  }

  test("is followed from its ack on: a status behind the ack, in the same turn, is not missed", async () => {
    const w = await submitted();
    w.s.status("j1", 2);
    w.s.status("j1", 3, "completed", {});
    const job = await w.job();
    const got = read(job);
    await settle();
    expect(versions(got)).toEqual([3]);
    expect(versions(read(job))).toEqual([]);
    const again = read(job); // the end is told again without asking
    await settle();
    expect(versions(again)).toEqual([3]);
    expect(w.s.sent).toEqual([]);
  });

  test("that nobody watches keeps no connection, and is asked for when it is watched after a reconnect", async () => {
    const w = await submitted();
    const job = await w.job();
    expect(vi.getTimerCount()).toBe(0);
    w.s.end();
    await pass(60_000);
    expect(w.server.sessions).toHaveLength(1);
    const got = read(job);
    await settle();
    expect(w.server.last.take("subscribe").jobs).toEqual([{ jobId: "j1" }]);
    w.server.last.status("j1", 7, "completed");
    await settle();
    expect(versions(got)).toEqual([7]);
  });

  test("watch: false begins none", async () => {
    const w = await submitted({ watch: false });
    void read(await w.job());
    await settle();
    expect(w.s.take("subscribe").jobs).toEqual([{ jobId: "j1" }]);
  });

  test("wait, and result: inline, or a JobError with the status", async () => {
    const w = await submitted();
    const job = await w.job();
    const [wait, result] = [outcomeOf(job.wait()), outcomeOf(job.result())];
    w.s.say({ type: "status", version: 5, job: { jobId: "j1", type: "t", state: "completed", result: { rows: 3 } } });
    await settle();
    expect(wait.value).toMatchObject({ state: "completed", version: 5 });
    expect(result.value).toEqual({ rows: 3 });
    const failed = outcomeOf(w.client.result("j2"));
    const cancelled = outcomeOf(w.client.result("j3"));
    await settle();
    w.s.say({ type: "status", version: 6, job: { jobId: "j2", type: "t", state: "failed", error: { code: "boom", message: "it broke", retryable: true } } });
    w.s.status("j3", 2, "cancelled");
    await settle();
    expect(failed.error).toBeInstanceOf(JobError);
    expect(failed.error).toMatchObject({ code: "boom", message: "it broke", retryable: true, status: { version: 6 } });
    expect(cancelled.error).toMatchObject({ name: "JobError", code: "cancelled", retryable: false });
  });

  test("wait and result end by their signal", async () => {
    const w = await submitted();
    const job = await w.job();
    const abort = new AbortController();
    const all = [job.wait({ signal: abort.signal }), job.result({ signal: abort.signal })].map(outcomeOf);
    await settle();
    abort.abort(new Error("enough"));
    await settle();
    expect(all.map((o) => o.error.message)).toEqual(["enough", "enough"]);
  });
});

describe("a job as a store", () => {
  test("it watches while it has subscribers; its snapshot is the same object until the next change", async () => {
    const w = world({ welcome: true });
    const job = w.client.job("j1");
    const { subscribe, snapshot } = job; // without a receiver
    expect(snapshot()).toEqual({ status: undefined, error: undefined });
    expect(snapshot()).toBe(w.client.job("j2").snapshot()); // the same for all of which nothing is known
    await settle();
    expect(w.server.sessions).toHaveLength(0);
    let calls = 0;
    const changed = () => calls++;
    const stops = [subscribe(changed), subscribe(changed)];
    expect(w.client.job("j1")).toBe(job);
    await settle();
    w.server.last.status("j1", 1);
    const one = snapshot();
    expect(one.status!.version).toBe(1);
    expect(calls).toBe(2);
    w.server.last.status("j1", 1);
    expect(snapshot()).toBe(one);
    stops.forEach((stop) => (stop(), stop()));
    await settle();
    expect(w.server.last.sent.map((f) => f.type)).toEqual(["subscribe", "unsubscribe"]);
    const stop = subscribe(changed);
    await settle();
    expect(w.server.last.sent.at(-1).jobs).toEqual([{ jobId: "j1", after: 1 }]);
    expect(snapshot()).toBe(one);
    stop();
  });

  test("after the end nothing is asked, until the job is opened again through the client", async () => {
    const w = world({ welcome: true });
    const job = w.client.job("j1");
    const stop = job.subscribe(() => {});
    await settle();
    const s = w.server.last;
    s.take("subscribe");
    s.status("j1", 5, "failed");
    await settle();
    expect(job.snapshot().status!.state).toBe("failed");
    expect(vi.getTimerCount()).toBe(0);
    stop();
    job.subscribe(() => {});
    await settle();
    expect(s.sent).toEqual([]);
    const retry = outcomeOf(w.client.retry("j1"));
    await settle();
    s.ack(s.take("retry").id, "j1", { state: "queued" });
    await settle();
    expect(retry.value).toBe("queued");
    expect(s.take("subscribe").jobs).toEqual([{ jobId: "j1", after: 5 }]);
    s.status("j1", 6, "queued");
    expect(job.snapshot().status).toMatchObject({ version: 6, state: "queued" });
  });

  test("one ID, two handles: job() finds the first, and a retry opens both again", async () => {
    const w = world({ welcome: true });
    const both = [w.client.job("j1"), w.client.job("j1")];
    expect(both[0]).not.toBe(both[1]);
    const stops = both.map((job) => job.subscribe(() => {}));
    expect(w.client.job("j1")).toBe(both[0]);
    await settle();
    const s = w.server.last;
    s.take("subscribe");
    s.status("j1", 5, "failed");
    void outcomeOf(w.client.retry("j1"));
    await settle();
    s.ack(s.take("retry").id, "j1", { state: "queued" });
    await settle();
    s.status("j1", 6, "queued");
    expect(both.map((job) => job.snapshot().status!.version)).toEqual([6, 6]);
    stops[0]!();
    expect(w.client.job("j1")).toBe(both[1]);
    stops[1]!();
    expect(both).not.toContain(w.client.job("j1"));
  });

  test("why it cannot be watched is in the snapshot", async () => {
    const w = world({ welcome: true });
    const job = w.client.job("j1");
    job.subscribe(() => {});
    await settle();
    w.server.last.say({ type: "subscribed", id: w.server.last.take().id, jobs: [{ jobId: "j1", error: "not_found" }] });
    expect(job.snapshot().error).toMatchObject({ code: "not_found" });
    const bad = w.client.job("a b");
    bad.subscribe(() => {});
    expect(bad.snapshot().error).toMatchObject({ code: "not_found" });
    await w.client.close();
    const late = w.client.job("j3");
    late.subscribe(() => {});
    expect(late.snapshot().error).toMatchObject({ code: "closed" });
  });

  test("a listener that throws stops neither the others nor the client", async () => {
    const thrown: unknown[] = [];
    const listener = (error: unknown) => void thrown.push(error);
    process.on("unhandledRejection", listener);
    const w = world({ welcome: true });
    const job = w.client.job("j1");
    let calls = 0;
    job.subscribe(() => {
      throw new Error("mine");
    });
    job.subscribe(() => calls++);
    await settle();
    w.server.last.status("j1", 1);
    w.server.last.status("j1", 2);
    vi.useRealTimers();
    await new Promise((resolve) => setImmediate(resolve));
    expect(calls).toBe(2);
    expect(thrown).toHaveLength(2);
    await w.client.close();
    await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", listener);
  });
});
