// An operator's evening, with the console and nothing else: 5,000 jobs, of which 700 have failed with three kinds of error,
// a lane without workers, a stuck handler, 12 dead letters and webhooks whose receiver is broken. Each is found,
// understood and repaired by the page, and the numbers are right in the end.

import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open as opened, type Opened } from "./lib/console.js";
import { freeAddresses, Process, serve, until, type System } from "./lib/process.js";
import { partitionOf, produce } from "./lib/produce.js";
import { trade, type Trade } from "./lib/trade.js";

let trading: Trade;
let system: System;
let worker: Process | undefined;
let browser: Browser;
let gateway: string;
let kafka: string;
let stuck: string;

const jobTypes = `
defaults: {attempts: 1, retention: 24h}
types:
  invoice.send: {}
  report.render: {lane: reports}
  image.scale: {}
  order.close: {}
  video.encode: {lane: reports}
  mail.digest: {lane: mail}
`;

/** How many jobs there are of each type, and how many of them fail. */
const plan: [type: string, jobs: number, failing: number, needs: string][] = [
  ["video.encode", 1, 0, ""], ["invoice.send", 3000, 400, "mail"], ["report.render", 1200, 200, "disk"], ["image.scale", 307, 100, "image"],
  ["mail.digest", 480, 0, ""], ["order.close", 12, 0, ""],
];

beforeAll(async () => {
  trading = await trade();
  [system, browser] = await Promise.all([start(), launch()]);
  gateway = `http://${system.gateways[0]}`;
  const { args } = system.processes[0]!;
  kafka = args[args.indexOf("--kafka-listen") + 1]!;
  for (const [job, jobs, failing, needs] of plan) {
    const ids = await submit(Array.from({ length: jobs }, (_, i) => ({
      job, payload: { n: i, ...(i < failing && { needs }) },
      // Three are for a route that is gone, nine for one that fails.
      ...(job === "order.close" && { callbackUrl: `${trading.url}/hooks/${i < 3 ? "old" : "orders"}` }),
    })));
    if (job === "video.encode") stuck = ids[0]!;
  }
  await until(() => `all is as bad as it gets: ${JSON.stringify(counted)}`, async () => {
    counted = await counts();
    return counted["failed"] === 703 && counted["retrying"] === 9 && counted["pending"] === 480 && counted["processing"] === 1;
  });
  await spoil();
});
afterAll(async () => {
  await browser?.close();
  await Promise.all([worker?.kill(), system?.stop()]);
  trading?.stop();
});

async function start(): Promise<System> {
  const at = (type: string, path: string) => ["--type", `${type}=${trading.url}${path}`];
  const file = join(tmpdir(), `evening-${process.pid}.yaml`);
  writeFileSync(file, jobTypes);
  const started = await serve("--job-types", file, ...["invoice.send", "report.render", "image.scale", "order.close"].flatMap((t) => at(t, "/run")),
    ...at("video.encode", "/hang"), "--webhook-schemes", "http,https", "--webhook-ports", "0", "--webhook-allow", "127.0.0.0/8");
  rmSync(file);
  return started;
}

const read = async <T>(path: string): Promise<T> => (await (await fetch(gateway + path)).json()) as T;

/** Submits jobs, 1,000 at a time. */
async function submit(jobs: object[]): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < jobs.length; i += 1000) {
    const response = await fetch(`${gateway}/v1/jobs:batch`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ jobs: jobs.slice(i, i + 1000) }),
    });
    const { results } = (await response.json()) as { results: { outcome: string; ack?: { jobId: string } }[] };
    expect([...new Set(results.map((r) => r.outcome))]).toEqual(["acked"]);
    ids.push(...results.map((r) => r.ack!.jobId));
  }
  return ids;
}

let counted: Record<string, number> = {};

/** How many jobs there are by state, or of one type. */
async function counts(type?: string): Promise<Record<string, number>> {
  const all: Record<string, number> = {};
  for (const c of (await read<{ counts: { type: string; state: string; jobs: number }[] }>("/v1/stats")).counts) {
    if (!type || c.type === type) all[c.state] = (all[c.state] ?? 0) + c.jobs;
  }
  return all;
}

/** Writes what becomes 12 dead letters: four requests that are none, and eight orders of a client with a wrong partitioner. */
async function spoil(): Promise<void> {
  const { jobs } = await read<{ jobs: { jobId: string }[] }>("/v1/jobs?type=invoice.send&state=failed&limit=8");
  const nowhere = Array.from({ length: 4 }, (_, i) => ({ key: `row-${i}`, value: Buffer.from(`"a row of another table, ${i}"`) }));
  await produce(kafka, "ackwire.requests.default", 0, nowhere);
  for (const { jobId } of jobs) {
    const wrong = (partitionOf(jobId, 12) + 1) % 12;
    await produce(kafka, "ackwire.status", wrong, [{ key: jobId, value: Buffer.from(JSON.stringify({ v: 1, type: "retryRequested", jobId })) }]);
  }
  await until("12 dead letters", async () => (await read<{ letters: unknown[] }>("/v1/dead")).letters.length === 12);
}

