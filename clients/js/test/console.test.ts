// What the console makes of a schema, of a payload and of a history. The page itself is tested in test/system.

import { describe, expect, test } from "vitest";

type Any = any;

// By its address: the console is no part of this package.
const source = (name: string): Promise<Any> => import(new URL(`../../../gateway/console/web/src/${name}.ts`, import.meta.url).href);
const { parse, write } = await source("json");
const { blank, fits, placed, shapeOf } = await source("schema");
const { moments } = await source("past");

describe("JSON is kept as it is", () => {
  test.each([
    '{"big":12345678901234567890123,"exact":1.10,"e":-1E+5,"twice":1,"twice":2,"__proto__":{"a":[]}}', "[]", "{}", '"\\u202e"', "[[],[{}]]", "null", "[true,false,null]",
  ])("%s", (text) => {
    expect(write(parse(text))).toBe(text.replace("\\u202e", "\u202e"));
    expect(write(parse(write(parse(text), "  ")))).toBe(write(parse(text)));
  });

  test("on lines of its own it is as JSON.stringify has it", () => {
    const value = { a: [1, { b: "x" }, []], c: {}, d: null };
    expect(write(parse(JSON.stringify(value)), "  ")).toBe(JSON.stringify(value, null, "  "));
  });

  test("no depth is too deep", () => {
    const deep = "[".repeat(100_000) + "]".repeat(100_000);
    expect(write(parse(deep))).toBe(deep);
  });
});

describe("a form of a schema", () => {
  const schema = {
    type: "object", required: ["to", "kind"],
    properties: {
      note: { type: "string", maxLength: 2000, description: "For people" }, kind: { enum: ["a", "b", 3] },
      to: { $ref: "#/$defs/person" }, on: { type: "string", format: "date" }, n: { type: "integer", minimum: 0, maximum: 9 },
      tags: { type: "array", items: { type: "string" }, maxItems: 3 }, any: { oneOf: [{ type: "string" }, { type: "null" }] }, loop: { $ref: "#" },
    },
    $defs: { person: { type: "object", required: ["name"], properties: { name: { type: "string", minLength: 1 }, fit: { type: "boolean" } } } },
  };
  const shape = shapeOf(schema);

  test("has a field for each member, the required ones first", () => {
    const kinds = Object.fromEntries(shape.members.map((m: Any) => [m.name, m.shape.kind]));
    expect(shape.members.map((m: Any) => m.name)).toEqual(["kind", "to", "note", "on", "n", "tags", "any", "loop"]);
    expect(kinds).toEqual({ kind: "choice", to: "object", note: "text", on: "text", n: "number", tags: "list", any: "json", loop: "json" });
    expect(shape.members.find((m: Any) => m.name === "n").shape.hint).toBe("integer · 0 to 9");
    expect(write(blank(shape))).toBe('{"kind":"a","to":{"name":""}}');
  });

  test("ends where a schema refers to itself, and has so many fields at most", () => {
    const names = Array.from({ length: 50 }, (_, i) => "p" + i);
    const all = (value: Any) => Object.fromEntries(names.map((name) => [name, value]));
    const wide = (depth: number): Any => (depth ? { type: "object", properties: all(wide(depth - 1)) } : { type: "string" });
    const count = (at: Any): number => 1 + (at.members ?? []).reduce((n: number, m: Any) => n + count(m.shape), 0);
    const looped = { type: "object", properties: all({ $ref: "#/$defs/a" }), $defs: { a: { type: "object", properties: all({ $ref: "#/$defs/b" }) }, b: { type: "object", properties: all({ $ref: "#/$defs/a" }) } } };
    expect(count(shapeOf(wide(3)))).toBeLessThan(302);
    expect(count(shapeOf(looped))).toBeLessThan(302);
    expect(shapeOf({ type: "object", properties: { next: { $ref: "#" }, n: { type: "number" } } }).members.map((m: Any) => m.shape.kind)).toEqual(["json", "number"]);
  });

  test.each([true, false, {}, { type: "object" }, { type: ["string", "null"] }, { $ref: "other.json#/x" }, { $ref: "#/__proto__" }, { $ref: "#/$defs/none" }, { allOf: [{}] }, null, 7])(
    "%j is asked for as JSON", (schema) => {
      expect(shapeOf(schema).kind).toBe("json");
    });

  test("shows a payload only if it hides nothing of it", () => {
    const said = (text: string) => fits(shape, parse(text));
    expect(said('{"kind":"a","to":{"name":"x"},"n":12345678901234567890,"tags":["x"]}')).toBe(true);
    expect(said('{"kind":"a","more":1}')).toBe(false);
    expect(said('{"kind":"a","kind":"b"}')).toBe(false);
    expect(said('{"tags":[1]}')).toBe(false);
    expect(said("[]")).toBe(false);
  });

  test("has errors at the fields that they are about", () => {
    expect(placed([
      { pointer: "", detail: "missing properties 'from', 'a/b~c'" }, { pointer: "/to", detail: "missing property 'name'" },
      { pointer: "/n", detail: "got string, want integer" },
    ])).toEqual([
      { pointer: "/from", detail: "is missing" }, { pointer: "/a~1b~0c", detail: "is missing" }, { pointer: "/to/name", detail: "is missing" },
      { pointer: "/n", detail: "got string, want integer" },
    ]);
  });
});

