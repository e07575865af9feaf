// A device that sleeps and wakes, a page that is hidden and seen, and clocks.

import { afterEach, describe, expect, test, vi } from "vitest";
import { fakeTime, outcomeOf, pass, read, settle, watching, world } from "./fake.js";

fakeTime(0.999999);

describe("waking", () => {
  /** What a page has: events, and whether it is seen. */
  function page() {
    const document = { visibilityState: "visible" };
    const events = new EventTarget(); // of the window, which hears those of the document on their way down
    let listeners = 0;
    vi.stubGlobal("document", document);
    vi.stubGlobal("addEventListener", (...args: [string, () => void]) => (listeners++, events.addEventListener(...args)));
    vi.stubGlobal("removeEventListener", (...args: [string, () => void]) => (listeners--, events.removeEventListener(...args)));
    const fire = (name: string) => events.dispatchEvent(new Event(name));
    return {
      online: () => fire("online"),
      pageshow: () => fire("pageshow"),
      resume: () => fire("resume"),
      show(visibilityState: string) {
        document.visibilityState = visibilityState;
        fire("visibilitychange");
      },
      listeners: () => listeners,
    };
  }
  afterEach(() => vi.unstubAllGlobals());

  test.each(["online", "pageshow", "resume"] as const)("a client that waits comes back at once: %s", async (event) => {
    const p = page();
    const w = world({ backoff: { base: 10_000, cap: 60_000 } });
    w.server.opened = (s) => queueMicrotask(() => s.end());
    void read(w.client.watch("j1"));
    await pass(40_000);
    const before = w.server.sessions.length;
    p[event]();
    await settle();
    expect(w.server.sessions).toHaveLength(before + 1);
    await w.client.close();
  });

  test("visible counts, hidden does not; React Native's AppState is given as wake", async () => {
    const p = page();
    let wake = () => {};
    let stopped = 0;
    const w = world({ backoff: { base: 60_000, cap: 60_000 }, wake: (f) => ((wake = f), () => void stopped++) });
    w.server.opened = (s) => queueMicrotask(() => s.end());
    void read(w.client.watch("j1"));
    await settle();
    p.show("hidden");
    await settle();
    expect(w.server.sessions).toHaveLength(1);
    p.show("visible");
    await settle();
    expect(w.server.sessions).toHaveLength(2);
    wake();
    await settle();
    expect(w.server.sessions).toHaveLength(3);
    await w.client.close();
    expect(stopped).toBe(1);
    expect(p.listeners()).toBe(0);
  });

  test("an open session is checked at once, and given up after 5 s; an answer keeps it", async () => {
    const p = page();
    const w = await watching();
    w.server.last.sent.length = 0;
    p.online();
    p.show("visible"); // both come: one ping
    await settle();
    w.server.last.take("ping");
    expect(w.server.last.sent).toEqual([]);
    w.server.last.say({ type: "pong" });
    await pass(5_000);
    expect(w.server.sessions).toHaveLength(1);
    p.online();
    await settle();
    await pass(5_000);
    expect(w.server.sessions[0]!.ended).toBe(true);
    await pass(100);
    expect(w.server.sessions).toHaveLength(2);
  });

  test("an attempt that hung through the sleep is given up 5 s after it", async () => {
    const p = page();
    const w = world();
    void read(w.client.watch("j1"));
    await pass(1_000);
    p.online();
    await pass(5_000);
    expect(w.server.sessions[0]!.ended).toBe(true);
  });

  test("listeners are there only while a connection is needed", async () => {
    const p = page();
    const w = world({ welcome: true });
    expect(p.listeners()).toBe(0);
    const abort = new AbortController();
    void read(w.client.watch("j1", { signal: abort.signal }));
    await settle();
    expect(p.listeners()).toBe(4);
    abort.abort();
    await settle();
    expect(p.listeners()).toBe(0);
  });
});

describe("clocks", () => {
  test("a session that answered no ping before the device slept is given up at the wake", async () => {
    const w = await watching();
    const session = w.server.last;
    session.say({ type: "subscribed", id: session.take().id, jobs: [] });
    await pass(25_000);
    session.take("ping");
    vi.setSystemTime(Date.now() + 600_000); // the device slept
    await pass(5_000);
    expect(session.ended).toBe(true);
  });

  test("a session that was sound before the device slept is asked at the wake", async () => {
    const w = await watching();
    const session = w.server.last;
    session.say({ type: "subscribed", id: session.take().id, jobs: [] });
    vi.setSystemTime(Date.now() + 600_000);
    await pass(5_000);
    session.take("ping");
    session.say({ type: "pong" });
    await pass(6_000);
    expect(session.ended).toBe(false);
  });

  test("timers that are throttled to one a minute still find a dead session", async () => {
    const w = await watching();
    const session = w.server.last;
    session.say({ type: "subscribed", id: session.take().id, jobs: [] });
    for (let i = 0; i < 4 && !session.ended; i++) {
      vi.setSystemTime(Date.now() + 60_000);
      await pass(25_000);
    }
    expect(session.ended).toBe(true);
  });

  test("deadlines go by the wall clock: a submit whose time is over during a sleep ends at the wake", async () => {
    const w = world();
    const submit = outcomeOf(w.client.submit("t", 1));
    await settle();
    vi.setSystemTime(Date.now() + 601_000);
    await pass(60_000); // no timer is longer
    expect(submit.error).toMatchObject({ code: "unavailable", retryable: true });
  });

  test("a clock that is set back stretches no wait", async () => {
    const w = world({ backoff: { base: 1_000, cap: 1_000 } });
    w.server.opened = (s) => queueMicrotask(() => s.end());
    void read(w.client.watch("j1"));
    await settle();
    vi.setSystemTime(Date.now() - 3_600_000);
    await pass(1_100);
    const before = w.server.sessions.length;
    await pass(2_500);
    expect(w.server.sessions.length).toBeGreaterThan(before);
    await w.client.close();
  });
});