const open = (path = ""): Promise<Opened> => opened(browser, `${gateway}/console/${path}`);

const go = (page: Page, name: string) => page.getByRole("link", { name, exact: true }).click();
const tile = async (page: Page, state: string) => (await page.locator(`.tile.${state} b`).innerText()).replaceAll(",", "");
const rowOf = (page: Page, text: string) => page.locator("tr", { hasText: text }).first();

/** Orders all that match the filter of the page's list, agrees to the number, and waits for what came of it. */
async function orderAll(page: Page, verb: string, n: number): Promise<void> {
  await page.getByRole("button", { name: "All that match" }).click();
  await page.getByRole("toolbar").getByRole("button", { name: verb, exact: true }).click();
  const dialog = page.getByRole("dialog", { name: `${verb} all ${n} jobs that match?` });
  await dialog.waitFor();
  await dialog.getByRole("button", { name: `${verb} ${n} jobs` }).click();
  await page.waitForURL("**/jobs/*");
  await page.waitForSelector("h1:has-text('ackwire.bulk')");
  if (n > 300) await page.locator(".part.live", { hasText: `of ${n}` }).waitFor(); // it takes more than a second
  await page.waitForSelector(".head .state.completed");
  const result = page.getByLabel("Result", { exact: true });
  await result.waitFor();
  expect((await result.innerText()).replace(/\s/g, "")).toContain(`"matched":${n}"done":${n}"skipped":{"changed":0"not_found":0"refused":0}`);
}

