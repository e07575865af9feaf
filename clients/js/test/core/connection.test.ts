// The connection: when it is opened, when it comes back, and when it is given up.

import { describe, expect, test, vi } from "vitest";
import { AckwireError, ClosedError } from "../../src/index.js";
import { fakeTime, outcomeOf, pass, read, settle, watching, type World, world } from "./fake.js";

fakeTime(0.999999);

const state = (w: World) => w.client.connection.snapshot().state;

describe("opening", () => {
  test("nothing is opened before it is needed, and there is no timer", async () => {
    const w = world({ welcome: true });
    await pass(600_000);
    expect(w.server.sessions).toHaveLength(0);
    expect(vi.getTimerCount()).toBe(0);
    expect(state(w)).toBe("idle");
  });

  test("an idle session stays open without a timer, and is not opened again when it ends", async () => {
    const w = world({ welcome: true });
    const abort = new AbortController();
    const got = read(w.client.watch("j1", { signal: abort.signal }));
    await settle();
    abort.abort();
    await pass(3_600_000);
    expect(got.done).toBe(true);
    expect(state(w)).toBe("open");
    expect(vi.getTimerCount()).toBe(0);
    w.server.last.end(1001);
    await pass(3_600_000);
    expect(w.server.sessions).toHaveLength(1);
    expect(state(w)).toBe("idle");
  });

  test.each([
    ["https://jobs.example", "https://jobs.example", ""],
    ["wss://jobs.example/", "https://jobs.example", ""],
    ["ws://jobs.example:8080/v1/ws", "http://jobs.example:8080", ""],
    ["http://jobs.example/proxy/v1/ws/?region=eu", "http://jobs.example/proxy", "?region=eu"],
    ["WSS://jobs.example/a/b/", "https://jobs.example/a/b", ""],
  ])("the address %s", async (url, base, query) => {
    const w = world({ url, welcome: true });
    void outcomeOf(w.client.submit("t", 1));
    await settle();
    expect(w.server.last.target).toMatchObject({ base, query });
  });

  test.each([["ftp://x"], [""], ["jobs.example"], [undefined]])("no address: %s", (url) => {
    expect(() => world({ url: url as string })).toThrow(TypeError);
  });

  test("an attempt ends after 15 s without a welcome, and another follows", async () => {
    const w = world();
    void read(w.client.watch("j1"));
    await settle();
    expect(state(w)).toBe("connecting");
    await pass(15_000);
    expect(w.server.sessions[0]!.closedBy).toBe(4001);
    await pass(100);
    expect(w.server.sessions).toHaveLength(2);
  });
});

