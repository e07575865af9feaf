// The console's pages for operators, in a real browser: dead letters, job types, a job's history, workers, webhooks, audit,
// orders to all that match; and what holds for all pages.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { accessible, launch, open as opened, type Opened } from "./lib/console.js";
import { apart, freeAddresses, run, serve, until, type System } from "./lib/process.js";
import { produce } from "./lib/produce.js";
import { endingAt, mint as mintToken } from "./lib/tokens.js";

let system: System;
let guarded: System;
let keys: string;
let browser: Browser;
let gateway: string;
let console_: string; // of the system with tokens
const ids: Record<string, string> = {};

const hostile = "<img src=x onerror='window.ran=1'> \u202egnp.exe \u001b[31mred";
const kafkaOf = (s: System) => s.processes[0]!.args[s.processes[0]!.args.indexOf("--kafka-listen") + 1]!;

beforeAll(async () => {
  keys = mkdtempSync(join(tmpdir(), "ackwire-keys-"));
  await run("ackwire", "keys", "--data", keys);
  const listen = (await freeAddresses(1))[0]!;
  [system, guarded, browser] = await Promise.all([
    serve(), serve("--jwt-key-file", join(keys, "token.key"), "--console-listen", listen), launch(),
  ]);
  gateway = `http://${system.gateways[0]}`;
  console_ = `http://${listen}`;
  await produce(kafkaOf(system), "ackwire.requests.default", 0, Array.from({ length: 12 }, (_, i) => ({
    key: hostile + i, value: i % 2 ? Buffer.from(JSON.stringify({ html: hostile, n: i })) : Uint8Array.of(0xff, 0, i), headers: { ce_id: hostile },
  })));
  ids["flaky"] = await submit("demo.flaky", { failures: 1 });
  ids["failed"] = await submit("demo.fail", { message: "no disk" });
  await until("12 dead letters", async () => (await read<{ letters: unknown[] }>("/v1/dead")).letters.length === 12);
  for (const id of Object.values(ids)) await until("it has ended", async () => "finishedAt" in (await read<object>(`/v1/jobs/${id}`)));
});
afterAll(async () => {
  await browser?.close();
  await Promise.all([system?.stop(), guarded?.stop()]);
  rmSync(keys, { recursive: true, force: true });
});

const read = async <T>(path: string): Promise<T> => (await (await fetch(gateway + path)).json()) as T;

async function submit(job: string, payload: unknown): Promise<string> {
  const response = await fetch(`${gateway}/v1/jobs`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ job, payload }) });
  expect(response.ok, await response.clone().text()).toBe(true);
  return ((await response.json()) as { jobId: string }).jobId;
}

type Options = Parameters<Browser["newContext"]>[0];

const open = (path: string, options: Options = {}, prepare?: (context: BrowserContext) => Promise<unknown>): Promise<Opened> =>
  opened(browser, `${gateway}/console/${path}`, options, prepare);

const ago = (seconds: number) => new Date(Date.now() - seconds * 1000).toISOString();
const hold = (jobId: string, more: object) => ({ jobId, tenant: "acme", type: hostile, lane: "reports", attempt: 1, lastSign: ago(1), ...more });

