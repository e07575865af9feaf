// Frames that make no sense are counted and dropped, and take nothing down.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { outcomeOf, pass, read, settle, world } from "./fake.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const ack = (id: string) => ({ type: "ack", id, jobId: "j9", state: "pending", statusUrl: "" });

test.each<[string | object, boolean]>([
  ["", true], ["nonsense", true], ["null", true], ["1", true], ["[]", true], ["{}", true], ['{"type":5}', true],
  ['{"type":"status"}', true], ['{"type":"status","version":1,"job":null}', true],
  ['{"type":"status","version":"1","job":{"jobId":"j1","state":"queued"}}', true],
  ['{"type":"status","version":1e308,"job":{"jobId":"j1","state":"queued"}}', true],
  ['{"type":"status","version":1.5,"job":{"jobId":"j1","state":"queued"}}', true],
  ['{"type":"status","version":-1,"job":{"jobId":"j1","state":"queued"}}', true],
  ['{"type":"status","version":1,"job":{"jobId":5,"state":"queued"}}', false],
  ['{"type":"status","version":1,"job":{"jobId":"j1","state":{}}}', true],
  ['{"type":"subscribed"}', true], ['{"type":"subscribed","id":"2","jobs":[null]}', true],
  ['{"type":"subscribed","id":"2","jobs":"j1"}', false], ['{"type":"subscribed","id":"2","jobs":{"a":1}}', true],
  ['{"type":"error"}', true], ['{"type":"error","code":5}', true], ['{"type":"cursor","cursor":5}', true],
  ['{"type":"error","id":"zz","code":"internal"}', false], ['{"type":"error","code":"internal"}', false],
  ['{"type":"ack","id":"zz","jobId":5}', false], ['{"type":"goaway_soon"}', false], ['{"type":"brand_new","x":[1]}', false],
  ['{"type":"welcome","limits":{"frameBytes":"x","inFlightSubmits":-1,"subscriptions":null}}', false],
  ['{"type":"welcome","limits":null,"pingInterval":[]}', false], ['{"type":"welcome","limits":"abc"}', false],
  ['{"type":"expiring"}', false], ['{"type":"pong","id":{}}', false], ['{"type":"unsubscribed"}', false],
  ['{"type":"__proto__"}', false], ['{"__proto__":{"type":"status"},"type":"pong"}', false],
  ['{"type":"constructor"}', false],
])("%s", async (text, bad) => {
  const w = world({ welcome: true });
  const got = read(w.client.watch("j1"));
  const submit = outcomeOf(w.client.submit("t", 1));
  const stop = new AbortController();
  void read(w.client.mine({ signal: stop.signal }));
  await settle();
  w.server.last.say(text);
  await settle();
  expect(w.client.connection.snapshot().badFrames).toBe(bad ? 1 : 0);
  w.server.last.say(ack(w.server.last.sent.find((f) => f.type === "submit").id));
  w.server.last.status("j1", 3, "completed");
  await settle();
  expect(submit.value?.id).toBe("j9");
  expect(got.values).toMatchObject([{ version: 3 }]);
  expect(({} as any).type).toBeUndefined();
  await w.client.close();
});

test("__proto__ in documents, IDs and limits changes no prototype", async () => {
  const w = world({ welcome: true });
  const got = read(w.client.watch("__proto__"));
  await settle();
  w.server.last.say('{"type":"subscribed","id":"1","jobs":[{"jobId":"__proto__","version":1}]}');
  w.server.last.say('{"type":"status","version":1,"job":{"jobId":"__proto__","state":"completed","__proto__":{"polluted":1},"result":{"__proto__":{"polluted":2}}}}');
  await settle();
  expect(got.values).toHaveLength(1);
  expect(({} as any).polluted).toBeUndefined();
  expect(Object.hasOwn((got.values[0] as any).result, "__proto__")).toBe(true);
});

test("frames before the welcome are not taken for a session", async () => {
  const w = world();
  const got = read(w.client.watch("j1"));
  await settle();
  w.server.last.status("j1", 1);
  w.server.last.say({ type: "ack", id: "1", jobId: "j1" });
  w.server.last.say({ type: "error", code: "overloaded", title: "", retryable: true });
  await settle();
  expect(got.values).toEqual([]);
  expect(w.client.connection.snapshot().state).toBe("connecting");
  w.server.last.end(1013);
  await settle();
  expect(w.client.connection.snapshot()).toMatchObject({ state: "waiting", failures: 1, error: { code: "overloaded" } });
  await w.client.close();
});

test("frames after the end are nobody's", async () => {
  const w = world({ welcome: true });
  const got = read(w.client.watch("j1"));
  await settle();
  const old = w.server.last;
  old.end();
  old.say({ type: "status", version: 1, job: { jobId: "j1", state: "queued" } });
  old.events.closed(4500, "again");
  await pass(1_000);
  expect(got.values).toEqual([]);
  expect(w.client.connection.snapshot().state).toBe("open");
  await w.client.close();
});
