// A page of another origin follows a job by a grant alone: with an EventSource, by the code of docs/grants.md, and with
// the client, in a real browser.

import { build } from "esbuild";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium, type Browser, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { run, serve, until, type System } from "./lib/process.js";
import { mint } from "./lib/tokens.js";

const ttl = 4; // seconds

let keys: string;
let system: System;
let browser: Browser;
let gateway: string;
let token: string;
let site: string;
let client: string;
const asked: IncomingMessage[] = []; // what the site was asked for
const secrets: string[] = [];
const html = `<!doctype html><title>a page</title>
  <script type="module">import { connect } from "/client.js"; window.connect = connect;</script>`;
const server = createServer((request, response) => {
  asked.push(request);
  const script = request.url === "/client.js";
  response.setHeader("Content-Type", script ? "text/javascript" : "text/html");
  response.end(script ? client : html);
});

beforeAll(async () => {
  keys = mkdtempSync(join(tmpdir(), "ackwire-keys-"));
  await run("ackwire", "keys", "--data", keys);
  system = await serve("--jwt-key-file", join(keys, "token.key"), "--grant-key-file", join(keys, "grant.key"),
    "--log-level", "debug");
  system.processes[0]!.keep = 1e8;
  gateway = `http://${system.gateways[0]}`;
  token = await mint(keys, "acme", "backend");
  secrets.push(token);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  site = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const bundle = await build({
    entryPoints: [fileURLToPath(new URL("../../src/index.ts", import.meta.url))], bundle: true, format: "esm", write: false,
  });
  client = bundle.outputFiles[0]!.text;
  browser = await chromium.launch({
    executablePath: process.env["ACKWIRE_CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
});
afterAll(async () => {
  await browser?.close();
  await system?.stop();
  server.close();
  rmSync(keys, { recursive: true, force: true });
});

/** The backend: a request with its token. */
async function backend(path: string, body: unknown): Promise<any> {
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
  const response = await fetch(gateway + path, { method: "POST", headers, body: JSON.stringify(body) });
  expect(response.ok, await response.clone().text()).toBe(true);
  return response.json();
}

/** The backend makes a job that takes three grants, and the page gets it with a grant. */
async function makeJob(): Promise<{ jobId: string; grant: string }> {
  const payload = { seconds: 2.5 * ttl, steps: 5 * ttl };
  const made = await backend("/v1/jobs", { job: "demo.sleep", payload, grant: { ttl } });
  secrets.push(made.grant.token);
  return { jobId: made.jobId, grant: made.grant.token };
}

/** A page of the site, with a function that asks the backend for another grant. */
async function open(): Promise<{ page: Page; renewed: number[]; urls: string[] }> {
  const page = await browser.newPage();
  const renewed: number[] = [];
  const urls: string[] = [];
  page.on("request", (request) => urls.push(request.url()));
  await page.exposeFunction("fetchGrant", async (jobId: string) => {
    renewed.push(Date.now());
    const grant = await backend("/v1/grants", { jobs: [jobId], ttl });
    secrets.push(grant.token);
    return grant.token;
  });
  await page.goto(site);
  return { page, renewed, urls };
}

/** Whether grants were renewed in time: each well before the one before it had ended. */
function inTime(began: number, renewed: number[]): void {
  expect(renewed.length).toBeGreaterThanOrEqual(2);
  for (const [i, at] of renewed.entries()) expect(at - (renewed[i - 1] ?? began)).toBeLessThan(1000 * ttl);
}

test("an EventSource across origins follows a job by a grant, is renewed, and stops at the job's end", async () => {
  const { page, renewed, urls } = await open();
  const guide = readFileSync(fileURLToPath(new URL("../../../../docs/grants.md", import.meta.url)), "utf8");
  const code = /^```js\n([^]*?)^```$/m.exec(guide)![1]!.replace("https://jobs.example", gateway);
  await page.addScriptTag({ content: `${code}
    const seen = [], sources = [];
    const show = (job) => seen.push(job.state + " " + (job.progress?.percent ?? ""));
    const EventSource_ = EventSource;
    EventSource = class extends EventSource_ { constructor(url) { super(url); sources.push(this); } };` });
  const began = Date.now();
  const { jobId, grant } = await makeJob();
  await page.evaluate(([jobId, grant]) => (window as any).follow(jobId, grant), [jobId, grant]);
  const seen = () => page.evaluate("seen") as Promise<string[]>;
  await until("the job has ended", async () => (await seen()).at(-1)?.startsWith("completed") ?? false, 60_000);
  await until("each source has stopped", () => page.evaluate("sources.every((s) => s.readyState === 2)") as Promise<boolean>);
  inTime(began, renewed);
  const steps = [...new Set(await seen())];
  expect(steps.length).toBeGreaterThan(5 * ttl - 5); // statuses of all grants; some may be skipped
  const streams = urls.filter((url) => url.includes("/events?grant="));
  expect(streams.length).toBe(renewed.length + 2); // one a grant, and the one that was answered 204
  await page.waitForTimeout(3000); // an EventSource comes back after a second
  expect(urls.filter((url) => url.includes("/events?grant=")).length).toBe(streams.length);

  // The result is a link, and the page behind it tells its URL to nobody.
  const last = streams.at(-1)!;
  await page.goto(last.replace("/events", "/result"));
  expect(await page.textContent("body")).toContain("{");
  asked.length = 0;
  await page.evaluate((site) => { location.href = site; }, site);
  await until("the site is asked", () => asked.length > 0);
  expect(asked.map(({ headers }) => headers.referer)).toEqual(asked.map(() => undefined));
  await page.close();
});

test("the client follows a job by a grant over a socket, and renews it", async () => {
  const { page, renewed } = await open();
  const began = Date.now();
  const { jobId, grant } = await makeJob();
  await page.waitForFunction(() => "connect" in window);
  const end = await page.evaluate(async ([jobId, grant, url]) => {
    let first: string | undefined = grant;
    const token = () => {
      const now = first ?? (window as any).fetchGrant(jobId);
      first = undefined;
      return now;
    };
    const client = (window as any).connect({ url, token });
    const status = await client.job(jobId).wait();
    const { transport } = client.connection.snapshot();
    const refused: unknown[] = [];
    for (const call of [() => client.submit("demo.echo", 1), () => client.cancel(jobId), () => client.retry(jobId)]) {
      refused.push(await call().then(() => "taken", (error: { code: string }) => error.code));
    }
    await client.close();
    return { state: status.state, transport, refused };
  }, [jobId, grant, gateway] as const);
  expect(end).toEqual({ state: "completed", transport: "websocket", refused: ["forbidden", "forbidden", "forbidden"] });
  inTime(began, renewed);
  await page.close();
});

test("no grant and no token is in the log", () => {
  expect(secrets.length).toBeGreaterThan(5);
  const { log } = system.processes[0]!;
  expect(log.includes("session ended")).toBe(true); // so it was kept
  expect(secrets.filter((secret) => log.includes(secret.slice(-16)))).toEqual([]);
});
