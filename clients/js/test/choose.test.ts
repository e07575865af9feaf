// choose: which transport opens the next session, and when the first one is tried again.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { choose, lazy } from "../src/choose.js";
import type { Session, SessionEvents, Target, Transport } from "../src/types.js";

const target = { base: "http://test", query: "", token: "old", tickets: false } as Target;
const welcome = '{"type":"welcome"}';

/** A transport whose sessions the test plays. */
class Fake implements Transport {
  readonly opened: { target: Target; events: SessionEvents; sent: string[]; closedBy: number[] }[] = [];
  constructor(readonly name: string) {}
  open(target: Target, events: SessionEvents): Session {
    const entry = { target, events, sent: [] as string[], closedBy: [] as number[] };
    this.opened.push(entry);
    return {
      send: (text) => void entry.sent.push(text),
      close: (code = 1000, reason = "") => {
        entry.closedBy.push(code);
        events.closed(code, reason);
      },
    };
  }
  get last() {
    return this.opened.at(-1)!;
  }
}

class Log implements SessionEvents {
  frames: string[] = [];
  ends: number[] = [];
  frame(text: string) {
    this.frames.push(text);
  }
  closed(code: number) {
    this.ends.push(code);
  }
}

let first: Fake;
let second: Fake;
let chosen: Transport;
beforeEach(() => {
  vi.useFakeTimers();
  first = new Fake("websocket");
  second = new Fake("fallback");
  chosen = choose([first, second]);
});
afterEach(() => vi.useRealTimers());

const open = () => {
  const log = new Log();
  return { log, session: chosen.open(target, log) };
};
const fail = (transport: Fake) => {
  open();
  transport.last.events.closed(1006, "");
};

test("goes on to the next transport after two sessions that never opened", () => {
  fail(first);
  expect(chosen.name).toBe("websocket");
  fail(first);
  expect(chosen.name).toBe("fallback");
  open();
  expect(second.opened).toHaveLength(1);
});

test("a transport that has worked is given ten tries", () => {
  open();
  first.last.events.frame(welcome);
  first.last.events.closed(1006, "");
  for (let i = 0; i < 9; i++) fail(first);
  expect(chosen.name).toBe("websocket");
  fail(first);
  expect(chosen.name).toBe("fallback");
});

test("begins again with the first one when none works", () => {
  for (const transport of [first, first, second, second]) fail(transport);
  expect(chosen.name).toBe("websocket");
});

test("a session that its owner does not want any more is no failure, one that it has given up is", () => {
  for (let i = 0; i < 5; i++) open().session.close(1000);
  expect(chosen.name).toBe("websocket");
  for (let i = 0; i < 2; i++) {
    const { session } = open();
    session.close(4001);
  }
  expect(chosen.name).toBe("fallback");
});

test("a goaway for a better transport leads back to the first one, which the others are told of", () => {
  fail(first);
  fail(first);
  const { log } = open();
  expect(second.last.target.preferred).toBe(first);
  second.last.events.frame(welcome);
  second.last.events.frame('{"type":"goaway","reason":"better_transport","reconnectAfter":0}');
  expect(log.frames).toHaveLength(2);
  open();
  expect(first.opened).toHaveLength(3);
});

test("a lazy transport opens once it is loaded", async () => {
  const log = new Log();
  const transport = lazy("fallback", async () => second);
  const session = transport.open(target, log);
  await vi.advanceTimersByTimeAsync(0);
  session.send("x");
  expect(second.last.sent).toEqual(["x"]);
  session.close(1000);
  expect(log.ends).toEqual([1000]);
});

test("a lazy transport that is closed while it loads opens nothing, and tells its end once", async () => {
  const log = new Log();
  lazy("fallback", async () => second).open(target, log).close(1000);
  await vi.advanceTimersByTimeAsync(0);
  expect(second.opened).toHaveLength(0);
  expect(log.ends).toEqual([1000]);
});

test("a load that fails ends the session", async () => {
  const log = new Log();
  lazy("fallback", () => Promise.reject(new Error("offline"))).open(target, log);
  await vi.advanceTimersByTimeAsync(0);
  expect(log.ends).toEqual([1006]);
});