/** What a gateway answers that has workers which do not exist here: one whose handler is stuck, one that ends. */
const fleet = () => ({
  workers: [
    {
      worker: "w-stuck", announced: true, lanes: [{ lane: "reports", slots: 4 }], running: 2, version: "1.2.3", startedAt: ago(9000), seenAt: ago(3),
      holds: [hold("j-1", { since: ago(4200), progressAt: ago(3900), percent: 41, stage: "collect" }), hold("j-2", { since: ago(30), percent: 10, progressAt: ago(2) })],
      pausedEndpoints: [{ tenant: "acme", endpoint: "https://hooks.example/" + hostile, until: ago(-60), failures: 9 }],
    },
    { worker: "w-draining", announced: true, lanes: [{ lane: "default", slots: 8 }], running: 0, version: "1.2.3", startedAt: ago(90), seenAt: ago(3), draining: true, holds: [] },
    { worker: "w-silent", announced: false, lanes: [], running: 0, seenAt: ago(300), holds: [] },
  ],
  lanes: [
    { lane: "mail", workers: 0, slots: 0, running: 0, waiting: 418, oldestWait: 5021 }, { lane: "reports", workers: 1, slots: 4, running: 4, waiting: 7, oldestWait: 8 },
    { lane: "default", workers: 1, slots: 8, running: 0, waiting: 0, oldestWait: 0 },
  ],
  asOf: ago(0), truncated: false,
});
const trail = () => ({
  records: [
    ...[{ v: 1, at: ago(20), deed: "payload", outcome: "ok", tenant: "acme", subject: hostile, jobId: ids["flaky"], jobType: "demo.flaky", owner: { tenant: "acme", subject: "alice" }, requestId: "r1" },
    { v: 1, at: ago(40), deed: "erase", outcome: "invalid_state", tenant: "acme", subject: "olga", jobId: ids["failed"], jobType: "demo.fail", owner: { tenant: "acme" }, requestId: "r2" },
    { v: 1, at: ago(60), deed: "somethingNew", outcome: "ok", tenant: "acme", requestId: "r3" }].map((record, i) => ({ id: `0-${8 - i}`, writtenAt: record.at, ...record })),
  ],
  unreadable: 1,
  nextCursor: "0-6",
});
const hooks = () => ({
  endpoints: [
    {
      tenant: "acme", endpoint: "https://hooks.example/" + hostile, pausedUntil: ago(-60), pausedBy: ["w-stuck"], failures: 9, failed: 2,
      jobs: [ids["flaky"], ids["failed"]], firstAt: ago(900), lastAt: ago(90), lastError: { code: "webhook_failed", message: "503 " + hostile, retryable: true },
    },
    { tenant: "globex", endpoint: "https://other.example/in", failed: 1, jobs: [ids["failed"]], lastAt: ago(9) },
  ],
  tenants: ["acme"], since: ago(86_400), asOf: ago(0), truncated: true,
});
const answers = (path: RegExp, body: () => unknown) => (context: BrowserContext) => context.route(path, (route) => route.fulfill({ json: body() }));
const withFleet = answers(/\/v1\/workers/, fleet);
const withHooks = answers(/\/v1\/webhooks/, hooks);
const withTrail = answers(/\/v1\/audit/, trail);
const withAll = async (context: BrowserContext) => { for (const fake of [withFleet, withHooks, withTrail]) await fake(context); };

const pages = (): [name: string, path: string, shows: string][] => [
  ["dead letters", "dead", "bad_request"],
  ["a dead letter", "dead/0-0", "Where it lay|Set aside"],
  ["a dead letter that is not there", "dead/9-9999", "No such dead letter"],
  ["job types", "types", "report.generate"],
  ["a job type", "types/report.generate", "reportType"],
  ["a job type without a form", "types/demo.echo", "Payload, as JSON"],
  ["no job type", "types/no.such", "No such job type"],
  ["a new job like another", `types/demo.flaky?from=${ids["flaky"]}`, "that job stays as it is"],
  ["a job with a history", "jobs/" + ids["flaky"], "Claimed, attempt 2"],
  ["workers", "workers", "w-stuck"],
  ["webhooks", "webhooks", "hooks.example"],
  ["audit", "audit", "read the payload of"],
  ["no page", "nothing", "There is no such page"],
];

const looks = (["light", "dark"] as const).flatMap((colorScheme) => [{ width: 1280, height: 800 }, { width: 360, height: 740 }].map((viewport) => ({ colorScheme, viewport })));

test.each(looks)("each page opens and axe finds nothing, $colorScheme, $viewport.width", async (look) => {
  for (const [name, path, shows] of pages()) {
    const { page, context, complaints } = await open(path, { ...look, bypassCSP: true }, withAll);
    await page.waitForFunction((text) => new RegExp(text).test(document.body.innerText), shows);
    await accessible(page, name);
    expect(await page.evaluate(() => [(window as any).ran, document.querySelectorAll("main img").length]), name).toEqual([undefined, 0]);
    expect(complaints, name).toEqual([]);
    await context.close();
  }
});

