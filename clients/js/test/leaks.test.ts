// A client that was closed leaves nothing behind, and one that reconnects gathers nothing.

import { getEventListeners } from "node:events";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { connect } from "../src/index.js";
import { offline } from "../src/offline/index.js";
import { tabs } from "../src/tabs/index.js";
import { createServer } from "../src/testing/index.js";
import { growth, heap } from "./heap.js";
import { Origin } from "./tabs.js";

const pass = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

/** Waits for the modules that the client loads when it needs them, which takes real time. */
async function loaded(): Promise<void> {
  await pass();
  await vi.dynamicImportSettled();
  await pass();
}

/** A page: a window and a document that count their listeners. */
class CountingTarget extends EventTarget {
  listeners = 0;

  override addEventListener(...args: Parameters<EventTarget["addEventListener"]>): void {
    this.listeners++;
    super.addEventListener(...args);
  }

  override removeEventListener(...args: Parameters<EventTarget["removeEventListener"]>): void {
    this.listeners--;
    super.removeEventListener(...args);
  }
}

let window: CountingTarget;
let document: CountingTarget;
beforeEach(() => {
  vi.useFakeTimers();
  window = new CountingTarget();
  document = new CountingTarget();
  vi.stubGlobal("addEventListener", window.addEventListener.bind(window));
  vi.stubGlobal("removeEventListener", window.removeEventListener.bind(window));
  vi.stubGlobal("document", document);
  vi.stubGlobal("BroadcastChannel", undefined);
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function device() {
  const server = createServer();
  server.on("report", async (job) => {
    await job.delay(10);
    return { rows: 1 };
  });
  const items = new Map<string, string>();
  const storage = {
    getAllKeys: () => [...items.keys()], getItem: (key: string) => items.get(key),
    setItem: (key: string, value: string) => items.set(key, value), removeItem: (key: string) => items.delete(key),
  };
  return { server, storage };
}

test("1,000 clients that did all kinds of work and were closed leave no timer, listener or memory", async () => {
  const { server, storage } = device();
  const { signal } = new AbortController();
  const refs: WeakRef<object>[] = [];

  const cycle = async () => {
    const client = connect({ ...server.options, token: () => "t" });
    const outbox = offline(client, { user: "ada", storage });
    refs.push(new WeakRef(client), new WeakRef(outbox));
    const leave = client.connection.subscribe(() => {});
    const mine = client.mine({ signal });
    const next = mine.next();
    await loaded();
    const job = await client.submit("report", 1, { signal });
    refs.push(new WeakRef(job));
    const stop = job.subscribe(() => {});
    await loaded();
    const waiting = client.submit("never", 1).then((other) => other.wait({ signal })).catch(() => {});
    const kept = outbox.submit("report", 2, { signal });
    await pass(20);
    expect(await job.result({ signal })).toEqual({ rows: 1 });
    await Promise.all([kept, next, job.get({ signal })]);
    await mine.return?.();
    expect(document.listeners + window.listeners).toBeGreaterThan(0);
    stop();
    leave();
    outbox.close();
    await client.close();
    await waiting;
    await pass();
    expect(vi.getTimerCount()).toBe(0);
    expect([window.listeners, document.listeners, getEventListeners(signal, "abort").length]).toEqual([0, 0, 0]);
    expect(server.open).toEqual([]);
    for (const { id } of server.jobs) server.expire(id);
    server.forget();
  };

  const grown = await growth(1000, cycle);
  refs.splice(-10); // of the last cycle: its frames may not be gone
  expect(refs.filter((ref) => ref.deref() !== undefined)).toHaveLength(0);
  expect(grown).toBeLessThan(1_000_000);
}, 120_000);

test("a client that reconnects 1,000 times has one timer, and gathers no listeners or memory", async () => {
  const { server } = device();
  const client = connect({ ...server.options, backoff: { base: 1, cap: 1 } });
  const stop = new AbortController();
  const job = await client.submit("never", 1);
  const waiting = job.wait({ signal: stop.signal }).catch(() => {});
  const mine = client.mine();
  void mine.next();
  await loaded();
  await pass(10);
  const listeners = window.listeners + document.listeners;
  const grown = await growth(1000, async () => {
    server.cut();
    await pass(10);
    expect(client.connection.snapshot().state).toBe("open");
    expect(vi.getTimerCount()).toBe(1);
    expect(window.listeners + document.listeners).toBe(listeners);
    server.forget();
  });
  expect(grown).toBeLessThan(1_000_000);
  stop.abort();
  await waiting;
  await mine.return?.();
  await client.close();
  await pass();
  expect([vi.getTimerCount(), window.listeners, document.listeners]).toEqual([0, 0, 0]);
}, 120_000);

test("1,000 pages that shared a session and were closed leave no timer, listener, channel, lock or memory", async () => {
  const { server } = device();
  const origin = new Origin();
  const refs: WeakRef<object>[] = [];

  /** A client of a page of its own. */
  const open = () => {
    const { locks, Channel } = origin.tab();
    const shared = tabs({ transport: server.transport });
    const client = connect({
      ...server.options,
      transports: [{
        name: "tabs",
        open(...args) {
          vi.stubGlobal("navigator", { locks });
          vi.stubGlobal("BroadcastChannel", Channel);
          return shared.open(...args);
        },
      }],
    });
    refs.push(new WeakRef(client), new WeakRef(shared));
    return client;
  };

  /** Two more pages work, and the leader is closed; then the last page is the leader. */
  const cycle = async () => {
    const pages = [open(), open()] as const;
    const mine = pages[1].mine();
    const next = mine.next();
    await loaded();
    const jobs = await Promise.all(pages.map((page) => page.submit("report", 1)));
    const waiting = pages[1].submit("never", 1).then((job) => job.wait()).catch(() => {});
    await pass(20);
    for (const job of jobs) await job.result();
    await next;
    await pages[0].close();
    await pass(100);
    expect(pages[1].connection.snapshot().state).toBe("open");
    await mine.return?.();
    await pages[1].close();
    await waiting;
    await pass();
    expect(vi.getTimerCount()).toBe(0);
    expect([window.listeners, document.listeners, origin.channels.size, origin.locks.size]).toEqual([0, 0, 0, 0]);
    expect(server.open).toEqual([]);
    for (const { id } of server.jobs) server.expire(id);
    server.forget();
  };

  const grown = await growth(500, cycle);
  refs.splice(-10); // of the last cycles: their frames may not be gone
  expect(refs.filter((ref) => ref.deref() !== undefined)).toHaveLength(0);
  expect(grown).toBeLessThan(1_000_000);
}, 120_000);

test("a leader that 1,000 tabs have joined and left has nothing of them", async () => {
  const { server } = device();
  const origin = new Origin();
  const open = () => {
    const { locks, Channel } = origin.tab();
    vi.stubGlobal("navigator", { locks });
    vi.stubGlobal("BroadcastChannel", Channel);
    return connect({ ...server.options, transports: [tabs({ transport: server.transport })] });
  };
  const leader = open();
  const mine = leader.mine();
  void mine.next();
  await loaded();
  const listeners = window.listeners + document.listeners;
  const refs: WeakRef<object>[] = [];
  for (let i = 0; i < 1000; i++) {
    const tab = open();
    refs.push(new WeakRef(tab));
    const job = await tab.submit("report", 1);
    await pass(20);
    await job.result();
    void tab.submit("never", 1).then((other) => other.wait()).catch(() => {});
    await pass();
    await tab.close();
    await pass();
    expect([origin.channels.size, window.listeners + document.listeners]).toEqual([1, listeners]);
    expect([...origin.locks.values()].filter(({ held }) => held)).toHaveLength(2);
    expect([...origin.locks.values()].flatMap(({ queue }) => queue)).toEqual([]);
    for (const { id } of server.jobs) server.expire(id);
  }
  expect(server.sessions).toHaveLength(1);
  await heap();
  refs.splice(-10);
  expect(refs.filter((ref) => ref.deref() !== undefined)).toHaveLength(0); // only last statuses are kept
  await mine.return?.();
  await leader.close();
  await pass();
  expect([vi.getTimerCount(), origin.channels.size, origin.locks.size]).toEqual([0, 0, 0]);
}, 120_000);
