// Tokens: asked once for all that wait, renewed in the open session, and no loop when they are refused.

import { expect, test, vi } from "vitest";
import { AckwireError } from "../../src/index.js";
import { fakeTime, outcomeOf, pass, read, settle, world } from "./fake.js";

fakeTime(0.5);

const refused = () => new AckwireError({ code: "unauthenticated", status: 401, retryable: false });

test("one question for all that wait: the session and three requests", async () => {
  let answer = (_: string) => {};
  const token = vi.fn(() => new Promise<string>((resolve) => (answer = resolve)));
  const fetched: string[] = [];
  const fetch = (async (_: string, init: RequestInit) => {
    fetched.push((init.headers as Record<string, string>).Authorization!);
    return new Response("{}");
  }) as typeof globalThis.fetch;
  const w = world({ token, fetch, welcome: true });
  void outcomeOf(w.client.submit("t", 1));
  for (let i = 0; i < 3; i++) void outcomeOf(w.client.stats());
  await settle();
  expect(token).toHaveBeenCalledTimes(1);
  answer("one");
  await settle();
  expect(w.server.last.target.token).toBe("one");
  expect(fetched).toEqual(["Bearer one", "Bearer one", "Bearer one"]);
  await w.client.stats();
  expect(token).toHaveBeenCalledTimes(1); // the last one is used
  w.server.last.end();
  await pass(100);
  expect(token).toHaveBeenCalledTimes(2); // every connect asks
  await w.client.close();
});

test("expiring: an auth frame with a newer token in the open session", async () => {
  let n = 0;
  const w = world({ token: async () => `t${++n}`, welcome: true });
  void read(w.client.watch("j1"));
  await settle();
  const s = w.server.last;
  s.take("subscribe");
  s.say({ type: "expiring", expiresAt: "2026-01-01T00:00:00Z", closesAfter: 90 });
  await settle();
  const auth = s.take("auth");
  expect(auth.token).toBe("t2");
  s.say({ type: "welcome", id: auth.id, connection: "c", protocol: "ackwire.v1", pingInterval: 25, limits: {} });
  await pass(1_000);
  expect(w.server.sessions).toHaveLength(1);
  expect(s.sent).toEqual([]);
});

test("a renewal that fails leaves the session as it is: 4002 and the next connect come", async () => {
  let n = 0;
  const w = world({ token: () => (++n === 2 ? Promise.reject(new Error("offline")) : `t${n}`), welcome: true });
  const got = read(w.client.watch("j1"));
  await settle();
  w.server.last.say({ type: "expiring", expiresAt: "", closesAfter: 1 });
  await settle();
  w.server.last.end(4002, "token_expired");
  await pass(100);
  expect(w.server.sessions).toHaveLength(2);
  expect(w.server.last.target.token).toBe("t3");
  expect(got.done).toBe(false);
});

test("a token that is a string is not renewed", async () => {
  const w = world({ token: "fixed", welcome: true });
  void read(w.client.watch("j1"));
  await settle();
  w.server.last.sent.length = 0;
  w.server.last.say({ type: "expiring", expiresAt: "", closesAfter: 1 });
  await settle();
  expect(w.server.last.sent).toEqual([]);
});

test.each([[true, 2], [false, 1]])("401 (token is a function: %s) ends the client after %i attempts", async (renewable, attempts) => {
  const token = vi.fn(async () => "t");
  const w = world({ token: renewable ? token : "t" });
  w.server.opened = (s) => queueMicrotask(() => s.end(1006, "", refused()));
  const got = read(w.client.watch("j1"));
  await pass(60_000);
  expect(w.server.sessions).toHaveLength(attempts);
  expect(token).toHaveBeenCalledTimes(renewable ? attempts : 0);
  expect(got.error).toMatchObject({ code: "unauthenticated", status: 401 });
  expect(w.client.connection.snapshot()).toMatchObject({ state: "closed", error: { code: "unauthenticated" } });
});

test("a fresh token that is taken gives the next refusal its one retry again", async () => {
  const w = world({ token: async () => "t" });
  let n = 0;
  w.server.opened = (s) => queueMicrotask(() => (++n % 2 ? s.end(1006, "", refused()) : s.welcome()));
  void read(w.client.watch("j1"));
  await settle();
  for (let i = 0; i < 3; i++) {
    w.server.last.end(4002);
    await pass(20_000);
  }
  expect(w.client.connection.snapshot().state).toBe("open");
  await w.client.close();
});

test("a refused renewal, 4500, ends the client with unauthenticated", async () => {
  const w = world({ token: async () => "t", welcome: true });
  const got = read(w.client.watch("j1"));
  await settle();
  w.server.last.say({ type: "expiring", expiresAt: "", closesAfter: 1 });
  await settle();
  const auth = w.server.last.sent.find((f) => f.type === "auth");
  w.server.last.say({ type: "error", id: auth.id, code: "unauthenticated", title: "Not authenticated", retryable: false });
  w.server.last.end(4500, "unauthenticated");
  await pass(60_000);
  expect(w.server.sessions).toHaveLength(1);
  expect(got.error).toMatchObject({ code: "unauthenticated", closeCode: 4500 });
});

test("a token function that fails is asked again with backoff, and the error is shown", async () => {
  let n = 0;
  const w = world({ token: () => { if (++n < 4) throw new Error("no network"); return "t"; }, welcome: true });
  void read(w.client.watch("j1"));
  await settle();
  expect(w.client.connection.snapshot()).toMatchObject({ state: "waiting", error: { code: "unavailable", cause: { message: "no network" } } });
  await pass(1_000);
  expect(w.client.connection.snapshot()).toMatchObject({ state: "open", error: undefined });
});

test("a token function that refuses for good ends the client", async () => {
  const w = world({ token: () => Promise.reject(refused()) });
  const got = read(w.client.watch("j1"));
  await pass(60_000);
  expect(got.error).toMatchObject({ code: "unauthenticated" });
});

test("a token function that never answers is asked anew by the next attempt", async () => {
  const token = vi.fn(() => new Promise<string>(() => {}));
  const w = world({ token });
  void read(w.client.watch("j1"));
  await pass(15_000);
  await pass(100);
  expect(token).toHaveBeenCalledTimes(2);
  await w.client.close();
});