test("dead letters are found by the keyboard, looked at as text and bytes, and requeued, one and many", async () => {
  const { page, context, complaints } = await open("");
  await page.getByRole("link", { name: "Overview", exact: true }).waitFor();
  await page.keyboard.press("g");
  await page.keyboard.press("d");
  await page.waitForURL("**/dead");
  await page.waitForSelector("text=12 letters");
  // The newest is first. Records are set aside as they are read, several at a time: their order is not that of the topic.
  const { letters } = await read<{ letters: { id: string; bytes: number; offset: string }[] }>("/v1/dead");
  const at = letters.findIndex((l) => l.bytes === 3);
  const offset = Number(letters[at]!.offset);
  for (let i = 0; i <= at; i++) await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForURL(`**/dead/${letters[at]!.id}`);
  expect(await page.locator(".why-box").innerText()).toContain("header ackwire-v is missing\nheader ce_type is missing");
  await page.waitForSelector("text=3 B, not UTF-8");
  expect(await page.getByLabel("Value in hexadecimal").innerText()).toBe(`000000  ff 00 0${offset.toString(16)}                                         ···`);
  expect(await page.getByLabel("Key", { exact: true }).innerText()).toBe("<img src=x onerror='window.ran=1'> \\u202egnp.exe \\u001b[31mred" + offset);
  await page.keyboard.press("Escape");
  await page.waitForURL("**/dead");
  const { id } = letters.find((l) => l.bytes > 3)!;
  await page.locator(`a[href$="dead/${id}"]`).click();
  await page.waitForURL(`**/dead/${id}`);
  expect(await page.getByLabel("Value", { exact: true }).innerText()).toContain(`"html": "<img src=x onerror='window.ran=1'> \\u202egnp.exe`);
  await page.getByRole("button", { name: "Requeue" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Requeue" }).click();
  await page.waitForSelector(".toast"); // what comes of it is told, whatever it is
  await page.goto(`${gateway}/console/dead`);
  await page.waitForSelector("text=letters");
  const requeue = page.getByRole("button", { name: "Requeue", exact: true });
  expect(await requeue.getAttribute("aria-disabled")).toBe("true");
  await page.getByLabel("Choose 0-3", { exact: true }).check();
  await page.getByLabel("Choose 0-4", { exact: true }).check();
  await page.waitForSelector("text=2 chosen");
  await requeue.click();
  await page.getByRole("dialog", { name: "Requeue 2 dead letters?" }).getByRole("button", { name: "Requeue" }).click();
  await page.waitForSelector(".toast");
  await page.waitForFunction(() => !/chosen/.test(document.querySelector(".toolbar")!.textContent!));
  expect(await page.evaluate(() => (window as any).ran)).toBe(undefined);
  expect(complaints).toEqual([]);
  await context.close();
});

test("a new dead letter waits behind a button, so that no row jumps", async () => {
  const { page, context } = await open("dead");
  await page.waitForSelector("tbody tr");
  const first = () => page.locator("tbody tr").first().locator("a").getAttribute("href");
  const was = await first();
  await produce(kafkaOf(system), "ackwire.requests.default", 0, [{ key: "late", value: Uint8Array.of(1) }]);
  await page.getByRole("button", { name: "↑ 1 new" }).waitFor({ timeout: 20_000 });
  expect(await first()).toBe(was);
  await page.getByRole("button", { name: "↑ 1 new" }).click();
  await until("it is the first", async () => (await first()) !== was);
  await context.close();
});

test("a form made from the schema submits a job, and says what is wrong beside the fields", async () => {
  const { page, context, complaints } = await open("types/report.generate");
  await page.getByRole("button", { name: "Submit" }).click();
  await page.getByRole("alert").waitFor();
  const field = page.getByLabel("reportType");
  expect(await field.getAttribute("aria-invalid")).toBe("true");
  const described = (await field.getAttribute("aria-describedby"))!;
  expect(await page.locator("#" + described).innerText()).toMatch(/minLength|length must be|at least/);
  await field.fill("sales");
  await page.getByLabel("from").fill("2026-01-01");
  await page.getByLabel("to", { exact: false }).last().fill("2026-01-31");
  await page.getByRole("button", { name: "JSON", exact: true }).click();
  expect(JSON.parse(await page.getByLabel("Payload, as JSON").inputValue())).toEqual({ from: "2026-01-01", reportType: "sales", to: "2026-01-31" });
  await page.getByRole("button", { name: "Form", exact: true }).click();
  await page.getByRole("button", { name: "Submit" }).click();
  await page.waitForURL("**/jobs/*");
  await page.waitForSelector("h1:has-text('report.generate')");
  await page.getByRole("button", { name: "Show the payload" }).click();
  await page.waitForSelector("[aria-label=Payload] >> text=sales");
  expect(complaints).toEqual([]);
  await context.close();
});

test("a payload is submitted as it is written: no digit is lost, and JSON that is none is refused here", async () => {
  const { page, context } = await open("types/demo.echo");
  const field = page.getByLabel("Payload, as JSON");
  await field.fill('{"big":12345678901234567890123,"exact":1.10,');
  await page.getByRole("button", { name: "Submit" }).click();
  await page.waitForSelector("text=The payload is not JSON yet");
  await field.fill('{"big":12345678901234567890123,"exact":1.10}');
  await page.getByRole("button", { name: "Submit" }).click();
  await page.waitForURL("**/jobs/*");
  const result = page.getByLabel("Result", { exact: true });
  await result.waitFor();
  expect(await result.innerText()).toContain("12345678901234567890123");
  expect(await result.innerText()).toContain("1.10");
  await context.close();
});

test("a job runs again with another payload, as a new job", async () => {
  const { page, context } = await open("jobs/" + ids["failed"]);
  await page.getByRole("button", { name: "Edit and run" }).click();
  await page.waitForURL(`**/types/demo.fail?from=${ids["failed"]}`);
  const message = page.getByLabel("message");
  await message.waitFor();
  expect(await message.inputValue()).toBe("no disk");
  await message.fill("still no disk");
  await page.getByRole("button", { name: "Submit" }).click();
  await page.waitForURL("**/jobs/*");
  expect(page.url()).not.toContain(ids["failed"]!);
  await page.waitForSelector("text=still no disk");
  await context.close();
});

test("a job's history tells what happened, what came too late and why", async () => {
  const { page, context, complaints } = await open("jobs/" + ids["flaky"]);
  const history = page.locator(".past");
  await history.getByText("Claimed, attempt 2").waitFor();
  expect(await history.innerText()).toMatch(/Attempt failed[\s\S]*handler_error: attempt 1 of a job[\s\S]*Completed/);
  expect(complaints).toEqual([]);
  await context.close();
});

test("lanes without workers, silent workers, stuck handlers and paused endpoints are seen at once", async () => {
  const { page, context } = await open("workers", {}, withFleet);
  await page.waitForSelector("text=1 may be stuck");
  const told = (row: string) => page.locator("tr", { hasText: row }).first().innerText();
  expect(await told("mail")).toMatch(/no workers/);
  expect(await told("reports")).toMatch(/all slots are taken/);
  expect(await told("w-draining")).toMatch(/ends when its jobs have/);
  expect(await told("w-silent")).toMatch(/silent/);
  expect(await told("w-stuck")).toMatch(/pauses 1 endpoint/);
  await page.waitForSelector("text=no news for 1 h 5 min");
  await context.close();
});

test("a paused endpoint is seen, and its webhooks are sent again", async () => {
  const orders: string[] = [];
  const { page, context, complaints } = await open("webhooks", {}, async (context) => {
    await withHooks(context);
    await context.route(/\/retry$/, (route) => {
      orders.push(new URL(route.request().url()).pathname.split("/")[3]!);
      return route.fulfill({ json: { jobId: ids["flaky"], state: "pending" } });
    });
  });
  await page.waitForSelector("text=paused, 9 failures in a row; tried again in");
  await page.getByRole("checkbox", { name: /hooks\.example/ }).check();
  await page.getByRole("button", { name: "Send again", exact: true }).click();
  await page.getByRole("dialog", { name: "Send 2 webhooks again?" }).getByRole("button", { name: "Send again" }).click();
  await page.waitForSelector(".toast:has-text('2 jobs were run again')");
  expect(orders.sort()).toEqual([ids["failed"], ids["flaky"]].sort());
  expect(complaints).toEqual([]);
  await context.close();
});

test("webhooks that could not be delivered are told", async () => {
  const response = await fetch(`${gateway}/v1/jobs`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ job: "demo.echo", payload: 1, callbackUrl: "https://127.0.0.1:9/hook" }),
  });
  expect(response.ok).toBe(true);
  const { page, context, complaints } = await open("webhooks");
  await page.waitForSelector("text=https://127.0.0.1:9/hook");
  await page.waitForSelector("text=webhook_blocked");
  expect(complaints).toEqual([]);
  await context.close();
});

