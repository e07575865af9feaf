import "fake-indexeddb/auto";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import type { AckwireError } from "../src/errors.js";
import { connect } from "../src/index.js";
import { indexedDBStorage, offline, type OutboxOptions, type OutboxStorage } from "../src/offline/index.js";
import { createServer, type TestServer } from "../src/testing/index.js";
import type { Ackwire, ConnectOptions } from "../src/types.js";
import { Origin, type Tab } from "./tabs.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const pass = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

/** React Native's AsyncStorage, in memory. */
class FakeAsyncStorage {
  readonly items = new Map<string, string>();

  async getAllKeys(): Promise<readonly string[]> {
    return [...this.items.keys()];
  }

  async getItem(key: string): Promise<string | null> {
    return this.items.get(key) ?? null;
  }

  async setItem(key: string, value: string): Promise<void> {
    this.items.set(key, value);
  }

  async removeItem(key: string): Promise<void> {
    this.items.delete(key);
  }
}

/** A device: an origin's tabs and storage, and a server. */
class Device {
  readonly server: TestServer = createServer();
  readonly origin = new Origin();
  readonly storage = new FakeAsyncStorage();
  readonly pages = new Set<Page>();
  /** `false`: a platform without Web Locks and BroadcastChannel. */
  modern = true;

  page(options: Partial<OutboxOptions> = {}, connection: ConnectOptions = {}): Page {
    const page = new Page(this, options, connection);
    this.pages.add(page);
    return page;
  }

  async end(): Promise<void> {
    for (const page of this.pages) await page.close();
    this.server.stop();
    await pass(60_000);
    expect(vi.getTimerCount()).toBe(0);
  }
}

/** A page with a client and an outbox, which can die. */
class Page {
  readonly acked: string[] = [];
  readonly failed: string[] = [];
  readonly outbox;
  readonly client: Ackwire;
  readonly tab: Tab;
  readonly #device: Device;

  constructor(device: Device, options: Partial<OutboxOptions>, connection: ConnectOptions) {
    this.#device = device;
    const tab = device.origin.tab();
    this.tab = tab;
    vi.stubGlobal("navigator", device.modern ? { locks: tab.locks } : {});
    vi.stubGlobal("BroadcastChannel", device.modern ? tab.Channel : undefined);
    this.client = connect({ ...device.server.options, ...connection });
    this.outbox = offline(this.client, {
      user: "ada", storage: mortal(device.storage, tab),
      onAcked: ({ key }) => void this.acked.push(key),
      onFailed: ({ key }, { code }) => void this.failed.push(`${key} ${code}`),
      ...options,
    });
  }

  submit(payload: unknown, key?: string) {
    const submitted = this.outbox.submit("report", payload, key === undefined ? {} : { key });
    submitted.catch(() => {});
    return submitted;
  }

  get keys(): string[] {
    return this.outbox.pending().snapshot().map(({ key }) => key);
  }