test("an operator finds, understands and repairs it all, with the page alone", async () => {
  const { page, context, complaints } = await open();

  // The overview tells that something is wrong, and where.
  await page.waitForSelector("h2:has-text('Lanes')");
  await until("700 have failed", async () => (await tile(page, "failed")) === "700");
  await until("480 wait", async () => (await tile(page, "pending")) === "480");
  expect(await rowOf(page, "mail").innerText()).toMatch(/0\s+480\s+\S.*\s+0\s+0\s+no workers/);
  const needs = page.getByRole("region", { name: "What needs somebody now" });
  for (const text of [/^Jobs of lane mail wait.*: it has no workers$/, /^A dead letter came /, /^An endpoint of webhooks is paused$/]) {
    await needs.getByRole("link", { name: text }).waitFor({ timeout: 60_000 });
  }

  // Webhooks: one route is gone for good, one is held back because it fails.
  await go(page, "Webhooks");
  const paused = rowOf(page, "/hooks/orders");
  await paused.getByText(/^paused, [5-9] failures in a row; tried again in \d+ s$/).waitFor({ timeout: 60_000 });
  const gone = rowOf(page, "/hooks/old");
  expect(await gone.innerText()).toMatch(/not paused\s+3 webhooks\s+webhook_gone the endpoint answered 410/);
  trading.broken.hooks = false;
  await gone.getByRole("checkbox").check();
  await page.getByRole("button", { name: "Send again", exact: true }).click();
  await page.getByRole("dialog", { name: "Send 3 webhooks again?" }).getByRole("button", { name: "Send again" }).click();
  await page.waitForSelector(".toast:has-text('3 jobs were run again')");
  await until("three webhooks have come", () => trading.hooks.size >= 3);

  // A job of the lane without workers says what it waits for. With a worker the lane heals.
  await go(page, "Overview");
  await rowOf(page, "mail").getByRole("link").click();
  await page.waitForSelector("tbody tr .state.pending");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".why-box.bad >> text=No worker is connected to lane mail");
  const [ops] = (await freeAddresses(1)) as [string];
  worker = await new Process("processor", ops, ["--kafka", kafka, "--lanes", "mail", "--ops", ops, "--type", `mail.digest=${trading.url}/run`]).start();
  await page.waitForSelector(".head .state.completed");
  await go(page, "Overview");
  await until("the lane has healed", async () => /keeps up/.test(await rowOf(page, "mail").innerText()) && (await tile(page, "pending")) === "0");

  // Three kinds of error, by type. The first may go better later.
  const failedOf = (type: string, n: number) => rowOf(page, type).getByRole("link", { name: String(n), exact: true });
  await failedOf("invoice.send", 400).click();
  await page.waitForSelector("tbody >> text=smtp_down the mail relay mx1 refuses connections");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".failure >> text=smtp_down may go better later");
  trading.broken.mail = false;

  // Dead letters: the orders of a client with a wrong partitioner work when they are written again, the requests do not.
  await page.keyboard.press("g");
  await page.keyboard.press("d");
  await page.waitForSelector("text=12 letters");
  const reasons = (await page.locator("tbody .c-reason").allInnerTexts()).sort();
  expect(reasons).toEqual([...Array(4).fill("bad_request"), ...Array(8).fill("wrong_partition")]);
  await rowOf(page, "wrong_partition").getByRole("link").click();
  await page.waitForSelector(".why-box >> text=record is not in its key's partition (murmur2)");
  await page.waitForSelector("[aria-label=Value] >> text=retryRequested");
  await page.keyboard.press("Escape");
  await page.getByLabel("Choose all dead letters of this page").check();
  await page.getByRole("button", { name: "Requeue", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "Requeue 12 dead letters?" });
  expect(await dialog.innerText()).toContain("If the cause is still there, a new letter comes; this one stays in the list.");
  await dialog.getByRole("button", { name: "Requeue" }).click();
  await page.waitForSelector(".toast:has-text('12 records are in their topic again')");
  await page.getByRole("button", { name: "↑ 4 new" }).waitFor();

  // All others of the first kind.
  await go(page, "Overview");
  await failedOf("invoice.send", 392).click();
  await page.waitForSelector("tbody tr .state.failed");
  await orderAll(page, "Retry", 392);

  // The second kind, and the third, which would fail again whatever one does.
  await go(page, "Overview");
  await failedOf("report.render", 200).click();
  await page.waitForSelector("tbody >> text=disk_full no space left on /var/reports");
  trading.broken.disk = false;
  await orderAll(page, "Retry", 200);
  await go(page, "Overview");
  await failedOf("image.scale", 100).click();
  await page.waitForSelector("tbody >> text=bad_image the picture has no pixels");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".failure >> text=bad_image would fail again");
  await page.keyboard.press("Escape");
  await page.waitForSelector("tbody tr .state.failed");
  await orderAll(page, "Erase", 100);

  await cancelStuck();

  // In the end all is calm.
  await go(page, "Webhooks");
  await page.waitForSelector("text=And no webhook has failed for good within this time", { timeout: 120_000 });
  await go(page, "Overview");
  await page.waitForSelector("text=Nothing has failed.");
  // Those that were held back come some seconds behind the end of the pause.
  await until("the webhooks are delivered", async () => /webhook\s+0\s+0\s+0\s+0\s+12\s+0\s+0/.test(await rowOf(page, "ackwire.webhook").innerText()), 60_000);
  await until("all is done", async () => (await tile(page, "completed")) === "4902");
  const states = ["pending", "scheduled", "processing", "retrying", "failed", "cancelled"];
  expect(await Promise.all(states.map((s) => tile(page, s)))).toEqual(["0", "0", "0", "0", "0", "1"]);
  const conditions = await page.getByRole("group", { name: "Lanes" }).locator(".condition").allInnerTexts();
  expect([...new Set(conditions)]).toEqual(["keeps up"]);
  await go(page, "Audit");
  // The newest are the erasures, one by one: the order lies behind them.
  await page.waitForSelector("tr:has-text('erased') >> text=image.scale");
  await page.getByRole("button", { name: "Older" }).click();
  await page.waitForURL("**/audit?cursor=*");
  await page.getByRole("button", { name: "Older" }).click();
  await page.waitForSelector("tr:has-text('ordered a bulk action: erase, 100 jobs of local')");
  expect((await page.locator("tbody td.wrap").first().boundingBox())!.width).toBeGreaterThan(100); // can be read
  expect(complaints).toEqual([]);
  await context.close();

  // The API says the same.
  expect(await counts()).toEqual({ completed: 4914, cancelled: 1 });
  expect(await counts("invoice.send")).toEqual({ completed: 3000 });
  expect(await counts("report.render")).toEqual({ completed: 1200 });
  expect(await counts("image.scale")).toEqual({ completed: 207 });
  expect(await counts("mail.digest")).toEqual({ completed: 480 });
  expect(await counts("ackwire.webhook")).toEqual({ completed: 12 });
  expect(await counts("ackwire.bulk")).toEqual({ completed: 3 });
  const times = [...trading.runs.values()];
  expect([1, 2].map((n) => times.filter((t) => t === n).length), "runs of each job").toEqual([4400, 600]);
  expect([...trading.hooks.values()]).toEqual(Array(12).fill(1));
}, 180_000);

/** The operator comes back to the page of workers after two minutes, and finds the handler that has told nothing since. */
async function cancelStuck(): Promise<void> {
  const { page, context, complaints } = await open();
  await page.clock.install(); // only the browser's time is moved
  await page.reload();
  await go(page, "Workers");
  await page.waitForSelector("text=reported");
  await page.clock.fastForward("02:10");
  await page.waitForSelector("text=1 may be stuck");
  const row = rowOf(page, "video.encode");
  expect(await row.innerText()).toMatch(/no news for 2 min/);
  await row.getByRole("link").first().click();
  await page.waitForSelector(".why-box >> text=works on attempt 1 of 1");
  expect(page.url()).toContain(stuck);
  expect(trading.hanging.size).toBe(1);
  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  await page.waitForSelector(".head .state.cancelled");
  await until("the handler was told to stop", () => trading.hanging.size === 0);
  expect(complaints).toEqual([]);
  await context.close();
}
