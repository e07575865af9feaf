// Nothing is left behind by a client that was closed.

import { afterEach, expect, test, vi } from "vitest";
import "../../src/mine.js"; // it is loaded when it is needed
import { growth } from "../heap.js";
import { outcomeOf, read, world } from "./fake.js";

afterEach(() => vi.unstubAllGlobals());

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test("1,000 connect and close cycles leave no timer, no listener, no session and no memory", async () => {
  let timers = 0;
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  const live = new Set<unknown>();
  vi.stubGlobal("setTimeout", (run: () => void, wait: number) => {
    timers++;
    const id: unknown = set(() => (live.delete(id), run()), wait);
    live.add(id);
    return id;
  });
  vi.stubGlobal("clearTimeout", (id: any) => (live.delete(id), clear(id)));
  let listeners = 0;
  vi.stubGlobal("addEventListener", () => listeners++);
  vi.stubGlobal("removeEventListener", () => listeners--);
  const { signal } = new AbortController();
  let held = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = ((...args: [any, any]) => (held++, add(...args))) as any;
  signal.removeEventListener = ((...args: [any, any]) => (held--, remove(...args))) as any;

  const cycle = async () => {
    const w = world({ welcome: true });
    const watch = read(w.client.watch("j1", { signal }));
    const mine = read(w.client.mine({ signal }));
    const submit = outcomeOf(w.client.submit("t", { x: "y".repeat(1000) }, { signal }));
    const cancel = outcomeOf(w.client.cancel("j2"));
    const stop = w.client.job("j3").subscribe(() => {});
    for (let i = 0; i < 3; i++) await turn();
    w.server.last.status("j1", 1);
    w.server.last.say({ type: "goaway", reason: "x", reconnectAfter: 0 });
    await turn();
    await w.client.close();
    stop();
    for (let i = 0; i < 3; i++) await turn();
    expect([watch.done, mine.done, submit.done, cancel.done]).toEqual([true, true, true, true]);
    expect(w.server.sessions.every((s) => s.ended)).toBe(true);
  };
  const grown = await growth(1250, cycle);
  expect(timers).toBeGreaterThan(1000);
  expect(live.size).toBe(0);
  expect(listeners).toBe(0);
  expect(held).toBe(0);
  expect(grown).toBeLessThan(1_000_000); // a kilobyte for each would be 1,000,000
}, 60_000);

test("an idle client that was never closed holds no listener and no timer, so that it can be collected", async () => {
  let listeners = 0;
  vi.stubGlobal("addEventListener", () => listeners++);
  vi.stubGlobal("removeEventListener", () => listeners--);
  const w = world({ welcome: true });
  const submit = outcomeOf(w.client.submit("t", 1));
  for (let i = 0; i < 3; i++) await turn();
  expect(listeners).toBe(4);
  w.server.last.ack(w.server.last.take().id, "j1");
  await turn();
  expect(submit.done).toBe(true);
  expect(listeners).toBe(0);
});
