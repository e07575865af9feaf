// Submits: in order, once each, whatever happens to the connection.

import { describe, expect, test, vi } from "vitest";
import { IndeterminateError } from "../../src/index.js";
import { fakeTime, limits, outcomeOf, pass, read, settle, world } from "./fake.js";

fakeTime(0.5);

describe("the frame", () => {
  test("all options, and a random key of 32 digits", async () => {
    const w = world({ welcome: true });
    const options = {
      runAt: new Date("2026-01-02T03:04:05.678Z"), timeout: 1.5, deadline: 60, watch: false, traceparent: "00-a",
      tracestate: "b", callbackUrl: "https://x.example", callbackEvents: ["failed" as const],
      tags: { customer: "c-17" },
    };
    void outcomeOf(w.client.submit("t", { a: [1] }, options));
    void outcomeOf(w.client.submit("t", { a: [1] }));
    void outcomeOf(w.client.submit("t", undefined, { key: "mine" }));
    void outcomeOf(w.client.submit("t", 0, { key: false }));
    await settle();
    const [first, second, third, fourth] = w.server.last.sent;
    const { runAt, ...rest } = options;
    expect(first).toMatchObject({ type: "submit", job: "t", payload: { a: [1] }, ...rest, runAt: runAt.toISOString() });
    expect(first.key).toMatch(/^[0-9a-f]{32}$/);
    expect(second.key).not.toBe(first.key);
    expect(second).not.toHaveProperty("watch");
    expect(third).toMatchObject({ key: "mine", payload: null });
    expect(fourth).not.toHaveProperty("key");
    expect(fourth.payload).toBe(0);
    await w.client.close();
  });

  test("a payload that is not JSON is an error at once", async () => {
    const w = world({ welcome: true });
    await expect(w.client.submit("t", 1n)).rejects.toThrow(TypeError);
    const loop: any = {};
    loop.loop = loop;
    await expect(w.client.submit("t", loop)).rejects.toThrow(TypeError);
    expect(w.server.sessions).toHaveLength(0);
  });

  test.each([["x".repeat(1000), true], ["é".repeat(450), true], ["é".repeat(550), false], ["€".repeat(310), true],
    ["€".repeat(360), false], ["😀".repeat(230), true], ["😀".repeat(280), false]])(
    "bytes of a frame are counted in UTF-8: %s", async (payload, taken) => {
      const w = world({ welcome: { limits: { ...limits, frameBytes: 1150 } } });
      const submit = outcomeOf(w.client.submit("t", payload));
      await settle();
      expect(w.server.last.sent).toHaveLength(taken ? 1 : 0);
      if (!taken) expect(submit.error).toMatchObject({ code: "payload_too_large", retryable: false });
      await w.client.close();
    },
  );

  test("keys are random where there is no crypto", async () => {
    vi.mocked(Math.random).mockRestore();
    vi.stubGlobal("crypto", undefined);
    const w = world({ welcome: true });
    void outcomeOf(w.client.submit("t", 1));
    void outcomeOf(w.client.submit("t", 1));
    await settle();
    const [a, b] = w.server.last.sent;
    expect(a.key).toMatch(/^[0-9a-f]{32}$/);
    expect(a.key).not.toBe(b.key);
    vi.unstubAllGlobals();
    await w.client.close();
  });
});

