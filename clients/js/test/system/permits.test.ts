// What the console shows to users with tokens of `read`, `read:tenant` and `operate`: on each page what each sees and
// may do, and that another tenant's names are nowhere in the page or in anything that it was answered.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open as opened, type Opened } from "./lib/console.js";
import { freeAddresses, run, serve, until, type System } from "./lib/process.js";
import { produce } from "./lib/produce.js";
import { mint } from "./lib/tokens.js";

// Whatever belongs to bob, who is of alice's tenant, has the one mark; whatever belongs to the other tenant the other.
const bobs = "canary-b";
const foreign = "canary-g";
const secret = "canary-p"; // in what needs the permission `payloads`

type User = "read" | "tenant" | "operate";
const users: Record<User, { subject: string; permit: string }> = {
  read: { subject: "alice", permit: "read" },
  tenant: { subject: "carol", permit: "read:tenant" },
  operate: { subject: "olga", permit: "operate" },
};

let keys: string;
let system: System;
let browser: Browser;
let gateway: string;
let console_: string;
const tokens = {} as Record<User, string>;
const jobs = { alice: [] as string[], bob: [] as string[], gloria: [] as string[] };

beforeAll(async () => {
  keys = mkdtempSync(join(tmpdir(), "ackwire-keys-"));
  await run("ackwire", "keys", "--data", keys);
  const [listen] = (await freeAddresses(1)) as [string];
  [system, browser] = await Promise.all([serve("--jwt-key-file", join(keys, "token.key"), "--console-listen", listen), launch()]);
  gateway = `http://${system.gateways[0]}`;
  console_ = `http://${listen}/console/`;
  for (const user of Object.keys(users) as User[]) tokens[user] = await mint(keys, "acme", users[user].subject, "--permit", users[user].permit);
  const alice = await mint(keys, "acme", "alice");
  const bob = await mint(keys, "acme", "bob-" + bobs);
  const gloria = await mint(keys, "globex-" + foreign, "gloria-" + foreign);
  await plant(jobs.alice, alice, 1, "alice-mark");
  await plant(jobs.bob, bob, 2, bobs);
  await plant(jobs.gloria, gloria, 3, foreign);
  const { args } = system.processes[0]!;
  await produce(args[args.indexOf("--kafka-listen") + 1]!, "ackwire.requests.default", 0, [
    { key: "row-1", value: Buffer.from(secret), headers: { ce_id: "row-1", ce_type: secret, "ackwire-attempt": secret, "ackwire-v": "1" } },
  ]);
  const olga = tokens.operate;
  await until("the dead letter is there", async () => (await read<{ letters: unknown[] }>("/v1/dead", olga)).letters.length === 1);
  // Something for the audit: an operator cancels a job of the other tenant.
  const response = await fetch(`${gateway}/v1/jobs/${jobs.gloria.at(-1)}/cancel`, { method: "POST", headers: { Authorization: `Bearer ${olga}` } });
  expect(response.ok, await response.text()).toBe(true);
  await until("it is in the audit", async () => JSON.stringify(await read("/v1/audit", olga)).includes(jobs.gloria.at(-1)!));
});
afterAll(async () => {
  await browser?.close();
  await system?.stop();
  rmSync(keys, { recursive: true, force: true });
});

const read = async <T>(path: string, token: string): Promise<T> =>
  (await (await fetch(gateway + path, { headers: { Authorization: `Bearer ${token}` } })).json()) as T;

/** Makes jobs whose every part has a mark: some that fail, one with a webhook that is blocked, two that run. */
async function plant(into: string[], token: string, failing: number, mark: string): Promise<void> {
  const submit = async (job: string, payload: unknown, more: object = {}) => {
    const response = await fetch(`${gateway}/v1/jobs`, {
      method: "POST", headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
      body: JSON.stringify({ job, payload, key: `${mark}-${into.length}`, tags: { [mark]: mark }, ...more }),
    });
    expect(response.ok, await response.clone().text()).toBe(true);
    into.push(((await response.json()) as { jobId: string }).jobId);
  };
  for (let i = 0; i < failing; i++) await submit("demo.fail", { message: `no disk ${mark}` });
  await submit("demo.echo", { mark }, { callbackUrl: `https://127.0.0.1:9/${mark}` });
  for (let i = 0; i < 2; i++) await submit("demo.sleep", { seconds: 3600, steps: 1000 });
  const there = async (query: string) => (await read<{ jobs: unknown[] }>("/v1/jobs?" + query, token)).jobs.length;
  await until(`${mark} is planted`, async () =>
    (await there("state=failed")) === failing && (await there("state=processing")) === 2 && (await there("state=failed&type=ackwire.webhook")) === 1);
}

interface Visit extends Opened {
  /** All that the page was answered: bodies, and frames of its socket. */
  answers: string[];
  /** Ends when the bodies of all answers that have begun are among them. */
  settled(): Promise<unknown>;
}