test("an operator's order to somebody's job is in the audit trail", async () => {
  const alice = await mintToken(keys, "acme", "alice");
  const response = await fetch(`http://${guarded.gateways[0]}/v1/jobs`, {
    method: "POST", headers: { "Content-Type": "application/json", Authorization: `Bearer ${alice}` }, body: JSON.stringify({ job: "demo.sleep", payload: { seconds: 3600 } }),
  });
  const { jobId } = (await response.json()) as { jobId: string };
  const { page, context } = await signIn("jobs/" + jobId, "operate", "--subject", "olga");
  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  await page.waitForSelector(".head .state.cancelled");
  await page.getByRole("link", { name: "Audit" }).click();
  const row = page.locator("tr", { hasText: "olga" }).first();
  await row.waitFor({ timeout: 30_000 });
  expect(await row.innerText()).toMatch(/olga · acme\s+cancelled\s+demo\.sleep\s+alice · acme\s+done/);
  await context.close();
});

test("all that match are counted, agreed to and followed", async () => {
  const asked: unknown[] = [];
  let counts = [700, 701, 701];
  const { page, context } = await open("jobs?state=failed", {}, (context) => context.route(/\/v1\/bulk/, (route) => {
    const body = route.request().postDataJSON();
    asked.push(body);
    if (body.preview) return route.fulfill({ json: { action: body.action, count: counts.shift(), examples: [ids["failed"]] } });
    if (body.expect === 700) return route.fulfill({ status: 409, json: { code: "count_differs", title: "Another number of jobs", count: 701 } });
    return route.fulfill({ status: 202, json: { action: body.action, count: 701, examples: [], jobId: ids["flaky"], state: "pending" } });
  }));
  await page.getByRole("button", { name: "All that match" }).click();
  await page.getByRole("button", { name: "Retry", exact: true }).click();
  await page.getByRole("dialog", { name: "Retry all 700 jobs that match?" }).getByRole("button", { name: "Retry 700 jobs" }).click();
  // One has failed meanwhile: nothing was done, and the new number is asked for.
  await page.getByRole("dialog", { name: "Retry all 701 jobs that match?" }).getByRole("button", { name: "Retry 701 jobs" }).click();
  await page.waitForURL("**/jobs/" + ids["flaky"]);
  const filter = { state: ["failed"] };
  expect(asked).toEqual([
    { action: "retry", filter, preview: true }, { action: "retry", filter, expect: 700 },
    { action: "retry", filter, preview: true }, { action: "retry", filter, expect: 701 },
  ]);
  await context.close();
});