describe("order and bounds", () => {
  test("no more than inFlightSubmits are in flight, in order; other requests do not wait behind them", async () => {
    const w = world({ welcome: { limits: { ...limits, inFlightSubmits: 2 } } });
    const all = [0, 1, 2, 3].map((n) => outcomeOf(w.client.submit("t", n, { watch: false })));
    await settle();
    const s = w.server.last;
    expect(s.sent.map((f) => f.payload)).toEqual([0, 1]);
    void read(w.client.watch("j5"));
    await settle();
    expect(s.sent.at(-1)).toMatchObject({ type: "subscribe" });
    s.ack(s.take("submit").id, "j0");
    await settle();
    expect(s.sent.filter((f) => f.type === "submit").map((f) => f.payload)).toEqual([1, 2]);
    expect(all[0]!.value).toMatchObject({ id: "j0", duplicate: false });
    void outcomeOf(w.client.cancel("j0")); // counts as in flight, and goes before submits
    await settle();
    s.ack(s.sent.find((f) => f.payload === 1).id, "j1");
    await settle();
    expect(s.sent.at(-1)).toMatchObject({ type: "cancel", jobId: "j0" });
    await w.client.close();
  });

  test("what the ack says of the queue is told by the handle", async () => {
    const w = world({ welcome: true });
    const told = outcomeOf(w.client.submit("t", 1));
    const untold = outcomeOf(w.client.submit("t", 2));
    await settle();
    const s = w.server.last;
    s.ack(s.sent.find((f) => f.payload === 1).id, "j1", { ahead: 0, estimate: 0.5 });
    s.ack(s.sent.find((f) => f.payload === 2).id, "j2");
    await settle();
    expect(told.value).toMatchObject({ id: "j1", ahead: 0, estimate: 0.5, duplicate: false });
    expect([untold.value!.ahead, untold.value!.estimate, w.client.job("j1").ahead]).toEqual([undefined, undefined, undefined]);
    await w.client.close();
  });

  test("a grant is asked for, and told by the handle", async () => {
    const w = world({ welcome: true });
    const grant = { token: "a.b.c", expiresAt: "2026-01-02T03:04:05Z" };
    const all = [outcomeOf(w.client.submit("t", 1, { grant: { ttl: 600 } })), outcomeOf(w.client.submit("t", 2))];
    await settle();
    const s = w.server.last;
    expect(s.sent.map((f) => f.grant)).toEqual([{ ttl: 600 }, undefined]);
    s.ack(s.take("submit").id, "j1", { grant });
    s.ack(s.take("submit").id, "j2");
    await settle();
    expect(all.map((o) => o.value!.grant)).toEqual([grant, undefined]);
    await w.client.close();
  });

  test("what was not answered is sent again after a reconnect, in order, before what is new", async () => {
    const w = world({ welcome: true });
    const all = [0, 1, 2, 3, 4].map((n) => outcomeOf(w.client.submit("t", n, { watch: false })));
    await settle();
    const first = w.server.last;
    const keys = first.sent.map((f) => f.key);
    first.ack(first.sent[1].id, "j1");
    first.end();
    await settle();
    all.push(outcomeOf(w.client.submit("t", 5, { watch: false })));
    await pass(100);
    const again = w.server.last;
    expect(again).not.toBe(first);
    expect(again.sent.map((f) => f.payload)).toEqual([0, 2, 3, 4, 5]);
    expect(again.sent.slice(0, 4).map((f) => f.key)).toEqual([keys[0], keys[2], keys[3], keys[4]]);
    for (const f of [...again.sent]) again.ack(f.id, "j" + f.payload, { duplicate: f.payload === 0 });
    await settle();
    expect(all.map((o) => o.value!.id)).toEqual(["j0", "j1", "j2", "j3", "j4", "j5"]);
    expect(all[0]!.value!.duplicate).toBe(true);
  });

  test("a hundred submits over ten lost connections: every one is sent until it is acked", async () => {
    const w = world({ welcome: true });
    const all = Array.from({ length: 100 }, (_, n) => outcomeOf(w.client.submit("t", n)));
    await settle();
    for (let i = 0; i < 10; i++) {
      for (const f of w.server.last.sent.slice(0, 10)) w.server.last.ack(f.id, `j${f.payload}`);
      w.server.last.end();
      await pass(1_000 * 2 ** i);
    }
    expect(all.filter((o) => o.done && !o.error).map((o) => o.value!.id)).toEqual(all.map((_, n) => `j${n}`));
  });
});