describe("backoff", () => {
  test("full jitter between 0 and min(cap, base × 2^failures), without an end", async () => {
    const w = world({ backoff: { base: 100, cap: 5_000 } });
    const opened: number[] = [];
    w.server.opened = (s) => {
      opened.push(Date.now());
      queueMicrotask(() => s.end());
    };
    void read(w.client.watch("j1"));
    await pass(120_000);
    const waits = opened.slice(1).map((time, i) => time - opened[i]!);
    expect(waits.slice(0, 8)).toEqual([100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    expect(opened.length).toBeGreaterThan(25);
    vi.mocked(Math.random).mockReturnValue(0.01);
    const before = opened.length;
    await pass(5_000);
    expect(opened.length).toBeGreaterThan(before + 50); // the jitter reaches far down
    expect(w.client.connection.snapshot()).toMatchObject({ transport: "fake", error: { code: "closed" } });
    await w.client.close();
  });

  test("a session that is welcomed and closed at once is not met with a tight loop", async () => {
    const w = world({ backoff: { base: 100, cap: 1_000 } });
    w.server.opened = (s) => queueMicrotask(() => s.ended || (s.welcome(), s.end(1001)));
    void read(w.client.watch("j1"));
    await pass(10_000);
    expect(w.server.sessions.length).toBeLessThan(15);
    await w.client.close();
  });

  test("a session that lasted as long as the cap begins the waits anew", async () => {
    const w = await watching({ backoff: { base: 100, cap: 1_000 } });
    for (let i = 0; i < 5; i++) {
      w.server.last.end(1001);
      await pass(1_000);
    }
    await pass(1_000);
    w.server.last.status("j1", 1);
    w.server.last.end(1001);
    const before = w.server.sessions.length;
    await pass(100);
    expect(w.server.sessions).toHaveLength(before + 1);
  });
});

describe("close codes", () => {
  test.each([
    [1000, true], [1001, true], [1002, false], [1003, false], [1005, true], [1006, true], [1007, false], [1008, false],
    [1009, false], [1011, true], [1012, true], [1013, true], [3000, true], [4000, true], [4001, true], [4002, true],
    [4499, true], [4500, false], [4501, false], [4502, false], [4503, false], [4999, false],
  ])("%i: reconnect %s", async (code, again) => {
    const w = await watching();
    w.server.last.end(code, "because");
    await pass(1_000);
    expect(w.server.sessions).toHaveLength(again ? 2 : 1);
    expect(state(w)).toBe(again ? "open" : "closed");
    if (again) return;
    expect(w.got.error).toBeInstanceOf(ClosedError);
    expect(w.got.error.closeCode).toBe(code);
    expect(w.client.connection.snapshot().error).toBe(w.got.error);
    await expect(w.client.submit("t", 1)).rejects.toBe(w.got.error);
    await expect(w.client.get("j1")).rejects.toBe(w.got.error);
    expect(read(w.client.mine())).toBeDefined();
    expect(vi.getTimerCount()).toBe(0);
  });

  test("the error frame before a close explains it", async () => {
    const w = await watching();
    w.server.last.say({ type: "error", code: "limit_exceeded", title: "Limit exceeded", retryable: false });
    w.server.last.end(4503, "session_limit");
    await settle();
    expect(w.got.error).toMatchObject({ code: "limit_exceeded", closeCode: 4503, cause: { code: "limit_exceeded" } });
  });

  test.each([
    [400, false], [401, false], [403, false], [404, true], [408, true], [422, false], [425, true], [429, true],
    [500, true], [502, true], [503, true],
  ])("a handshake answered with %i: again %s", async (status, again) => {
    const w = world();
    w.server.opened = (s) =>
      queueMicrotask(() => s.end(1006, "", new AckwireError({ code: "x", status, retryable: false })));
    const got = read(w.client.watch("j1"));
    await pass(1_000);
    expect(w.server.sessions.length > 1).toBe(again);
    if (!again) expect(got.error).toMatchObject({ code: "x", status });
    await w.client.close();
  });

  test("Retry-After of a refused handshake is waited for, at most a minute", async () => {
    const w = world();
    w.server.opened = (s) =>
      queueMicrotask(() => s.end(1006, "", new AckwireError({ code: "overloaded", status: 503, retryable: true, retryAfter: 1e9 })));
    void read(w.client.watch("j1"));
    await pass(59_000);
    expect(w.server.sessions).toHaveLength(1);
    await pass(2_000);
    expect(w.server.sessions).toHaveLength(2);
    await w.client.close();
  });
});

describe("goaway", () => {
  test("the next session is opened when goaway said, and the old one answers meanwhile", async () => {
    const w = await watching();
    const old = w.server.last;
    const order = outcomeOf(w.client.cancel("j1"));
    await settle();
    old.take("subscribe");
    const { id } = old.take("cancel");
    old.say({ type: "goaway", reason: "restart", reconnectAfter: 2 });
    const later = outcomeOf(w.client.submit("t", 1));
    await pass(1_999);
    expect(state(w)).toBe("waiting");
    expect(old.sent).toEqual([]); // nothing new is written
    old.status("j1", 5);
    await settle();
    expect(w.got.values).toMatchObject([{ version: 5 }]);
    await pass(1);
    expect(w.server.sessions).toHaveLength(2);
    expect(w.server.last.take("subscribe").jobs).toEqual([{ jobId: "j1", after: 5 }]);
    expect(w.server.last.take("submit")).toBeDefined();
    expect(old.closedBy).toBeUndefined(); // it still owes an answer
    old.say({ type: "ack", id, jobId: "j1", state: "cancelled", statusUrl: "/" });
    await settle();
    expect(order.value).toBe("cancelled");
    expect(old.closedBy).toBe(1000);
    expect(later.done).toBe(false);
  });

  test("a job that is acked in the old session is watched in the new one, which is in use already", async () => {
    const w = await watching();
    const old = w.server.last;
    old.take("subscribe");
    const fresh = outcomeOf(w.client.submit("t", 1).then((job) => job.wait()));
    const again = outcomeOf(w.client.submit("t", 2));
    await settle();
    const ids = [old.take("submit").id, old.take("submit").id];
    old.say({ type: "goaway", reason: "restart", reconnectAfter: 1 });
    await pass(1_000);
    const asked = w.server.last.take("subscribe");
    expect(asked.jobs).toEqual([{ jobId: "j1" }]);
    old.ack(ids[0], "j2");
    old.ack(ids[1], "j1", { duplicate: true }); // of the job that is watched
    await settle();
    expect(again.value).toMatchObject({ id: "j1" });
    expect(old.closedBy).toBe(1000);
    expect(w.server.last.take("subscribe").jobs).toContainEqual({ jobId: "j2" });
    w.server.last.status("j2", 3, "completed");
    // The answer to what was asked before the acks still counts.
    w.server.last.say({ type: "subscribed", id: asked.id, jobs: [{ jobId: "j1", version: 0, error: "not_found" }] });
    await settle();
    expect(fresh.value).toMatchObject({ version: 3, state: "completed" });
    expect(w.got.error).toMatchObject({ code: "not_found" });
  });

  test("an answer that does not come is given up 10 s later, and the request sent again", async () => {
    const w = await watching();
    const old = w.server.last;
    void outcomeOf(w.client.submit("t", 1));
    await settle();
    old.say({ type: "goaway", reason: "restart", reconnectAfter: 1 });
    await pass(10_999);
    expect(w.server.last.sent.filter((f) => f.type === "submit")).toHaveLength(0);
    w.server.last.say({ type: "pong" });
    await pass(1);
    expect(old.ended).toBe(true);
    expect(w.server.last.sent.filter((f) => f.type === "submit")).toHaveLength(1);
  });

  test.each([[1e300, 60_000], [-5, 0], ["soon", 0], [null, 0], [0.5, 500]])(
    "reconnectAfter %s is %i ms", async (reconnectAfter, wait) => {
      const w = await watching();
      w.server.last.say({ type: "goaway", reason: "restart", reconnectAfter });
      if (wait) {
        await pass(wait - 1);
        w.server.sessions[0]!.end(1012);
        expect(w.server.sessions).toHaveLength(1);
      }
      await pass(1);
      expect(w.server.sessions).toHaveLength(2);
    },
  );

  test("the server's close before that time changes nothing, and no event wakes the client earlier", async () => {
    let wake = () => {};
    const w = await watching({ wake: (f) => void (wake = f) });
    w.server.last.say({ type: "goaway", reason: "restart", reconnectAfter: 3 });
    w.server.last.end(1012);
    wake();
    await pass(2_999);
    expect(w.server.sessions).toHaveLength(1);
    await pass(1);
    expect(w.server.sessions).toHaveLength(2);
  });

  test("an idle client lets the session go, and opens none", async () => {
    const w = world({ welcome: true });
    void outcomeOf(w.client.submit("t", 1, { watch: false }));
    await settle();
    w.server.last.ack(w.server.last.take("submit").id, "j9");
    w.server.last.say({ type: "goaway", reason: "restart", reconnectAfter: 1 });
    await pass(60_000);
    expect(w.server.sessions).toHaveLength(1);
    expect(w.server.last.closedBy).toBe(1000);
    expect(state(w)).toBe("idle");
  });
});

describe("signs of life", () => {
  test("a watch pings after the server's interval without a frame, and gives up 5 s later", async () => {
    const w = await watching();
    w.server.last.take("subscribe");
    w.server.last.say({ type: "subscribed", id: "1", jobs: [{ jobId: "j1", version: 1 }] });
    await pass(24_999);
    expect(w.server.last.sent).toEqual([]);
    await pass(1);
    w.server.last.take("ping");
    await pass(4_999);
    w.server.last.say({ type: "pong" });
    await pass(25_000);
    w.server.last.take("ping");
    await pass(5_000);
    expect(w.server.sessions[0]!.closedBy).toBe(4001);
    await pass(100);
    expect(w.server.sessions).toHaveLength(2);
  });

  test("any frame counts, so that a busy watch sends no ping", async () => {
    const w = await watching();
    w.server.last.sent.length = 0;
    for (let version = 1; version < 20; version++) {
      await pass(4_000);
      w.server.last.status("j1", version);
    }
    expect(w.server.last.sent).toEqual([]);
  });

  test("an unanswered request is asked after within 5 s", async () => {
    const w = world({ welcome: true });
    void outcomeOf(w.client.submit("t", 1));
    await settle();
    w.server.last.take("submit");
    await pass(5_000);
    w.server.last.take("ping");
    await pass(5_000);
    expect(w.server.sessions[0]!.ended).toBe(true);
    await pass(100);
    expect(w.server.last.take("submit")).toBeDefined();
  });

  test.each([["1e9", 60_000], ["0", 25_000], ["\"x\"", 25_000], ["-1", 25_000], ["2", 2_000]])(
    "pingInterval %s is %i ms", async (pingInterval, wait) => {
      const w = await watching({ welcome: { pingInterval: JSON.parse(pingInterval) } });
      w.server.last.say({ type: "subscribed", id: w.server.last.take().id, jobs: [] });
      await pass(wait - 1);
      expect(w.server.last.sent).toEqual([]);
      await pass(1);
      w.server.last.take("ping");
      await w.client.close();
    },
  );

  test("no timer is longer than a minute", async () => {
    const set = vi.spyOn(globalThis, "setTimeout");
    const w = await watching({ welcome: { pingInterval: 3600 }, backoff: { base: 1e9, cap: 1e9 } });
    void outcomeOf(w.client.submit("t", 1, { ttl: 1e9 }));
    await pass(60_000);
    w.server.last.say({ type: "goaway", reason: "x", reconnectAfter: 1e9 });
    await pass(60_000);
    w.server.last.end();
    await pass(300_000);
    expect(Math.max(...set.mock.calls.map((call) => call[1] ?? 0))).toBeLessThanOrEqual(60_000);
    expect(vi.getTimerCount()).toBeLessThan(4);
    await w.client.close();
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("closing", () => {
  test("close ends everything with ClosedError, and says goodbye", async () => {
    const w = await watching();
    const submit = outcomeOf(w.client.submit("t", 1));
    const cancel = outcomeOf(w.client.cancel("j2"));
    const mine = read(w.client.mine());
    await settle();
    await w.client.close();
    await w.client.close();
    await settle();
    expect(w.server.last.closedBy).toBe(1000);
    expect(submit.error).toMatchObject({ code: "indeterminate", cause: { code: "closed" } });
    for (const { error } of [cancel, mine, w.got]) expect(error).toMatchObject({ name: "ClosedError", code: "closed" });
    await expect(w.client.submit("t", 1)).rejects.toMatchObject({ code: "closed" });
    await expect(w.client.list()).rejects.toMatchObject({ code: "closed" });
    expect(state(w)).toBe("closed");
    expect(vi.getTimerCount()).toBe(0);
  });

  test("await using", async () => {
    const w = world({ welcome: true });
    await w.client[Symbol.asyncDispose]();
    expect(state(w)).toBe("closed");
  });

  test("the store of the connection tells each change once, with a stable snapshot", async () => {
    const w = world({ welcome: true });
    const states: string[] = [];
    const { subscribe, snapshot } = w.client.connection; // without a receiver
    const stop = subscribe(() => states.push(snapshot().state));
    expect(snapshot()).toBe(snapshot());
    void read(w.client.watch("j1"));
    await settle();
    const open = snapshot();
    w.server.last.status("j1", 1);
    await settle();
    expect(snapshot()).toBe(open);
    w.server.last.end(1001);
    await pass(200);
    stop();
    await w.client.close();
    expect(states).toEqual(["connecting", "open", "waiting", "connecting", "open"]);
  });
});
