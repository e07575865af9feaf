// tabs() where tabs cannot share anything: each has a session of its own, and nothing is left behind.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { connect } from "../../src/index.js";
import { tabs } from "../../src/tabs/index.js";
import { createServer, type TestServer } from "../../src/testing/index.js";
import { Origin } from "../tabs.js";
import { FrameClient } from "./frames.js";

let server: TestServer;
let origin: Origin;
beforeEach(() => {
  vi.useFakeTimers();
  server = createServer();
  origin = new Origin();
});
afterEach(() => {
  server.stop();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const pass = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

test.each([
  ["the browser forbids locks", { locks: { request: () => Promise.reject(new DOMException("", "SecurityError")) } }],
  ["there are no locks", {}],
])("where %s each tab has a session of its own", async (_, navigator) => {
  vi.stubGlobal("navigator", navigator);
  vi.stubGlobal("BroadcastChannel", origin.tab().Channel);
  vi.stubGlobal("addEventListener", () => {});
  const transport = tabs({ transport: server.transport });
  const clients = [1, 2].map(() => connect({ url: server.url, transports: [transport], fetch: server.fetch }));
  const jobs = clients.map((client) => client.submit("a", 1));
  await pass(1000);
  expect(await Promise.all(jobs)).toHaveLength(2);
  expect(server.open).toHaveLength(2);
  expect(origin.channels.size).toBe(0);
  for (const client of clients) await client.close();
});

test("where channels or a page's events are missing nothing is left behind", async () => {
  const { locks, Channel } = origin.tab();
  vi.stubGlobal("navigator", { locks });
  for (const BroadcastChannel of [undefined, Channel]) { // the second time without addEventListener, as in Node
    vi.stubGlobal("BroadcastChannel", BroadcastChannel);
    if (!BroadcastChannel) vi.stubGlobal("addEventListener", () => {});
    else Reflect.deleteProperty(globalThis, "addEventListener");
    const client = new FrameClient(tabs({ transport: server.transport }), { base: server.url });
    await pass();
    expect(client.frames[0]?.type).toBe("welcome");
  }
  expect([origin.channels.size, origin.locks.size]).toEqual([0, 0]);
});