describe("outcomes", () => {
  test("a refusal for good is the error, at once", async () => {
    const w = world({ welcome: true });
    const submit = outcomeOf(w.client.submit("t", 1));
    await settle();
    const s = w.server.last;
    const errors = [{ pointer: "/to", detail: "not a date" }];
    s.say({ type: "error", id: s.take().id, code: "validation_failed", title: "Not valid", detail: "it is not", retryable: false, errors });
    await settle();
    expect(submit.error).toMatchObject({ name: "AckwireError", code: "validation_failed", message: "it is not", retryable: false, errors });
  });

  test("overloaded, for a submit that was sent once: nothing was written, and the caller decides", async () => {
    const w = world({ welcome: true });
    const submit = outcomeOf(w.client.submit("t", 1));
    await settle();
    w.server.last.say({ type: "error", id: w.server.last.take().id, code: "overloaded", title: "Overloaded", retryable: true, retryAfter: 3 });
    await settle();
    expect(submit.error).toMatchObject({ code: "overloaded", retryable: true, retryAfter: 3 });
  });

  test("overloaded, for a submit that was sent twice: the first may have been written, so it is repeated", async () => {
    const w = world({ welcome: true });
    const submit = outcomeOf(w.client.submit("t", 1));
    await settle();
    const { key } = w.server.last.take();
    w.server.last.end();
    await pass(100);
    w.server.last.say({ type: "error", id: w.server.last.take().id, code: "overloaded", title: "Overloaded", retryable: true });
    await pass(100);
    const again = w.server.last.take("submit");
    expect(again.key).toBe(key);
    w.server.last.ack(again.id, "j1", { duplicate: true });
    await settle();
    expect(submit.value).toMatchObject({ id: "j1", duplicate: true });
  });

  test("indeterminate is repeated with its key; after it, \"nothing was written\" settles nothing", async () => {
    const w = world({ welcome: true });
    const submit = outcomeOf(w.client.submit("t", 1, { ttl: 60_000 }));
    for (const code of ["indeterminate", "unavailable", "overloaded"]) {
      await pass(1_000);
      w.server.last.say({ type: "error", id: w.server.last.take("submit").id, code, title: code, retryable: true, jobId: code === "indeterminate" ? "j1" : undefined });
      await settle();
      expect(submit.done).toBe(false);
    }
    await pass(60_000);
    expect(submit.error).toBeInstanceOf(IndeterminateError);
    expect(submit.error).toMatchObject({ code: "indeterminate", retryable: true, jobId: "j1" });
    expect(submit.error.key).toMatch(/^[0-9a-f]{32}$/);
    await w.client.close();
  });

  test("a submit without a key whose answer is lost is indeterminate; one that was not sent is sent", async () => {
    const w = world({ welcome: { limits: { ...limits, inFlightSubmits: 1 } } });
    const sent = outcomeOf(w.client.submit("t", 1, { key: false }));
    const queued = outcomeOf(w.client.submit("t", 2, { key: false }));
    await settle();
    w.server.last.end();
    await pass(100);
    expect(sent.error).toBeInstanceOf(IndeterminateError);
    expect(sent.error).toMatchObject({ key: undefined, retryable: false });
    w.server.last.ack(w.server.last.take("submit").id, "j2");
    await settle();
    expect(queued.value!.id).toBe("j2");
  });

  test.each([[undefined, 600_000], [5_000, 5_000]])("time to live %s: sent and unanswered, then indeterminate", async (ttl, wait) => {
    const w = world({ welcome: true });
    const submit = outcomeOf(w.client.submit("t", 1, ttl === undefined ? {} : { ttl }));
    await pass(wait - 1);
    expect(submit.done).toBe(false);
    await pass(60_000);
    expect(submit.error).toBeInstanceOf(IndeterminateError);
    await w.client.close();
  });

  test("a submit that was never sent within its time to live was not written: not indeterminate", async () => {
    const w = world();
    const submit = outcomeOf(w.client.submit("t", 1, { ttl: 30_000 }));
    await pass(29_999);
    expect(submit.done).toBe(false);
    await pass(1);
    expect(submit.error).toMatchObject({ name: "AckwireError", code: "unavailable", retryable: true });
    expect(w.client.connection.snapshot().state).not.toBe("closed");
    await pass(60_000);
    expect(vi.getTimerCount()).toBeLessThanOrEqual(1);
  });

  test("an unreadable ack leaves it open: it is asked again", async () => {
    const w = world({ welcome: true });
    const submit = outcomeOf(w.client.submit("t", 1));
    await settle();
    w.server.last.say({ type: "ack", id: w.server.last.take().id, jobId: 5 });
    await pass(200);
    w.server.last.ack(w.server.last.take("submit").id, "j1");
    await settle();
    expect(submit.value!.id).toBe("j1");
  });
});

