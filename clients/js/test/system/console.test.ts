// The gateway's console, in a real browser: on loopback without a token, and on a listener of its own with tokens.

import { mkdtempSync, rmSync } from "node:fs";
import { createServer, request } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { accessible, launch, open as opened, type Opened } from "./lib/console.js";
import { run, serve, until, type System } from "./lib/process.js";
import { mint } from "./lib/tokens.js";

let system: System;
let guarded: System;
let keys: string;
let browser: Browser;
let gateway: string;
let console_: string; // of the system with tokens
const ids: Record<string, string> = {};

beforeAll(async () => {
  keys = mkdtempSync(join(tmpdir(), "ackwire-keys-"));
  await run("ackwire", "keys", "--data", keys);
  system = await serve();
  const listen = `127.0.0.1:${20_000 + (process.pid % 20_000)}`;
  guarded = await serve("--jwt-key-file", join(keys, "token.key"), "--console-listen", listen);
  gateway = `http://${system.gateways[0]}`;
  console_ = `http://${listen}`;
  browser = await launch();
  ids["failed"] = await submit("demo.fail", { message: hostile });
  ids["hostile"] = await submit("demo.echo", nasty);
  ids["written"] = await submit("demo.write", { words: 50, rate: 1000 });
  ids["running"] = await submit("demo.sleep", { seconds: 3600, steps: 1000 });
  for (const name of ["failed", "hostile", "written"]) await until(`${name} has ended`, async () => "finishedAt" in (await get(ids[name]!)));
});
afterAll(async () => {
  await browser?.close();
  await Promise.all([system?.stop(), guarded?.stop()]);
  rmSync(keys, { recursive: true, force: true });
});

const hostile = "<img src=x onerror='window.ran=1'><script>window.ran=1</script> \u202egnp.exe \u001b[31mred";
const long = "<b>x</b>".repeat(20_000); // 160 kB
const nasty = `{"html":${JSON.stringify(hostile)},"big":12345678901234567890123,"exact":1.10,"long":${JSON.stringify(long)},` +
  `"deep":${"[".repeat(40)}"deepest"${"]".repeat(40)},"__proto__":{"polluted":true}}`;

/** Submits a job; a payload that is a text is its JSON. */
async function submit(job: string, payload: unknown, at = gateway, token?: string): Promise<string> {
  const body = `{"job":${JSON.stringify(job)},"payload":${typeof payload === "string" ? payload : JSON.stringify(payload)}}`;
  const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
  const response = await fetch(`${at}/v1/jobs`, { method: "POST", headers, body });
  expect(response.ok, await response.clone().text()).toBe(true);
  return ((await response.json()) as { jobId: string }).jobId;
}

const get = async (id: string) => (await (await fetch(`${gateway}/v1/jobs/${id}`)).json()) as { state: string };

/** Opens a page of the console. Whatever the browser complains of, a broken policy before all, fails the test. */
const open = (path: string, options: Parameters<Browser["newContext"]>[0] = {}, base = gateway): Promise<Opened> =>
  opened(browser, `${base}/console/${path}`, options);

const pages = (): [name: string, path: string, shows: string][] => [
  ["the overview", "", "Lanes"],
  ["the list of jobs", "jobs", ids["running"]!],
  ["an empty list", "jobs?type=no.such", "No job matches"],
  ["a job that runs", "jobs/" + ids["running"]!, "Progress of the job"],
  ["a job that failed", "jobs/" + ids["failed"]!, "Why it failed"],
  ["a job with a stream", "jobs/" + ids["written"]!, "tokens <span"],
  ["a job that is not there", "jobs/00000000-0000-7000-8000-000000000000", "No such job"],
];

test.each(["light", "dark"] as const)("each page opens and axe finds nothing, %s", async (colorScheme) => {
  for (const size of [{ width: 1280, height: 800 }, { width: 360, height: 740 }]) {
    for (const [name, path, shows] of pages()) {
      // Only axe itself needs to pass the page's policy.
      const { page, context, complaints } = await open(path, { colorScheme, viewport: size, bypassCSP: true });
      await page.waitForFunction((text) => document.body.innerHTML.includes(text), shows);
      await accessible(page, `${name}, ${size.width}`);
      expect(complaints, name).toEqual([]);
      await context.close();
    }
  }
});

