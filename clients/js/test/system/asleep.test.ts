// A laptop that was asleep: the page was frozen, its clock has jumped, and its connections are dead without anybody having
// said so. It heals by itself, and asks for a token if that has expired meanwhile.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open as opened } from "./lib/console.js";
import { freeAddresses, run, serve, until, type System } from "./lib/process.js";
import { Proxy } from "./lib/proxy.js";
import { endingAt, mint } from "./lib/tokens.js";

let keys: string;
let system: System;
let browser: Browser;
let gateway: string;
let proxy: Proxy;
let token: string;

beforeAll(async () => {
  keys = mkdtempSync(join(tmpdir(), "ackwire-keys-"));
  await run("ackwire", "keys", "--data", keys);
  const [listen] = (await freeAddresses(1)) as [string];
  [system, browser] = await Promise.all([serve("--jwt-key-file", join(keys, "token.key"), "--console-listen", listen), launch()]);
  gateway = `http://${system.gateways[0]}`;
  proxy = await new Proxy([listen]).start();
  token = await mintFor("1h");
});
afterAll(async () => {
  await browser?.close();
  await proxy?.stop();
  await system?.stop();
  rmSync(keys, { recursive: true, force: true });
});

const mintFor = (ttl: string) => mint(keys, "acme", "alice", "--permit", "submit,read,cancel,operate", "--ttl", ttl);

const ask = (path: string, body?: object) => fetch(gateway + path, {
  method: "POST", headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` }, ...(body && { body: JSON.stringify(body) }),
});

async function submit(): Promise<string> {
  return ((await (await ask("/v1/jobs", { job: "demo.sleep", payload: { seconds: 3600, steps: 1000 } })).json()) as { jobId: string }).jobId;
}

async function signIn(path: string, token: string, base: string) {
  const all = await opened(browser, `http://${base}/console/${path}`, {}, async (context) => context.clock.install());
  await all.page.getByLabel("Access token").fill(token);
  await all.page.keyboard.press("Enter");
  return all;
}

/** Puts the page to sleep, until the function that it returns wakes it. */
async function sleep(page: Page): Promise<() => Promise<void>> {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Page.enable");
  await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
  return async () => {
    await devtools.send("Page.setWebLifecycleState", { state: "active" });
  };
}

test("a page whose laptop was asleep heals: what happened meanwhile is there, and it is live", async () => {
  for (const path of ["", "jobs?state=processing", "jobs/ID", "workers"]) {
    const id = await submit();
    const { page, context, complaints } = await signIn(path.replace("ID", id), token, proxy.address);
    await page.waitForSelector(".link:has-text('Live')");
    const seen = { "": ".tile.cancelled", "jobs/ID": ".head .state.processing" }[path] ?? `a[href$="${id}"]`;
    await page.waitForSelector(seen);
    const was = path === "" ? Number(await page.locator(".tile.cancelled b").innerText()) : 0;
    const wake = await sleep(page);
    proxy.stall();
    expect((await ask(`/v1/jobs/${id}/cancel`)).ok).toBe(true);
    await wake();
    await page.clock.fastForward("01:00:00");
    const healed = () => page.evaluate(([id, was, path]) => {
      const text = (selector: string) => document.querySelector(selector)?.textContent ?? "";
      if (text(".link") !== "Live" || document.querySelector("[role=alert]")) return false;
      if (path === "") return Number(text(".tile.cancelled b")) === was + 1;
      if (path === "jobs/ID") return text(".head .state") === "cancelled";
      const link = document.querySelector(`a[href$="${id}"]`);
      return path === "workers" ? !link : link?.closest("tr")?.querySelector(".state")?.textContent === "cancelled";
    }, [id, was, path] as const);
    // Dead connections are given up after seconds, which need not be waited for here.
    await until(`${path} has healed`, async () => {
      if (await healed()) return true;
      await page.waitForTimeout(700);
      if (await healed()) return true;
      await page.clock.fastForward(4000);
      return false;
    }, 60_000);
    expect(complaints, path).toEqual([]);
    await context.close();
  }
});

test("a page whose token has expired while the laptop was asleep asks for another, and goes on where it was", async () => {
  const ends = Date.now() + 6000;
  const short = endingAt(await mintFor("1h"), ends, join(keys, "token.key"));
  const { page, context, complaints } = await signIn("jobs?type=demo.sleep", short, proxy.address);
  await page.waitForSelector(".link:has-text('Live')");
  const wake = await sleep(page);
  await until("the token has expired", () => Date.now() > ends + 1500);
  await wake();
  await page.waitForSelector("text=Your token is no longer valid. Paste a new one to go on.");
  await page.getByLabel("Access token").fill(token);
  await page.keyboard.press("Enter");
  await page.waitForSelector(".link:has-text('Live')");
  await page.waitForSelector("tbody tr");
  expect(page.url()).toContain("jobs?type=demo.sleep");
  expect(complaints).toEqual([]);
  await context.close();
});