describe("a history for people", () => {
  const start = Date.parse("2026-01-01T00:00:00Z");
  let offset = 0;
  const event = (seconds: number, type: string, more: Any = {}) =>
    ({ offset: offset++, at: new Date(start + seconds * 1000).toISOString(), type, by: "worker", applied: true, ...more });
  const run = { worker: "w-1", run: "R1", dispatch: 1, state: "processing", attempt: 1 };
  const told = (events: Any[]) => moments(events).map((m: Any) => (m.gap ? `(${m.what})` : [m.what, ...m.more].join(" | ")));

  test("tells what lies between, conflates reports, and marks what came too late", () => {
    const rows = told([
      event(0, "accepted", { by: "gateway", subject: "alice", state: "pending", attempt: 1 }),
      event(200, "claimed", run),
      ...Array.from({ length: 500 }, (_, i) => event(200 + i / 10, "progress", { ...run, progress: { percent: i / 10, stage: "collect", message: `row ${i}` } })),
      event(280, "leaseExpired", { by: "tracker", run: "R1", dispatch: 1, state: "retrying", attempt: 2 }),
      event(283, "requeued", { by: "tracker", dispatch: 2, state: "pending", attempt: 2 }),
      event(284, "claimed", { ...run, worker: "w-2", run: "R2", dispatch: 2, attempt: 2 }),
      event(284, "progress", { ...run, progress: { percent: 51 }, applied: false, reason: "old_dispatch", detail: "The job had been handed out again since.", attempt: 2 }),
      event(284.1, "failed", { ...run, worker: "w-2", run: "R2", error: { code: "boom", message: "no disk", retryable: false }, state: "failed", attempt: 2 }),
    ]);
    expect(rows).toEqual([
      "Accepted | by alice", "(3 min 20 s in the queue, until a worker took it)", "Claimed, attempt 1 | on w-1",
      "Progress: 0 % → 49 % | 500 reports in 49 s | collect: row 499",
      "(30 s without a sign of life: then the lease was over)", "Worker lost | by the tracker",
      "(3.0 s of pause before the next attempt)", "Handed out again | by the tracker",
      "(1.0 s in the queue, until a worker took it)", "Claimed, attempt 2 | on w-2",
      "Progress: 51 % | Changed nothing: The job had been handed out again since.",
      "Attempt failed | on w-2 | boom: no disk",
    ]);
  });

  test("a long silence between two reports is a gap", () => {
    const at = (seconds: number, percent: number) => event(seconds, "progress", { ...run, progress: { percent } });
    expect(told([at(0, 1), at(1, 2), at(100, 3)])).toEqual(["Progress: 1 % → 2 % | 2 reports in 1.0 s", "(1 min 39 s at work without a report)", "Progress: 3 %"]);
  });

  test("unknown and unreadable records are told, too", () => {
    const unreadable = { offset: 1, at: new Date(start).toISOString(), applied: false, reason: "unreadable", detail: "It cannot be read." };
    expect(told([unreadable, event(0, "somethingNew")])).toEqual(["A record that cannot be read | Changed nothing: It cannot be read.", "somethingNew"]);
  });

  test("10,000 reports are one row, at once", () => {
    const events = Array.from({ length: 10_000 }, (_, i) => event(i / 100, "progress", { ...run, progress: { percent: i / 100 } }));
    const began = performance.now();
    expect(moments(events)).toHaveLength(1);
    expect(performance.now() - began).toBeLessThan(500);
  });
});