test("the last hour is a chart, which tells the same in words and minute by minute", async () => {
  const { page, context, complaints } = await open("");
  // Only minutes that are over are shown, so the page is as two minutes later.
  await page.route("**/v1/activity*", async (route) => {
    const answer = await route.fetch();
    const body = await answer.json();
    for (const lane of body.lanes) {
      for (const what of ["accepted", "completed", "failed", "cancelled"]) lane[what] = [...lane[what].slice(1), 0];
    }
    body.from = new Date(Date.parse(body.from) + 60_000).toISOString();
    await route.fulfill({ json: body });
  });
  await page.reload();
  const chart = page.locator(".plot");
  await chart.locator("canvas").waitFor();
  const says = await chart.getAttribute("aria-label");
  expect(says).toMatch(/^Jobs by minute since \d\d:\d\d: [1-9]\d* accepted, most at \d\d:\d\d \([1-9]\d*\); /);
  // It is drawn in its colours: the line of accepted jobs is blue.
  const blue = () => chart.locator("canvas").evaluate((canvas: HTMLCanvasElement) => {
    const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
    let n = 0;
    for (let i = 0; i < data.length; i += 4) if (data[i + 2]! > data[i]! + 80 && data[i + 3]! > 200) n++;
    return n;
  });
  expect(await blue()).toBeGreaterThan(20);
  const shown = () => page.locator(".hour li").allInnerTexts();
  expect((await shown()).at(-1)).toBe("in 59 minutes");
  const box = (await chart.boundingBox())!;
  await page.mouse.move(box.x + box.width / 2, box.y + 40);
  await page.waitForFunction(() => /^in the minute of \d\d:\d\d$/.test(document.querySelector(".hour li:last-child")!.textContent!));
  await page.mouse.move(box.x + box.width / 2, box.y + 400);
  await page.waitForFunction(() => document.querySelector(".hour li:last-child")!.textContent === "in 59 minutes");
  expect(complaints).toEqual([]);
  await context.close();
});

test("a filter is a URL, and the buttons change it", async () => {
  const { page, context, complaints } = await open("jobs?state=failed&type=demo.fail");
  await page.waitForSelector(`text=${ids["failed"]}`);
  expect(await page.locator("tbody tr").count()).toBe(1);
  expect(await page.getByRole("button", { name: "failed", exact: true }).getAttribute("aria-pressed")).toBe("true");
  await page.getByRole("button", { name: "failed", exact: true }).click();
  await page.keyboard.press("/");
  await page.keyboard.type("demo.sleep", { delay: 250 }); // longer than the list takes to be read again
  await page.keyboard.press("Enter");
  await page.waitForSelector(`text=${ids["running"]}`);
  expect(new URL(page.url()).search).toBe("?type=demo.sleep");
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/jobs/*");
  await page.keyboard.press("Escape");
  await page.waitForURL("**/jobs?type=demo.sleep");
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keyboard" }).waitFor();
  expect(complaints).toEqual([]);
  await context.close();
});

test("a job's progress, its cancel and its retry appear by themselves", async () => {
  const id = await submit("demo.sleep", { seconds: 60, steps: 600 });
  const { page, context, complaints } = await open("jobs/" + id);
  const bar = page.getByRole("progressbar");
  const percent = async () => Number(await bar.getAttribute("aria-valuenow"));
  await bar.waitFor();
  const first = await percent();
  await until("the bar moves", async () => (await percent()) > first, 30_000);
  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  await page.waitForSelector(".head .state.cancelled");
  expect((await get(id)).state).toBe("cancelled");
  await page.getByRole("button", { name: "Retry" }).click();
  await page.waitForSelector(".head .state.processing");
  expect(await page.locator(".timeline li").count()).toBeGreaterThanOrEqual(3);
  await page.goto(`${gateway}/console/jobs?type=demo.sleep&state=processing`);
  await page.getByLabel(`Choose ${id}`).check();
  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  await page.getByRole("button", { name: "Cancel 1 job" }).click();
  await until("the job is cancelled", async () => (await get(id)).state === "cancelled");
  await page.waitForSelector(`tr:has-text("${id}") .state.cancelled`); // the row stays, and tells it
  expect(complaints).toEqual([]);
  await context.close();
});

test("what a job writes appears while it runs", async () => {
  const id = await submit("demo.write", { words: 400, rate: 100 });
  const { page, context, complaints } = await open("jobs/" + id);
  await page.getByRole("log", { name: "Stream log" }).getByText("writing").waitFor();
  await page.getByRole("button", { name: /^tokens/ }).click();
  const log = page.getByRole("log", { name: "Stream tokens" });
  await log.waitFor();
  const length = async () => (await log.innerText()).length;
  await until("a piece of the stream is there", async () => (await length()) > 0);
  const first = await length();
  await until("it grows", async () => (await length()) > first);
  await page.waitForSelector("text=This is all of it");
  expect(complaints).toEqual([]);
  await context.close();
});