  /** Ends the page as a crash does. */
  die(): void {
    for (const session of this.#device.server.open) session.cut(); // all tabs': the others come back
    this.tab.die();
    void this.client.close();
    this.#device.pages.delete(this);
  }

  async close(): Promise<void> {
    this.outbox.close();
    await this.client.close();
    this.#device.pages.delete(this);
  }
}

/** A storage that stands still once its tab is dead. */
function mortal(storage: OutboxStorage, tab: Tab): OutboxStorage {
  const alive = <A extends unknown[], R>(run: (...args: A) => R) => (...args: A): R | Promise<never> =>
    tab.dead ? new Promise<never>(() => {}) : run(...args);
  return {
    getAllKeys: alive(() => storage.getAllKeys()), getItem: alive((key: string) => storage.getItem(key)),
    setItem: alive((key: string, value: string) => storage.setItem(key, value)),
    removeItem: alive((key: string) => storage.removeItem(key)),
  };
}

const codeOf = (submitted: Promise<unknown>) => submitted.then(() => "none", (err: AckwireError) => err.code);

/** The keys of the jobs that the server has, in their order. */
const jobs = (server: TestServer) => server.jobs.map(({ submitted }) => submitted.key);

describe("an outbox", () => {
  let device: Device;
  beforeEach(() => void (device = new Device()));
  afterEach(() => device.end());

  test("keeps a submit with its key before it is sent, and forgets it once it is acked", async () => {
    device.server.delay(10);
    const page = device.page();
    const setItem = vi.spyOn(device.storage, "setItem");
    const job = page.submit({ rows: 1 });
    expect(device.server.sessions).toEqual([]);
    await pass();
    expect(setItem).toHaveBeenCalledOnce();
    const [pending] = page.outbox.pending().snapshot();
    expect(pending).toMatchObject({ type: "report", payload: { rows: 1 }, error: undefined });
    expect(JSON.parse(setItem.mock.calls[0]?.[1] ?? "")).toMatchObject({ k: pending?.key });
    await pass(1000);
    expect((await job).id).toBe(device.server.jobs[0]?.id);
    expect([page.keys, device.storage.items.size]).toEqual([[], 0]);
    expect([page.acked, jobs(device.server)]).toEqual([[pending?.key], [pending?.key]]);
  });

  test("a submit that was made offline brings the grant that it asks for", async () => {
    device.server.down();
    const page = device.page();
    const submitted = page.outbox.submit("report", { rows: 1 }, { grant: { ttl: 600 } });
    await pass(1000);
    device.server.up();
    await pass(10_000);
    const job = await submitted;
    expect(job.grant).toMatchObject({ token: "grant-1" });
    expect(device.server.jobs.map(({ id }) => id)).toEqual([job.id]);
  });

  test("a page that died offline: the next one sends all, in order, once each", async () => {
    device.server.down();
    const dead = device.page();
    const keys = Array.from({ length: 20 }, (_, i) => `k${i}`);
    for (const key of keys) dead.submit({ key }, key);
    await pass(5000);
    dead.die();
    const page = device.page();
    await pass(5000);
    expect([page.keys, jobs(device.server)]).toEqual([keys, []]);
    device.server.up();
    await pass(60_000);
    expect(jobs(device.server)).toEqual(keys);
    expect([page.keys, page.acked, device.storage.items.size]).toEqual([[], keys, 0]);
  });

  test("a page that died before its ack: there is one job", async () => {
    const dead = device.page();
    device.server.loseAcks();
    dead.submit(1, "k");
    await pass();
    expect(jobs(device.server)).toEqual(["k"]);
    dead.die();
    const page = device.page();
    await pass(60_000);
    expect([jobs(device.server), page.acked, page.keys]).toEqual([["k"], ["k"], []]);
  });

  test.each(["the leader", "another"])("of two tabs %s dies: the tab that lives sends at once", async (which) => {
    const [first, second] = [device.page(), device.page()];
    await pass();
    const [dead, alive] = which === "another" ? [second, first] : [first, second];
    device.server.delayAcks(3_600_000); // it is never acked to the page that dies
    dead.submit(1, "k");
    await pass(100);
    expect(alive.keys).toEqual(["k"]);
    device.server.delayAcks(0);
    dead.die();
    await pass(1000);
    expect([jobs(device.server), alive.acked, alive.keys]).toEqual([["k"], ["k"], []]);
  });

  test("a tab that lives sends its own: the leader does not", async () => {
    const [leader, other] = [device.page(), device.page()];
    await pass();
    device.server.delayAcks(100);
    other.submit(1, "k");
    await pass(1000);
    const submits = device.server.sessions.flatMap(({ received }) => received).filter(({ type }) => type === "submit");
    expect([submits.length, leader.acked, other.acked, leader.keys]).toEqual([1, [], ["k"], []]);
  });

  test("without locks each sends what it finds, and there is one job", async () => {
    device.modern = false;
    const first = device.page();
    device.server.delayAcks(100);
    first.submit(1, "k");
    await pass(10);
    const second = device.page();
    await pass(1000);
    expect([jobs(device.server), first.acked, second.acked]).toEqual([["k"], ["k"], ["k"]]);
    expect(device.storage.items.size).toBe(0);
  });

  test("a submit of one user is not sent for another, nor seen", async () => {
    device.server.down();
    device.page().submit(1, "k");
    await pass(1000);
    for (const page of device.pages) page.die();
    device.server.up();
    const eve = device.page({ user: "eve" });
    await pass(60_000);
    expect([eve.keys, jobs(device.server)]).toEqual([[], []]);
    await eve.close();
    const ada = device.page();
    await pass(60_000);
    expect([ada.acked, jobs(device.server)]).toEqual([["k"], ["k"]]);
  });

  test("while somebody else is signed in nothing is sent", async () => {
    let user = "ada";
    device.server.refuse("overloaded", { retryAfter: 5 });
    const page = device.page({ user: () => user });
    const submitted = page.submit(1, "k");
    await pass(1000);
    user = "eve";
    await pass(10_000);
    expect(await codeOf(submitted)).toBe("outbox_user");
    expect(await codeOf(page.submit(2))).toBe("outbox_user");
    expect([page.keys, jobs(device.server)]).toEqual([["k"], []]);
  });

  test("its number, bytes and age are bounded, each with a code", async () => {
    device.server.down();
    const page = device.page({ maxItems: 2, maxBytes: 1000, maxAge: 5000 });
    expect(await codeOf(page.submit("x".repeat(500)))).toBe("outbox_full");
    const [first, second] = [page.submit(1, "a"), page.submit(2, "b")];
    expect(await codeOf(page.submit(3))).toBe("outbox_full");
    await pass(4000);
    expect(page.keys).toEqual(["a", "b"]);
    await pass(60_000);
    expect([await codeOf(first), await codeOf(second)]).toEqual(["outbox_expired", "outbox_expired"]);
    expect([page.keys, page.failed.sort()]).toEqual([[], ["a outbox_expired", "b outbox_expired"]]);
  });

  test("a refusal for good rejects; one whose page is gone stays until it is discarded", async () => {
    const page = device.page();
    device.server.refuse("validation_failed");
    expect(await codeOf(page.submit(1, "a"))).toBe("validation_failed");
    expect([page.keys, page.failed]).toEqual([[], ["a validation_failed"]]);
    device.server.down();
    page.submit(2, "b");
    await pass();
    page.die();
    device.server.up();
    device.server.refuse("unknown_job_type", { detail: "no such type" });
    const next = device.page();
    await pass(60_000);
    expect(next.failed).toEqual(["b unknown_job_type"]);
    await next.close();
    const last = device.page();
    await pass(60_000);
    const [pending] = last.outbox.pending().snapshot();
    const error = { code: "unknown_job_type", message: "no such type" };
    expect(pending).toMatchObject({ key: "b", payload: 2, error });
    await last.outbox.discard("b");
    expect([last.keys, device.storage.items.size, jobs(device.server)]).toEqual([[], 0, []]);
  });

  test("what nobody discards is removed at twice its age", async () => {
    device.server.down();
    device.page().submit(1, "a");
    await pass();
    for (const page of device.pages) page.die();
    device.server.up();
    device.server.refuse("forbidden");
    await device.page({ maxAge: 1000 }).close();
    const first = device.page({ maxAge: 1000 });
    await pass(500);
    expect(first.keys).toEqual(["a"]);
    await first.close();
    await pass(5000);
    const second = device.page({ maxAge: 1000 });
    await pass(100);
    expect([second.keys, device.storage.items.size]).toEqual([[], 0]);
  });

  test("a server that is busy is asked again, not before the time that it named", async () => {
    device.server.refuse("overloaded", { retryAfter: 90, times: 2 });
    const page = device.page();
    const submitted = page.submit(1, "k");
    await pass(89_000);
    expect(jobs(device.server)).toEqual([]);
    await pass(120_000);
    expect([jobs(device.server), await codeOf(submitted)]).toEqual([["k"], "none"]);
  });

  test("what is kept and cannot be read is left alone", async () => {
    for (const text of ["nonsense", "null", "5"]) device.storage.items.set(`ackwire/ada/0${text}`, text);
    device.server.down();
    device.page().submit(1, "k");
    await pass(1000);
    for (const page of device.pages) page.die();
    device.server.up();
    const page = device.page();
    await pass(60_000);
    expect([jobs(device.server), page.acked, page.keys.includes("k")]).toEqual([["k"], ["k"], false]);
    expect(device.storage.items.get("ackwire/ada/0nonsense")).toBe("nonsense");
  });

  test("pending() shows a submit once it is kept, not before: a page that shows it may be closed", async () => {
    const { storage } = device;
    let keep!: () => void;
    const slow = new Promise<void>((resolve) => { keep = resolve; });
    const setItem = storage.setItem.bind(storage);
    storage.setItem = async (key, value) => { await slow; await setItem(key, value); };
    device.server.down();
    const page = device.page();
    page.outbox.submit("t", 1).catch(() => {});
    await pass();
    expect(page.outbox.pending().snapshot()).toEqual([]);
    keep();
    await pass();
    expect(page.outbox.pending().snapshot().length).toBe(storage.items.size);
    expect(storage.items.size).toBe(1);
    device.server.up();
  });

  test("a storage that fails: the submit is refused and not sent", async () => {
    const page = device.page();
    vi.spyOn(device.storage, "setItem").mockRejectedValue(new Error("no room"));
    expect(await codeOf(page.submit(1))).toBe("outbox_unavailable");
    await pass(1000);
    expect([page.keys, device.server.sessions]).toEqual([[], []]);
  });

  test("a client that is closed leaves its submits to the next", async () => {
    device.server.down();
    const page = device.page();
    const submitted = page.submit(1, "k");
    await pass(1000);
    await page.client.close();
    expect(await codeOf(submitted)).toBe("closed");
    expect(await codeOf(page.submit(2))).toBe("outbox_closed");
    device.server.up();
    const next = device.page();
    await pass(60_000);
    expect([next.acked, jobs(device.server)]).toEqual([["k"], ["k"]]);
  });

  test("a submit that is aborted leaves the outbox", async () => {
    device.server.down();
    const page = device.page();
    const abort = new AbortController();
    const submitted = page.outbox.submit("report", 1, { key: "k", signal: abort.signal });
    await pass(1000);
    abort.abort(new Error("enough"));
    await expect(submitted).rejects.toThrow("enough");
    expect([page.keys, device.storage.items.size]).toEqual([[], 0]);
  });

  test("pending() is a store: its value is the same until it changes, and it works without this", async () => {
    device.server.down();
    const page = device.page();
    const { subscribe, snapshot } = page.outbox.pending();
    const changed = vi.fn();
    const leave = subscribe(changed);
    const before = snapshot();
    expect(snapshot()).toBe(before);
    page.submit(1, "k");
    await pass(100);
    expect(changed).toHaveBeenCalledOnce();
    expect(snapshot()).not.toBe(before);
    expect(snapshot()).toBe(snapshot());
    leave();
    device.server.up();
    await pass(60_000);
    expect([changed.mock.calls.length, snapshot()]).toEqual([1, []]);
  });

  test("the options of a submit are kept with it", async () => {
    device.server.down();
    const page = device.page();
    const runAt = new Date(Date.now() + 3_600_000);
    const options = { key: "k", runAt, timeout: 30, callbackUrl: "https://example.com" };
    page.outbox.submit("report", 1, options).catch(() => {});
    await pass();
    page.die();
    device.server.up();
    device.page();
    await pass(60_000);
    expect(device.server.jobs[0]?.submitted).toMatchObject({
      key: "k", runAt: runAt.toISOString(), timeout: 30, callbackUrl: "https://example.com",
    });
  });
});

test("IndexedDB keeps what a page leaves behind", async () => {
  vi.useRealTimers();
  const storage = indexedDBStorage("test");
  await storage.setItem("a", "1");
  await storage.setItem("a", "2");
  await storage.setItem("b", "3");
  await storage.removeItem("b");
  const other = indexedDBStorage("test");
  expect(await other.getAllKeys()).toEqual(["a"]);
  expect([await other.getItem("a"), await other.getItem("b")]).toEqual(["2", undefined]);
});

test("without IndexedDB a submit is refused, and nothing else fails", async () => {
  vi.stubGlobal("indexedDB", undefined);
  vi.stubGlobal("BroadcastChannel", undefined);
  const server = createServer();
  const client = connect(server.options);
  const outbox = offline(client, { user: "ada" });
  await pass(1000);
  expect(await codeOf(outbox.submit("report", 1))).toBe("outbox_unavailable");
  outbox.close();
  await client.close();
});

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("submit" as const), page: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("die" as const, "open" as const), page: fc.nat(2) }) },
  fc.record({ do: fc.constantFrom("down" as const, "up" as const, "cut" as const, "lose" as const, "slow" as const) }),
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.constantFrom(0, 1, 10, 1000, 20_000) }),
  },
);