/** A token of the system with tokens. */
const mint = (permissions: string, ...more: string[]): Promise<string> => mintToken(keys, "acme", "alice", "--permit", permissions, ...more);

/** Opens a page of the system with tokens and signs in. */
const signIn = async (path: string, permissions: string, ...more: string[]): Promise<Opened> => signInWith(path, await mint(permissions, ...more));

async function signInWith(path: string, token: string): Promise<Opened> {
  const all = await opened(browser, `${console_}/console/${path}`);
  await all.page.getByLabel("Access token").fill(token);
  await all.page.keyboard.press("Enter");
  return all;
}

test("pages for operators say what a token lacks, and ask for nothing with it", async () => {
  for (const path of ["dead", "dead/0-1", "workers", "webhooks", "audit"]) {
    const { page, context } = await signIn(path, "read");
    const asked: string[] = [];
    page.on("request", (request) => asked.push(new URL(request.url()).pathname));
    await page.waitForSelector("text=it needs the permission “operate”");
    expect(asked.filter((p) => /\/v1\/(dead|workers|webhooks|audit)/.test(p)), path).toEqual([]);
    await context.close();
  }
  const { page, context } = await signIn("types/demo.echo", "read");
  const button = page.getByRole("button", { name: "Submit" });
  await button.click({ force: true });
  await page.waitForSelector(".toast:has-text('needs the permission “submit”')");
  expect(page.url()).toContain("types/demo.echo");
  await context.close();
});