test("hostile payloads are shown as they are, and nothing runs", async () => {
  const { page, context, complaints } = await open("jobs/" + ids["hostile"]);
  const result = page.getByLabel("Result", { exact: true });
  await result.waitFor();
  const text = (await result.innerText()).replaceAll("\n", "");
  expect(text).toContain("12345678901234567890123");
  expect(text).toContain("1.10");
  expect(text).toContain("\\u202egnp.exe");
  expect(text).toContain("\\u001b[31mred");
  expect(text).toContain("<script>window.ran=1</script>");
  expect(text).toContain(`"__proto__"`);
  await result.getByRole("button", { name: /show all 160,000 characters/ }).click();
  expect((await result.innerText()).length).toBeGreaterThan(160_000);
  for (let i = 0; i < 50; i++) { // from level to level
    const folded = result.locator("button.fold[aria-expanded=false]").last();
    if ((await folded.count()) === 0) break;
    await folded.click();
  }
  expect(await result.innerText()).toContain("deepest");
  expect(await page.evaluate(() => [(window as any).ran, ({} as any).polluted, document.querySelectorAll("main img, main script").length])).toEqual([undefined, undefined, 0]);
  await page.goto(`${gateway}/console/jobs/${ids["failed"]}`);
  await page.waitForSelector("text=Why it failed");
  expect(await page.evaluate(() => (window as any).ran)).toBe(undefined);
  expect(complaints).toEqual([]);
  await context.close();
});

/** Signs in with a token of some permissions. */
async function signIn(path: string, permissions: string, subject: string): Promise<{ page: Page; context: BrowserContext; token: string }> {
  const token = await mint(keys, "acme", subject, "--permit", permissions);
  const { page, context } = await open(path, {}, console_);
  await page.getByLabel("Access token").fill(token);
  await page.keyboard.press("Enter");
  return { page, context, token };
}

test("a token is asked for and not kept, and buttons that it does not permit say why", async () => {
  const owner = await mint(keys, "acme", "alice");
  const id = await submit("demo.sleep", { seconds: 3600 }, `http://${guarded.gateways[0]}`, owner);
  const { page, context } = await signIn("jobs/" + id, "read", "alice");
  const cancel = page.getByRole("button", { name: "Cancel", exact: true });
  await cancel.waitFor();
  expect(await cancel.getAttribute("aria-disabled")).toBe("true");
  expect(await cancel.getAttribute("title")).toContain("needs the permission “cancel”");
  await cancel.click({ force: true });
  await page.waitForSelector(".toast:has-text('needs the permission')");
  expect(await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie])).toEqual([0, 0, ""]);
  await page.reload();
  await page.getByLabel("Access token").waitFor();
  await page.getByLabel("Access token").fill("no token");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  await context.close();
  // Somebody else's job is not there; an operator sees it.
  const other = await signIn("jobs/" + id, "read", "bob");
  await other.page.waitForSelector("text=No such job");
  await other.context.close();
  const operator = await signIn("jobs/" + id, "operate", "olga");
  await operator.page.waitForSelector(".head .state.processing");
  expect(await operator.page.getByRole("button", { name: "Cancel", exact: true }).getAttribute("aria-disabled")).toBe(null);
  await operator.context.close();
});

test("it works below a path that a proxy takes away, sockets too", async () => {
  const [host, port] = system.gateways[0]!.split(":") as [string, string];
  const prefix = "/ops/ackwire";
  let upgrades = 0;
  const proxy = createServer((q, r) => {
    if (!q.url!.startsWith(prefix + "/")) return void r.writeHead(404).end();
    const up = request({ host, port, method: q.method, path: q.url!.slice(prefix.length), headers: q.headers }, (answer) => {
      r.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(r);
    });
    up.on("error", () => r.destroy());
    q.pipe(up);
  });
  proxy.on("upgrade", (q, socket, head) => {
    upgrades++;
    const up = connect(Number(port), host, () => {
      const lines = q.rawHeaders.reduce((all, v, i) => all + (i % 2 ? `${v}\r\n` : `${v}: `), "");
      up.write(`GET ${q.url!.slice(prefix.length)} HTTP/1.1\r\n${lines}\r\n`);
      up.write(head);
      up.pipe(socket).pipe(up);
    });
    for (const one of [up, socket]) one.on("error", () => [up, socket].forEach((s) => s.destroy()));
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const base = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}${prefix}`;
  const { page, context, complaints } = await open("jobs/" + ids["failed"], {}, base);
  await page.waitForSelector("text=Why it failed");
  await page.getByRole("link", { name: "Jobs", exact: true }).click();
  await page.getByText(ids["failed"]!).waitFor();
  expect(page.url()).toBe(base + "/console/jobs");
  await page.goto(base + "/console");
  await page.waitForSelector("text=Lanes");
  expect(page.url()).toBe(base + "/console/");
  expect(upgrades).toBeGreaterThan(0);
  expect(complaints).toEqual([]);
  await context.close();
  proxy.closeAllConnections();
  proxy.close();
});

test("a gateway that is away is told of, and the page heals", async () => {
  const { page, context } = await open("jobs?type=demo.sleep");
  await page.waitForSelector(`text=${ids["running"]}`);
  await page.waitForSelector("text=Live");
  await system.processes[0]!.kill();
  await page.waitForSelector("text=The gateway cannot be reached");
  expect(await page.locator("tbody tr").count()).toBeGreaterThan(0); // what is known stays
  await system.processes[0]!.start();
  await page.waitForSelector("text=Live", { timeout: 60_000 });
  await page.waitForFunction(() => !document.querySelector("[role=alert]"));
  await context.close();
});
