// Chromium, and the page that the tests drive in it.

import { build } from "esbuild";
import { createServer, type Server } from "node:http";
import { fileURLToPath } from "node:url";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import type { Open } from "../page/main.js";
import type { History, Record } from "./history.js";
import { until } from "./process.js";

/** A page and what the test knows of it. */
export interface Tab {
  page: Page;
  open(o: Open): Promise<void>;
  submit(type: string, payloads: unknown[]): Promise<void>;
  watch(ids: string[]): Promise<void>;
  seen(): Promise<{ asked: number; acked: string[]; ended: { [id: string]: string }; errors: string[]; pending: number; connection: string }>;
}

/** Chromium and a server of the page, for a file of tests. */
export class Chromium {
  private browser!: Browser;
  private server!: Server;
  private clients = 0;
  private url = "";

  async start(): Promise<this> {
    const bundle = await build({
      entryPoints: [fileURLToPath(new URL("../page/main.ts", import.meta.url))],
      bundle: true, format: "esm", write: false, target: "es2022",
    });
    const script = bundle.outputFiles[0]!.text;
    this.server = createServer((q, r) => {
      const js = q.url === "/main.js";
      r.setHeader("Content-Type", js ? "text/javascript" : "text/html");
      r.end(js ? script : `<!doctype html><title>ackwire</title><script type="module" src="/main.js"></script>`);
    });
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.server.address() as { port: number }).port}/`;
    this.browser = await chromium.launch({
      executablePath: process.env["ACKWIRE_CHROMIUM"] ?? "/usr/bin/chromium",
      args: ["--no-sandbox", "--disable-dev-shm-usage"], // the tests may run as root in a container
    });
    return this;
  }

  async stop(): Promise<void> {
    await this.browser.close();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** A profile: its pages share storage, locks and channels. `token` gives tokens of a user. */
  async profile(history: History, token?: (user: string) => Promise<string>): Promise<BrowserContext> {
    const context = await this.browser.newContext();
    await context.exposeFunction("record", (r: Record) => history.add(r));
    await context.exposeFunction("nextClient", () => ++this.clients);
    await context.exposeFunction("fetchToken", (user: string) => {
      if (!token) throw new Error("this test has no tokens");
      return token(user);
    });
    return context;
  }

  /** Opens the page in a profile. */
  async tab(context: BrowserContext, prepare?: (page: Page) => Promise<void>): Promise<Tab> {
    const page = await context.newPage();
    await prepare?.(page);
    await page.goto(this.url);
    return tabOf(page);
  }
}

/** The handle of a page, also after it was loaded again. */
export function tabOf(page: Page): Tab {
  const ready = () => page.waitForFunction(() => window.app !== undefined);
  return {
    page,
    open: async (o) => { await ready(); await page.evaluate((o) => window.app.open(o), o); },
    submit: (type, payloads) => page.evaluate(([t, p]) => window.app.submit(t, p), [type, payloads] as [string, unknown[]]),
    watch: (ids) => page.evaluate((ids) => window.app.watch(ids), ids),
    seen: () => page.evaluate(() => window.app.seen()),
  };
}

/** Waits until every job of the tabs has ended, and fails on any error that a page saw. */
export async function allEnded(tabs: Tab[], within = 60_000): Promise<void> {
  let last: unknown;
  await until(() => `all jobs ended; the pages have ${JSON.stringify(last)}`, async () => {
    const seen = await Promise.all(tabs.map((t) => t.seen()));
    last = seen.map((s) => ({ ...s, acked: s.acked.length, ended: Object.keys(s.ended).length }));
    const errors = seen.flatMap((s) => s.errors);
    if (errors.length > 0) throw new Error(`the pages saw errors: ${errors.slice(0, 10).join("; ")}`);
    return seen.every((s) => s.acked.length === s.asked && Object.keys(s.ended).length >= s.asked && s.pending === 0);
  }, within);
}

/** All jobs of a type that a gateway lists, with results. */
export async function list(gateway: string, type: string, token?: string): Promise<{ jobId: string; state: string; result?: unknown }[]> {
  const jobs = [];
  for (let more: string | undefined = ""; more !== undefined;) {
    const r: Response = await fetch(`http://${gateway}/v1/jobs?type=${type}&limit=500${more}`,
      token ? { headers: { Authorization: `Bearer ${token}` } } : {});
    if (!r.ok) throw new Error(`list: ${r.status} ${await r.text()}`);
    const page = (await r.json()) as { jobs: { jobId: string; state: string; result?: unknown }[]; nextCursor?: string };
    jobs.push(...page.jobs);
    more = page.nextCursor && `&cursor=${encodeURIComponent(page.nextCursor)}`;
  }
  return jobs;
}