test("a token that expires while the page is open is asked for again", async () => {
  const { page, context } = await signInWith("", endingAt(await mint("read"), Date.now() + 6000, join(keys, "token.key")));
  await page.waitForSelector("h1:has-text('Overview')");
  await page.waitForSelector("text=Your token is no longer valid", { timeout: 60_000 });
  await page.getByLabel("Access token").waitFor();
  await context.close();
});

test("views and columns are kept in the browser", async () => {
  const { page, context } = await open("jobs?type=demo.fail");
  await page.getByRole("button", { name: "+ Keep this view" }).click();
  await page.getByLabel("Name of the view").fill("My failures");
  await page.keyboard.press("Enter");
  await page.getByText("Columns", { exact: true }).first().click();
  await page.getByRole("checkbox", { name: "Attempt" }).uncheck();
  await page.goto(`${gateway}/console/jobs`);
  await page.waitForSelector("thead th:has-text('State')");
  expect(await page.locator("thead th", { hasText: "Attempt" }).count()).toBe(0);
  await page.getByRole("link", { name: "My failures" }).click();
  await page.waitForURL("**/jobs?type=demo.fail");
  await page.waitForSelector(`text=${ids["failed"]}`);
  await page.getByRole("button", { name: "Forget this view" }).click();
  expect(await page.getByRole("link", { name: "My failures" }).count()).toBe(0);
  await context.close();
});

test("nothing moves for those who want that", async () => {
  const id = await submit("demo.sleep", { seconds: 3600, steps: 1000 });
  for (const [reducedMotion, moves] of [["reduce", "0s"], ["no-preference", "0.3s"]] as const) {
    const { page, context } = await open("jobs/" + id, { reducedMotion });
    const bar = page.locator(".bar > span").first();
    await bar.waitFor({ state: "attached" });
    expect(await bar.evaluate((e) => getComputedStyle(e).transitionDuration)).toBe(moves);
    await context.close();
  }
});

test("a page that comes says nothing of waiting and moves nothing", async () => {
  for (const path of ["", "jobs", "dead", "types", "jobs/" + ids["flaky"]]) {
    const { page, context } = await open("nothing");
    await page.waitForSelector("text=There is no such page");
    await page.evaluate(() => {
      (window as any).seen = "";
      new MutationObserver(() => ((window as any).seen += document.body.innerText)).observe(document.body, { subtree: true, childList: true, characterData: true });
    });
    await page.goto(`${gateway}/console/${path}`);
    await page.waitForSelector("main :is(table, .timeline, .tiles)");
    expect(await page.evaluate(() => (window as any).seen ?? "")).not.toMatch(/Reading…/);
    const shift = await page.evaluate(() => new Promise<number>((resolve) => {
      let sum = 0;
      new PerformanceObserver((list) => list.getEntries().forEach((e: any) => (sum += e.hadRecentInput ? 0 : e.value))).observe({ type: "layout-shift", buffered: true });
      setTimeout(() => resolve(sum), 500);
    }));
    expect(shift, path).toBeLessThan(0.05);
    await context.close();
  }
});

test("workers that exist are told, with what they hold", async () => {
  const id = await submit("demo.sleep", { seconds: 3600, steps: 1000 });
  const { page, context, complaints } = await open("workers");
  await page.waitForSelector(`a[href$="jobs/${id}"]`);
  expect(await page.locator("tr", { hasText: "default" }).first().innerText()).toMatch(/keeps up|has a backlog/);
  expect(complaints).toEqual([]);
  await context.close();
});

test("a tracker that is away is told of, what is known stays, and the page heals", async () => {
  const listen = (await freeAddresses(1))[0]!;
  const parts = await apart(["--console-listen", listen], ["--lanes", "default", "--demo"]);
  const tracker = parts.processes.find((p) => p.name === "tracker")!;
  const { page, context } = await opened(browser, `http://${listen}/console/`);
  try {
    await page.waitForSelector("h2:has-text('Lanes')", { timeout: 60_000 });
    await tracker.kill();
    await page.waitForSelector("[role=alert] >> text=The gateway answers, but", { timeout: 60_000 });
    expect(await page.locator(".tiles b").count()).toBeGreaterThan(0);
    await tracker.start();
    await page.waitForFunction(() => !document.querySelector("[role=alert]"), undefined, { timeout: 60_000 });
  } finally {
    await context.close();
    await parts.stop();
  }
});