describe("abort", () => {
  test("before, while queued, while in flight, while waiting to be repeated: the signal's reason", async () => {
    const w = world({ welcome: true });
    const reason = new Error("enough");
    await expect(w.client.submit("t", 1, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const abort = new AbortController();
    const queued = outcomeOf(w.client.submit("t", 1, { signal: abort.signal }));
    abort.abort(reason);
    await settle();
    expect(queued.error).toBe(reason);
    const flying = new AbortController();
    const flight = outcomeOf(w.client.submit("t", 2, { signal: flying.signal }));
    await settle();
    const { id } = w.server.last.take("submit");
    flying.abort(reason);
    await settle();
    expect(flight.error).toBe(reason);
    w.server.last.ack(id, "j2"); // its watch has nobody: it is ended
    await settle();
    expect(w.server.last.take("unsubscribe").jobs).toEqual(["j2"]);
    const doubtful = new AbortController();
    const doubt = outcomeOf(w.client.submit("t", 3, { signal: doubtful.signal }));
    await settle();
    w.server.last.say({ type: "error", id: w.server.last.take("submit").id, code: "indeterminate", title: "", retryable: true });
    await settle();
    doubtful.abort(reason);
    await settle();
    expect(doubt.error).toBe(reason);
    await pass(1_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("an aborted submit is not sent again, and gives its place free once it is answered", async () => {
    const w = world({ welcome: { limits: { ...limits, inFlightSubmits: 1 } } });
    const abort = new AbortController();
    void outcomeOf(w.client.submit("t", 1, { signal: abort.signal }));
    void outcomeOf(w.client.submit("t", 2));
    await settle();
    abort.abort();
    await settle();
    expect(w.server.last.sent.map((f) => f.payload)).toEqual([1]);
    w.server.last.end();
    await pass(100);
    expect(w.server.last.sent.map((f) => f.payload)).toEqual([2]);
    await w.client.close();
  });

  test("signals keep no listener", async () => {
    const w = world({ welcome: true });
    const { signal } = new AbortController();
    const add = vi.spyOn(signal, "addEventListener");
    const remove = vi.spyOn(signal, "removeEventListener");
    const submit = outcomeOf(w.client.submit("t", 1, { signal }));
    await settle();
    w.server.last.ack(w.server.last.take().id, "j1");
    await settle();
    const got = read(submit.value!.watch({ signal }));
    w.server.last.status("j1", 2, "completed");
    await settle();
    expect(got.done).toBe(true);
    expect(remove.mock.calls.length).toBeGreaterThanOrEqual(add.mock.calls.length);
  });
});

describe("cancel and retry", () => {
  test("cancel is sent again after a lost connection, retry is not", async () => {
    const w = world({ welcome: true });
    const cancel = outcomeOf(w.client.cancel("j1"));
    const retry = outcomeOf(w.client.job("j2").retry());
    await settle();
    expect(w.server.last.sent).toMatchObject([{ type: "cancel", jobId: "j1" }, { type: "retry", jobId: "j2", watch: false }]);
    w.server.last.end();
    await pass(100);
    expect(retry.error).toBeInstanceOf(IndeterminateError);
    const { id } = w.server.last.take("cancel");
    w.server.last.ack(id, "j1", { state: "cancelled" });
    await settle();
    expect(cancel.value).toBe("cancelled");
    expect(w.server.last.sent).toEqual([]);
  });

  test("a retry that was not sent is sent later", async () => {
    const w = world();
    const retry = outcomeOf(w.client.retry("j2"));
    await settle();
    w.server.last.end();
    await pass(100);
    w.server.last.welcome();
    await settle();
    w.server.last.ack(w.server.last.take("retry").id, "j2", { state: "queued" });
    await settle();
    expect(retry.value).toBe("queued");
  });

  test.each([[""], ["a b"], ["a/b"], ["x".repeat(129)], ["é"], ['"'], [5 as any], [undefined as any]])(
    "%s is no job ID", async (id) => {
      const w = world({ welcome: true });
      const error = { code: "not_found" };
      await expect(w.client.cancel(id)).rejects.toMatchObject(error);
      await expect(w.client.get(id)).rejects.toMatchObject(error);
      await expect(w.client.watch(id).next()).rejects.toMatchObject(error);
      expect(w.server.sessions).toHaveLength(0);
    },
  );
});