/** Signs a user in. */
async function signIn(user: User, token = tokens[user]): Promise<Visit> {
  const answers: string[] = [];
  const coming: Promise<unknown>[] = [];
  const all = await opened(browser, console_ + "nothing", {}, async (context) => {
    context.on("page", (page) => {
      page.on("response", (r) => coming.push(r.text().then((body) => answers.push(`${r.url()} ${JSON.stringify(r.headers())} ${body}`), () => {})));
      page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => answers.push("frame " + String(payload))));
    });
  });
  await all.page.getByLabel("Access token").fill(token);
  await all.page.keyboard.press("Enter");
  await all.page.waitForSelector("text=There is no such page");
  return { ...all, answers, settled: () => Promise.all(coming) };
}

/** Goes to another page by its address, without a load, which would forget the token. */
const visit = (page: Page, path: string) => page.evaluate((url) => {
  history.pushState(null, "", url);
  dispatchEvent(new PopStateEvent("popstate"));
}, console_ + path);

const names = ["Cancel", "Retry", "Erase", "Edit and run", "Show the payload", "Submit", "Requeue", "Send again", "Send all since then again"];

/** The buttons of the page: "on", or why they are off. */
const buttons = (page: Page): Promise<Record<string, string>> => page.evaluate((names) => {
  const all = [...document.querySelectorAll<HTMLElement>("main button")].filter((b) => names.includes(b.innerText));
  return Object.fromEntries(all.map((b) => [b.innerText, b.getAttribute("aria-disabled") ? b.title : "on"]));
}, names);

const needs = (permission: string) => `Your token does not permit this: it needs the permission “${permission}”`;

/** What a user sees on a page, and its buttons. */
type Sight = [sees: RegExp, buttons?: Record<string, string>];

const denied: Sight = [new RegExp(`Not with this token\\s+${needs("operate")}`)];
const missing: Sight = [/No such job/];
const listButtons = { Cancel: needs("cancel"), Retry: needs("submit"), Erase: needs("erase") };
const jobButtons = { ...listButtons, "Edit and run": needs("submit"), "Show the payload": needs("payloads") };
const operators = { Cancel: "Choose jobs first", Retry: "Choose jobs first", Erase: needs("erase") };
const operatorsJob = { ...jobButtons, Cancel: "The job has ended already", Retry: "on" };
const failed = (n: number) => new RegExp(`failed\\s+${n}\\b`);

const pages = (): [path: string, sights: Record<User, Sight>][] => [
  ["", { read: [failed(1)], tenant: [failed(3)], operate: [failed(3)] }],
  ["jobs?state=failed", {
    read: [/1 jobs/, listButtons], tenant: [/3 jobs/, listButtons], operate: [/3 jobs/, operators],
  }],
  ["jobs/" + jobs.alice[0], {
    read: [/no disk alice-mark/, jobButtons], tenant: [/no disk alice-mark/, jobButtons], operate: [/no disk alice-mark/, operatorsJob],
  }],
  ["jobs/" + jobs.bob[0], {
    read: missing, tenant: [new RegExp("no disk " + bobs), jobButtons], operate: [new RegExp("no disk " + bobs), operatorsJob],
  }],
  ["jobs/" + jobs.gloria[0], { read: missing, tenant: missing, operate: [new RegExp("no disk " + foreign), operatorsJob] }],
  ["types", { read: [/report\.generate/], tenant: [/report\.generate/], operate: [/report\.generate/] }],
  ["types/demo.echo", { read: [/Payload, as JSON/, { Submit: needs("submit") }], tenant: [/Payload, as JSON/, { Submit: needs("submit") }], operate: [/Payload, as JSON/, { Submit: needs("submit") }] }],
  ["workers", { read: denied, tenant: denied, operate: [/demo\.sleep[\s\S]*globex-canary-g/] }],
  ["dead", { read: denied, tenant: denied, operate: [/1 letters/, { Requeue: "Choose dead letters first" }] }],
  ["dead/0-0", { read: denied, tenant: denied, operate: [/Withheld/, { Requeue: "on" }] }],
  ["webhooks", {
    read: denied, tenant: denied,
    operate: [/127\.0\.0\.1:9\/canary-b/, { "Send again": "Choose endpoints with webhooks that were not delivered first", "Send all since then again": "on" }],
  }],
  ["audit", { read: denied, tenant: denied, operate: [/olga · acme\s+cancelled\s+demo\.sleep\s+gloria-canary-g · globex-canary-g/] }],
];

/** The marks of what a user may not see on its pages. An ID that the user has typed is no secret on that page. */
const marksFor = (user: User): string[] => [
  secret, ...(user === "operate" ? [] : [foreign, ...jobs.gloria]), ...(user === "read" ? [bobs, ...jobs.bob] : []),
];

