// The conformance suite of the Durable Streams protocol, against a gateway and a worker.

import { stream } from "@durable-streams/client";
import { runConformanceTests } from "@durable-streams/server-conformance-tests";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { Adapter, type } from "./lib/adapter.js";
import { leftOut } from "./lib/leftout.js";
import { serve, until, type System } from "./lib/process.js";

let system: System;
let folder: string;
const adapter = new Adapter(() => `http://${system.gateways[0]}`);
const options = { baseUrl: "", longPollTimeoutMs: 20_000 };

/** The rows of the table that were met. */
const met = new Set<(typeof leftOut)[number]>();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "ackwire-types-"));
  const types = join(folder, "types.yaml");
  writeFileSync(types, `types:\n  ${type}: {attempts: 1, streamRate: 67108864, streamLimit: 67108864}\n`);
  options.baseUrl = (await adapter.start()).url;
  system = await serve("--job-types", types, "--type", `${type}=${adapter.url}/handler`);
});
beforeEach(({ task, skip }) => {
  const groups: string[] = [];
  for (let s = task.suite; s; s = s.suite) groups.push(s.name);
  const why = leftOut.find(([group, test]) => groups.includes(group) && (test === undefined || test === task.name));
  if (why) {
    met.add(why);
    skip(why[2]);
  }
  adapter.impossible = 0;
});
afterEach(async () => {
  await adapter.endAll();
  expect(adapter.impossible).toBe(0);
});
afterAll(async () => {
  await adapter.stop();
  await system?.stop();
  rmSync(folder, { recursive: true, force: true });
  const whole = met.size > 1; // the tests were not picked by name
  expect(whole ? leftOut.filter((row) => !met.has(row)).map((row) => row[0]) : []).toEqual([]);
});

runConformanceTests(options);

for (const live of ["long-poll", "sse"] as const) {
  test(`a list is followed from before its beginning, by ${live}`, async () => {
    const url = `${adapter.url}/early-${live}`;
    const asJSON = { "content-type": "application/json" };
    expect((await fetch(url, { method: "PUT", headers: asJSON })).status).toBe(201);
    const answers = await stream<number>({ url, offset: "-1", live, headers: { Accept: "application/json" } });
    const items: number[] = [];
    answers.subscribeJson((batch) => { items.push(...batch.items); });
    for (const body of ["[1,2]", "3"]) {
      expect((await fetch(url, { method: "POST", headers: asJSON, body })).status).toBe(204);
    }
    await until(() => `the items have come: ${JSON.stringify(items)}`, () => items.length === 3);
    expect(items).toEqual([1, 2, 3]);
    expect((await fetch(url, { method: "POST", headers: { "stream-closed": "true" } })).status).toBe(204);
    await answers.closed;
  });
}
