// The example app, built and served, in a real browser against a real Ackwire: what its user sees.

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium, type Browser, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { list } from "./lib/browser.js";
import { freeAddresses, run, serve, until, type System } from "./lib/process.js";

const app = fileURLToPath(new URL("../../examples/reports", import.meta.url));

let dist: string;
let system: System;
let site: ChildProcess;
let url: string;
let browser: Browser;

beforeAll(async () => {
  dist = mkdtempSync(join(tmpdir(), "ackwire-reports-"));
  execFileSync("npm", ["run", "--silent", "build", "--", "--outDir", dist, "--emptyOutDir", "--logLevel", "warn"],
    // The test runner sets another NODE_ENV, with which Vite builds for development.
    { cwd: app, stdio: "inherit", env: { ...process.env, NODE_ENV: "production" } });
  system = await serve();
  const [address] = (await freeAddresses(1)) as [string];
  url = `http://${address}/`;
  await up();
  browser = await chromium.launch({
    executablePath: process.env["ACKWIRE_CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
});
afterAll(async () => {
  await browser?.close();
  site?.kill();
  await system?.stop();
  rmSync(dist, { recursive: true, force: true });
});

/** Serves the page, and passes on what it asks Ackwire. */
async function up(): Promise<void> {
  const vite = join(app, "node_modules/vite/bin/vite.js");
  site = spawn(process.execPath,
    [vite, "preview", "--outDir", dist, "--host", "127.0.0.1", "--strictPort", "--port", new URL(url).port],
    { cwd: app, stdio: "ignore", env: { ...process.env, ACKWIRE_URL: `http://${system.gateways[0]}` } });
  await until("the page is served", () => fetch(url).then((r) => r.ok, () => false));
}

/** Ends what serves the page: for the page and its service worker nothing can be reached any more. */
async function down(): Promise<void> {
  const ended = new Promise((resolve) => site.once("exit", resolve));
  site.kill();
  await ended;
}

async function open(): Promise<{ page: Page; errors: string[] }> {
  const page = await browser.newPage({ viewport: { width: 1000, height: 700 } });
  page.setDefaultTimeout(15_000);
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(url);
  await page.getByTestId("connection").filter({ hasText: "Live" }).waitFor();
  return { page, errors };
}

async function create(page: Page, type: string, from = "2026-01-01", to = "2026-01-31"): Promise<void> {
  await page.locator("[name=reportType]").selectOption(type);
  await page.locator("[name=from]").fill(from);
  await page.locator("[name=to]").fill(to);
  await page.getByRole("button", { name: "Create report" }).click();
}

const states = (page: Page) =>
  page.locator("li").evaluateAll((rows) =>
    rows.map((row) => `${row.querySelector("strong")!.textContent} ${row.dataset["state"]}`));

/** Waits until the list shows these reports, in any order: those that are sent together are created together. */
async function shows(page: Page, ...expected: string[]): Promise<void> {
  let last: string[] = [];
  expected.sort();
  await until(() => `the list shows ${expected.join(", ")}; it shows ${last.join(", ")}`, async () => {
    last = (await states(page)).sort();
    return last.join() === expected.join();
  }, 15_000);
}

/** Waits for the reports of earlier tests. This page, whose storage is its own, does not know what they are about. */
async function others(page: Page, count: number): Promise<string[]> {
  await until(() => `the list shows ${count} reports`, async () => (await states(page)).length === count, 15_000);
  return states(page);
}

test("its types are those of the server's job types", async () => {
  expect(await run("ackwire", "types", "--ts")).toBe(readFileSync(join(app, "src/ackwire.d.ts"), "utf8"));
});

test("reports are made online, kept offline, and all there after a reload", async () => {
  const { page, errors } = await open();
  await page.getByText("There is none yet.").waitFor();

  // Every value that the progress bar has is noted by the page itself: a report takes a second.
  await page.evaluate(() => {
    const seen = ((window as any).seen = [] as number[]);
    new MutationObserver(() => {
      const bar = document.querySelector("progress");
      if (bar && seen.at(-1) !== bar.value) seen.push(bar.value);
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
  });
  await create(page, "sales");
  await shows(page, "sales completed");
  const seen: number[] = await page.evaluate(() => (window as any).seen);
  expect(seen.filter((percent) => percent > 0 && percent < 100).length).toBeGreaterThan(2);
  expect([...seen].sort((a, b) => a - b)).toEqual(seen);

  const downloading = page.waitForEvent("download");
  await page.getByRole("link", { name: "Download" }).click();
  const download = await downloading;
  expect(download.suggestedFilename()).toBe("sales-2026-01-01-2026-01-31.csv");
  expect(readFileSync(await download.path(), "utf8").trim().split("\n")).toHaveLength(32);

  await page.getByRole("button", { name: "Cut the network" }).click();
  await page.getByTestId("connection").filter({ hasText: "Offline" }).waitFor();
  await create(page, "refunds");
  await create(page, "inventory");
  await shows(page, "inventory saved", "refunds saved", "sales completed");
  expect(await page.getByTestId("pending").textContent()).toBe("2 to send");
  expect(await page.getByRole("status").textContent()).toContain("Works offline");

  await page.getByRole("button", { name: "Restore the network" }).click();
  await shows(page, "inventory completed", "refunds completed", "sales completed");
  expect(await page.getByTestId("connection").textContent()).toBe("Live");
  expect(await page.getByTestId("pending").count()).toBe(0);

  await page.reload();
  await shows(page, "inventory completed", "refunds completed", "sales completed");
  expect(errors).toEqual([]);
  await page.close();
});

test("a text appears while it is written, and goes on where it was when the network is back", async () => {
  const { page, errors } = await open();
  const story = page.getByTestId("story");
  await page.getByRole("button", { name: "Write one" }).click();
  // Before it begins there is a text of the page's own, and no state.
  await page.waitForSelector("[data-testid=story][data-state=processing]", { timeout: 15_000 });
  await until("some of it is there", async () => (await story.textContent())!.split(" ").length > 10, 15_000);
  const early = (await story.textContent())!;
  await page.getByRole("button", { name: "Cut the network" }).click();
  await page.getByTestId("connection").filter({ hasText: "Offline" }).waitFor();
  await page.getByRole("button", { name: "Restore the network" }).click();
  await page.getByRole("button", { name: "Write another" }).waitFor();
  const whole = (await story.textContent())!;
  expect(whole.startsWith(early) && whole.length > early.length).toBe(true);
  expect(whole.trim().split(" ")).toHaveLength(90);

  await page.getByRole("button", { name: "Write another" }).click();
  await until("another one begins", async () => !(await story.textContent())!.includes(whole.trim()), 15_000);
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByRole("button", { name: "Write another" }).waitFor();
  expect(await story.getAttribute("data-state")).toBe("cancelled");
  expect(errors).toEqual([]);
  await page.close();
});

test("a report is cancelled and tried again, and one that makes no sense fails", async () => {
  const { page, errors } = await open();
  const before = await others(page, 3);
  await create(page, "sales");
  await page.getByRole("button", { name: "Cancel" }).click();
  await shows(page, "sales cancelled", ...before);
  await page.getByRole("button", { name: "Retry" }).click();
  await shows(page, "sales completed", ...before);

  await create(page, "refunds", "2026-02-01", "2026-01-01");
  await shows(page, "refunds failed", "sales completed", ...before);
  await page.locator("li.failed").getByText("to is before from").waitFor();
  expect(errors).toEqual([]);
  await page.close();
});

test("a report that was kept is sent after its page was loaded again", async () => {
  const { page, errors } = await open();
  const before = await others(page, 5);
  await page.getByRole("button", { name: "Cut the network" }).click();
  await create(page, "inventory");
  await shows(page, "inventory saved", ...before);
  await page.reload(); // which also restores the network
  await shows(page, "inventory completed", ...before);
  expect(errors).toEqual([]);
  await page.close();
});

test("the page loads without a network, keeps its submits, and a new build takes over", async () => {
  const context = await browser.newContext();
  let page = await context.newPage();
  page.setDefaultTimeout(15_000);
  await page.goto(url);
  await page.getByTestId("connection").filter({ hasText: "Live" }).waitFor();
  const before = await others(page, 6);
  const made = (await list(system.gateways[0]!, "report.generate")).length;
  await until("the worker is there", () => page.evaluate(() => navigator.serviceWorker.controller !== null));

  await down();
  await page.reload();
  await page.getByTestId("connection").filter({ hasText: "Offline" }).waitFor();
  await create(page, "sales", "2026-03-01", "2026-03-31");
  await shows(page, "sales saved");
  await page.reload();
  await shows(page, "sales saved");
  expect(await page.getByTestId("pending").textContent()).toBe("1 to send");
  await up();
  await shows(page, "sales completed", ...before);
  expect(await list(system.gateways[0]!, "report.generate")).toHaveLength(made + 1);

  // A deploy: the script has another name, so that the page and the worker are others, too.
  const [script] = readdirSync(join(dist, "assets")).filter((name) => /^index-.*\.js$/.test(name)) as [string];
  const renamed = script.replace("index-", "index-new-");
  for (const name of ["index.html", "worker.js"]) {
    const text = readFileSync(join(dist, name), "utf8");
    writeFileSync(join(dist, name), text.replaceAll(script, renamed).replace('"reports-"', '"reports-new-"'));
  }
  // Parts of the build import its script by its name.
  for (const name of readdirSync(join(dist, "assets"))) {
    const text = readFileSync(join(dist, "assets", name), "utf8");
    rmSync(join(dist, "assets", name));
    writeFileSync(join(dist, "assets", name === script ? renamed : name), text.replaceAll(script, renamed));
  }
  const runs = () => page.evaluate(() => document.querySelector<HTMLScriptElement>("script[type=module]")!.src);
  await page.reload();
  await shows(page, "sales completed", ...before);
  expect(await runs()).toContain(renamed); // at once, where there is a network
  await page.evaluate(() => navigator.serviceWorker.getRegistration().then((own) => own!.update()).then(() => {}));
  await until("the new worker is ready", () =>
    page.evaluate(() => navigator.serviceWorker.getRegistration().then((own) => !!own!.waiting)));
  await page.close(); // the last page of the old worker
  page = await context.newPage();
  await page.goto(url);
  await until("the old build is gone", () =>
    page.evaluate(() => caches.keys().then((names) => names.length === 1 && names[0]!.startsWith("reports-new-"))));
  await down();
  await page.reload();
  await page.getByTestId("connection").filter({ hasText: "Offline" }).waitFor();
  expect(await runs()).toContain(renamed);
  await context.close();
});