async function nothingOf(marks: string[], { page, answers, settled }: Visit, path: string): Promise<void> {
  await settled();
  const dom = (await page.content()) + (await page.evaluate(() => [...document.querySelectorAll("input")].map((i) => i.value).join("\n")));
  expect(marks.filter((mark) => !path.includes(mark) && dom.includes(mark)), `${path}: in the page`).toEqual([]);
  // What is asked by its ID and is not there is called by that ID.
  const told = answers.map((a) => a.slice(a.indexOf(" ")).replaceAll(/\{"jobId":"[^"]+","error":"not_found"\}/g, ""));
  const found = marks.flatMap((mark) => told.filter((a) => a.includes(mark)).map((a) => mark + ": " + a.slice(0, 1000)));
  expect(found, `${path}: in what was answered`).toEqual([]);
}

/** Waits until the page shows something. */
const shows = (page: Page, what: RegExp, path: string) =>
  page.waitForFunction((source) => new RegExp(source).test(document.querySelector("main")?.innerText ?? ""), what.source, { timeout: 20_000 })
    .catch(async () => expect(await page.locator("main").innerText(), path).toMatch(what));

test.each(Object.keys(users) as User[])("each page, with a token of %s", async (user) => {
  const all = await signIn(user);
  const { page, answers } = all;
  for (const [path, sights] of pages()) {
    const [sees, has = {}] = sights[user];
    await visit(page, path);
    await shows(page, sees, path);
    expect(await buttons(page), path).toEqual(has);
    await nothingOf(marksFor(user), all, path);
  }
  expect(answers.filter((a) => a.includes("/v1/")).length).toBeGreaterThan(5); // so it was all seen
  expect(answers.some((a) => a.startsWith("frame "))).toBe(true);
  expect(answers.some((a) => a.includes("gloria-" + foreign))).toBe(user === "operate");
  expect(all.complaints).toEqual([]);
  await all.context.close();
});

test("who may order only own jobs is told so beside those of others", async () => {
  const token = await mint(keys, "acme", "carol", "--permit", "read:tenant", "--permit", "submit", "--permit", "cancel");
  const { page, context } = await signIn("tenant", token);
  const others = "The job is somebody else's: the token needs the permission “cancel:tenant”";
  await visit(page, "jobs/" + jobs.bob[0]);
  await page.waitForSelector("text=Why it failed");
  expect(await buttons(page)).toMatchObject({ Cancel: others, Retry: others });
  await visit(page, "jobs?state=failed");
  await page.locator("tbody input[type=checkbox]").first().check();
  expect(await buttons(page)).toMatchObject({ Cancel: others, Retry: others });
  await context.close();
});

test("what is typed into the address opens nothing", async () => {
  for (const user of ["read", "tenant"] as const) {
    const all = await signIn(user);
    const tenant = "tenant=globex-" + foreign;
    const others = jobs.gloria[0]!;
    for (const [path, sees] of [
      ["?" + tenant, /Overview/], ["jobs?" + tenant, /All/], [`jobs?subject=gloria-${foreign}`, /No job matches/], [`jobs?tag=${foreign}:${foreign}`, /All/],
      [`types/demo.fail?from=${others}`, /cannot be read/], ["webhooks?" + tenant, denied[0]],
      ...(user === "read" ? [[`jobs?subject=bob-${bobs}`, /No job matches/] as const] : []),
    ] as const) {
      await visit(all.page, path);
      await shows(all.page, sees, path);
      await nothingOf(marksFor(user), all, path);
    }
    expect(all.complaints).toEqual([]);
    await all.context.close();
  }
});

test("an operator's orders to another tenant's jobs: as many as it is told, and erasures are not its", async () => {
  const { page, context, complaints } = await signIn("operate");
  await visit(page, `jobs?state=failed&type=demo.fail&tenant=globex-${foreign}`);
  await shows(page, /3 jobs/, "the list");
  await page.getByRole("button", { name: "All that match" }).click();
  await page.getByRole("toolbar").getByRole("button", { name: "Erase", exact: true }).click({ force: true });
  await page.waitForSelector(`.toast:has-text('${needs("erase")}')`);
  await page.getByRole("toolbar").getByRole("button", { name: "Retry", exact: true }).click();
  await page.getByRole("dialog", { name: "Retry all 3 jobs that match?" }).getByRole("button", { name: "Retry 3 jobs" }).click();
  await page.waitForURL("**/jobs/*");
  await page.waitForSelector(".head .state.completed");
  expect(await page.getByLabel("Result", { exact: true }).innerText()).toMatch(/"done": 3\b/);
  await visit(page, "audit");
  await shows(page, new RegExp(`ordered a bulk action: retry, 3 jobs of globex-${foreign}`), "audit");
  expect(complaints).toEqual([]);
  await context.close();
});
