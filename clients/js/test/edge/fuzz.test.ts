// Frames that no sane server sends: the fallback and tabs pass them on or drop them, and their sessions go on.

import fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import { fallback } from "../../src/fallback/index.js";
import { tabs } from "../../src/tabs/index.js";
import type { SessionEvents, Transport } from "../../src/types.js";
import { Origin } from "../tabs.js";
import { FrameClient } from "./frames.js";

afterEach(() => void vi.unstubAllGlobals());

const welcome = '{"type":"welcome","limits":{"subscriptions":10,"inFlightSubmits":2}}';
const types = ["welcome", "ack", "subscribed", "unsubscribed", "status", "error", "goaway", "expiring", "cursor", "pong"];
const hostile = fc.oneof(
  fc.string(),
  fc.json(),
  fc.record({
    type: fc.constantFrom(...types, "__proto__", "new"),
    id: fc.anything(), job: fc.anything(), jobs: fc.anything(), limits: fc.anything(), cursor: fc.anything(),
    mine: fc.anything(), version: fc.anything(), reset: fc.anything(), code: fc.anything(),
  }, { requiredKeys: ["type"] }).map((frame) => {
    try {
      return JSON.stringify(frame);
    } catch {
      return "{";
    }
  }),
  fc.constantFrom(
    '{"type":"status","version":1e999,"job":{"jobId":"__proto__","state":"x"}}', '{"__proto__":{"type":"ack"}}',
  ),
).filter((text) => !/[\r\n]/.test(text) && !text.includes("goaway"));

test("the fallback", async () => {
  const error = vi.fn();
  process.on("unhandledRejection", error);
  await fc.assert(fc.asyncProperty(fc.array(hostile, { maxLength: 20 }), async (frames) => {
    let stream: ReadableStreamDefaultController<Uint8Array> | undefined;
    const body = new ReadableStream<Uint8Array>({ start: (c) => void (stream = c) });
    const client = new FrameClient(fallback(), { base: "http://test", fetch: async () => new Response(body) });
    while (!stream) await new Promise((done) => setImmediate(done));
    for (const text of [welcome, '{"type":"subscribed","jobs":[]}', ...frames, '{"type":"pong"}']) {
      stream.enqueue(new TextEncoder().encode(`data: ${text}\n\n`));
    }
    await client.next("what follows", (f) => f?.type === "pong");
    expect(client.ends).toEqual([]);
    client.session.close(1000);
  }), { numRuns: 50 });
  process.off("unhandledRejection", error);
  expect(error).not.toHaveBeenCalled();
});

test("tabs", async () => {
  await fc.assert(fc.asyncProperty(fc.array(hostile, { maxLength: 20 }), async (frames) => {
    const tab = new Origin().tab();
    vi.stubGlobal("navigator", { locks: tab.locks });
    vi.stubGlobal("BroadcastChannel", tab.Channel);
    vi.stubGlobal("addEventListener", () => {});
    let server: SessionEvents | undefined;
    const transport: Transport = {
      name: "fake",
      open: (_, events) => {
        server = events;
        return { send() {}, close: (code = 1000, reason = "") => events.closed(code, reason) };
      },
    };
    const client = new FrameClient(tabs({ transport }), { base: "http://test" });
    while (!server) await new Promise((done) => setImmediate(done));
    server!.frame(welcome);
    client.send({ type: "subscribe", jobs: [{ jobId: "a" }] });
    for (const text of [...frames, '{"type":"pong"}']) server!.frame(text);
    expect(client.frames.at(-1)).toEqual({ type: "pong" });
    expect(client.ends).toEqual([]);
    client.session.close(1000);
  }), { numRuns: 200 });
});
