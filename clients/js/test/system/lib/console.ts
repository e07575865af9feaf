// The console in Chromium, for tests: pages that fail a test when the browser complains of anything, and axe.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { expect } from "vitest";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const launch = (): Promise<Browser> => chromium.launch({
  executablePath: process.env["ACKWIRE_CHROMIUM"] ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});

export interface Opened {
  page: Page;
  context: BrowserContext;
  /** What the browser complained of: a broken policy before all. */
  complaints: string[];
}

/** Opens a page of the console. `prepare` may answer requests in place of the gateway. */
export async function open(
  browser: Browser, url: string, options: Parameters<Browser["newContext"]>[0] = {}, prepare?: (context: BrowserContext) => Promise<unknown>,
): Promise<Opened> {
  const context = await browser.newContext(options);
  await prepare?.(context);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) complaints.push(message.text());
  });
  page.on("dialog", (dialog) => complaints.push("dialog: " + dialog.message()));
  await page.goto(url);
  return { page, context, complaints };
}

/** Fails if axe finds anything, or if the page is wider than the window. The context must have `bypassCSP`, for axe. */
export async function accessible(page: Page, what: string): Promise<void> {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => (window as any).axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
  }));
  expect(violations.map((v: any) => `${v.id}: ${v.nodes.map((n: any) => n.html.slice(0, 200) + " " + n.failureSummary).join("\n")}`), what).toEqual([]);
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), `${what}: too wide`).toBeLessThanOrEqual(0);
}