test("whatever dies and whenever: every submit that was kept becomes exactly one job", async () => {
  await fc.assert(fc.asyncProperty(fc.boolean(), fc.array(step, { maxLength: 40 }), async (modern, steps) => {
    const device = new Device();
    device.modern = modern;
    const pages = [device.page(), device.page(), device.page()];
    let made = 0;
    for (const action of steps) {
      const at = "page" in action ? action.page : 0;
      switch (action.do) {
        case "submit": void pages[at]?.submit(made, `k${made++}`); break;
        case "die": pages[at]?.die(); pages[at] = device.page(); break;
        case "open": await pages[at]?.close(); pages[at] = device.page(); break;
        case "down": device.server.down(); break;
        case "up": device.server.up(); break;
        case "cut": device.server.cut(); break;
        case "lose": device.server.loseAcks(); break;
        case "slow": device.server.delayAcks(500); break;
        case "pass": await pass(action.ms); break;
      }
    }
    await pass(); // what is being kept is kept
    device.server.up();
    await pass(120_000);
    const keys = Array.from({ length: made }, (_, i) => `k${i}`);
    expect(jobs(device.server).sort()).toEqual(keys.sort());
    expect(device.storage.items.size).toBe(0);
    for (const page of device.pages) expect(page.keys).toEqual([]);
    await device.end();
  }), { numRuns: 60 });
}, 60_000);
