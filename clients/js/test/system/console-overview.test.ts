// The console's overview in a real browser: what needs somebody now, and which versions run; and a job's trace.

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { accessible, launch, open } from "./lib/console.js";
import { serve, until, type System } from "./lib/process.js";

let system: System;
let browser: Browser;
let gateway: string;
const trace = "0af7651916cd43dd8448eb211c80319c";

beforeAll(async () => {
  [system, browser] = await Promise.all([serve("--no-processor"), launch()]);
  gateway = `http://${system.gateways[0]}`;
});
afterAll(async () => {
  await browser?.close();
  await system?.stop();
});

test("a lane without workers is named with its jobs, and a job's trace is on its page", async () => {
  const quiet = await open(browser, `${gateway}/console/`);
  await quiet.page.getByText(/^Versions: gateways .+ trackers .+ workers/).waitFor();
  expect(await quiet.page.getByLabel("What needs somebody now").count()).toBe(0);
  await quiet.page.close();

  const response = await fetch(`${gateway}/v1/jobs`, {
    method: "POST", body: JSON.stringify({ job: "demo.echo", payload: 1 }),
    headers: { "Content-Type": "application/json", traceparent: `00-${trace}-b7ad6b7169203331-01` },
  });
  const { jobId } = (await response.json()) as { jobId: string };
  interface Stats { lanes: { lane: string; waiting: number; oldestSince?: string }[] }
  await until("the trackers know since when it waits", async () =>
    ((await (await fetch(`${gateway}/v1/stats`)).json()) as Stats).lanes.some((l) => l.lane === "default" && l.waiting === 1 && l.oldestSince));

  const { page } = await open(browser, `${gateway}/console/`);
  const fires = page.getByLabel("What needs somebody now");
  const line = fires.getByRole("link", { name: "Jobs of lane default wait: it has no workers" });
  await line.waitFor();
  await page.getByRole("row", { name: /^default 0 1 / }).getByText(/\d (ms|s|min)/).waitFor();
  await accessible(page, "the overview");
  await line.click();
  await page.getByRole("link", { name: "demo.echo" }).first().click();
  await page.getByText(trace).waitFor();
  expect(page.url()).toContain(jobId);
  await page.getByRole("button", { name: "Copy the trace ID" }).waitFor();
  await accessible(page, "the job");
});
