// Questions over HTTP.

import { expect, test, vi } from "vitest";
import { AckwireError, connect } from "../../src/index.js";
import { world } from "./fake.js";

interface Asked {
  url: string;
  headers: Record<string, string>;
  method: string | undefined;
  body: unknown;
}

/** A client whose fetch answers with these, one after the other; the last one stays. */
function asking(answers: (Response | Error)[], options = {}) {
  const asked: Asked[] = [];
  const fetch = (async (url: string, init: RequestInit = {}) => {
    const { headers, method, body } = init;
    asked.push({ url, headers: headers as Record<string, string>, method, body });
    const answer = answers.length > 1 ? answers.shift()! : answers[0]!;
    if (init.signal?.aborted) throw init.signal.reason;
    if (answer instanceof Error) throw answer;
    return answer.clone();
  }) as typeof globalThis.fetch;
  const client = connect({ url: "https://jobs.example/base?x=1", token: "secret", transports: [], fetch, ...options });
  return { client, asked };
}

const json = (body: unknown, init: ResponseInit = {}) =>
  new Response(JSON.stringify(body), { headers: { "Content-Type": "application/json" }, ...init });

test("paths and headers", async () => {
  const { client, asked } = asking([json({ jobs: [] })]);
  await client.list();
  await client.list({
    state: ["failed", "cancelled"], type: "t&u", limit: 5, cursor: "c=", mine: true, other: undefined,
    createdAfter: new Date("2026-01-02T03:04:05Z"), tag: ["customer:c-17", "a:b,c"],
  });
  await client.get("j1");
  await client.why("j1");
  await client.deliveries("j1");
  await client.history("j1");
  await client.history("j1", { limit: 5, cursor: "c=" });
  await client.stats();
  const job = client.job("j2");
  await Promise.all([job.get(), job.why(), job.deliveries()]);
  const base = "https://jobs.example/base/v1/";
  expect(asked.map((a) => a.url.replace(base, ""))).toEqual([
    "jobs",
    "jobs?state=failed&state=cancelled&type=t%26u&limit=5&cursor=c%3D&mine=true&createdAfter=2026-01-02T03%3A04%3A05.000Z" +
      "&tag=customer%3Ac-17&tag=a%3Ab%2Cc",
    "jobs/j1", "jobs/j1/why", "jobs/j1/deliveries",
    "jobs/j1/history", "jobs/j1/history?limit=5&cursor=c%3D", "stats", "jobs/j2", "jobs/j2/why", "jobs/j2/deliveries",
  ]);
  for (const { headers } of asked) expect(headers).toMatchObject({ Authorization: "Bearer secret", Accept: "application/json" });
});

test("a grant is made", async () => {
  const grant = { token: "a.b.c", expiresAt: "2026-01-02T03:04:05Z" };
  const { client, asked } = asking([json(grant, { status: 201 }), json({ code: "forbidden" }, { status: 403 })]);
  expect(await client.grant({ jobs: ["j1"], ttl: 60, permissions: ["read"] })).toEqual(grant);
  expect(asked).toMatchObject([{
    url: "https://jobs.example/base/v1/grants", method: "POST", body: '{"jobs":["j1"],"ttl":60,"permissions":["read"]}',
    headers: { Authorization: "Bearer secret", "Content-Type": "application/json" },
  }]);
  await expect(client.grant({ jobs: ["j1"], ttl: 60 })).rejects.toMatchObject({ code: "forbidden" });
});

test("a job is erased, by its ID and by its handle", async () => {
  const gone = new Response(null, { status: 204 });
  const { client, asked } = asking([
    gone, gone, json({ code: "invalid_state" }, { status: 409 }), json({ code: "not_found" }, { status: 404 }),
    new Response("<html>"), new Response("", { status: 502 }), new TypeError("Failed to fetch"),
  ]);
  expect(await client.erase("j1")).toBeUndefined();
  expect(await client.job("j%2").erase()).toBeUndefined();
  const url = "https://jobs.example/base/v1/jobs/";
  const headers = { Authorization: "Bearer secret" };
  expect(asked).toMatchObject([
    { url: url + "j1", method: "DELETE", body: undefined, headers }, { url: url + "j%252", method: "DELETE", headers },
  ]);
  const refused = async () => (await client.erase("j1").catch((e) => e)) as AckwireError;
  expect(await refused()).toMatchObject({ code: "invalid_state", retryable: false });
  expect(await refused()).toMatchObject({ code: "not_found", retryable: false });
  // Whether the job is erased is open then.
  for (const [code, message] of [
    ["internal", "the server answered 200"], ["unavailable", "the server answered 502"],
    ["unavailable", "DELETE /v1/jobs/j1: Failed to fetch"],
  ]) expect(await refused()).toMatchObject({ code, retryable: true, message });
  const before = asked.length;
  await expect(client.erase("")).rejects.toMatchObject({ code: "not_found" });
  await expect(client.erase("j1", { signal: AbortSignal.abort("left") })).rejects.toBe("left");
  await client.close();
  await expect(client.erase("j1")).rejects.toMatchObject({ code: "closed" });
  expect(asked).toHaveLength(before);
});

test("get tells the version, of the ETag", async () => {
  const answer = (etag?: string) => json({ jobId: "j1", state: "queued" }, etag ? { headers: { ETag: etag } } : {});
  const { client } = asking([answer('"4713"'), answer('W/"12"'), answer()]);
  expect(await client.get("j1")).toEqual({ jobId: "j1", state: "queued", version: 4713 });
  expect((await client.get("j1")).version).toBe(12);
  expect((await client.get("j1")).version).toBe(0);
});

const problem = { code: "rate_limited", title: "Too many requests", status: 429, retryable: true, retryAfter: 7 };

test.each<[string, Response | Error, object]>([
  ["a problem document", json(problem, { status: 429 }), { code: "rate_limited", status: 429, retryable: true, retryAfter: 7 }],
  ["a proxy's 502", new Response("<html>", { status: 502 }), { code: "unavailable", status: 502, retryable: true }],
  ["a proxy's 503 with Retry-After", new Response("", { status: 503, headers: { "Retry-After": "12" } }), { code: "unavailable", retryAfter: 12 }],
  ["a proxy's 504", json({ message: "x" }, { status: 504 }), { code: "unavailable" }],
  ["a proxy's 429", new Response("", { status: 429 }), { code: "rate_limited", retryable: true }],
  ["a proxy's 401", new Response("", { status: 401 }), { code: "unauthenticated", retryable: false }],
  ["a proxy's 403", new Response("", { status: 403 }), { code: "forbidden", retryable: false }],
  ["a proxy's 404", new Response("", { status: 404 }), { code: "not_found", retryable: false }],
  ["a proxy's 418", new Response("", { status: 418 }), { code: "invalid_frame", retryable: false }],
  ["a proxy's 500", new Response("null", { status: 500 }), { code: "internal", retryable: true }],
  ["a code that is new", json({ code: "brand_new", title: "?", retryable: false }, { status: 409 }), { code: "brand_new", retryable: false }],
  ["wrong types", json({ code: "internal", title: 5, retryAfter: "x", errors: 1, retryable: "yes", jobId: {} }, { status: 500 }), { code: "internal", errors: [] }],
  ["no network", new TypeError("Failed to fetch"), { code: "unavailable", retryable: true, status: undefined }],
  ["no JSON", new Response("{", { status: 200 }), { code: "unavailable" }],
])("%s", async (_, answer, error) => {
  const { client } = asking([answer]);
  const caught = await client.stats().catch((e) => e);
  expect(caught).toBeInstanceOf(AckwireError);
  expect(caught).toMatchObject(error);
});

test("Retry-After as a date", async () => {
  const at = new Date(Date.now() + 30_500).toUTCString();
  const { client } = asking([new Response("", { status: 503, headers: { "Retry-After": at } })]);
  const { retryAfter } = await client.stats().catch((e) => e) as AckwireError & { retryAfter: number };
  expect(retryAfter).toBeGreaterThan(25);
  expect(retryAfter).toBeLessThan(31);
});

test("401 is asked again once, with a new token", async () => {
  let n = 0;
  const { client, asked } = asking([new Response("", { status: 401 }), json({ ok: 1 })], { token: async () => `t${++n}` });
  expect(await client.stats()).toEqual({ ok: 1 });
  expect(asked.map((a) => a.headers.Authorization)).toEqual(["Bearer t1", "Bearer t2"]);
  const never = asking([new Response("", { status: 401 })], { token: async () => "t" });
  await expect(never.client.stats()).rejects.toMatchObject({ code: "unauthenticated" });
  expect(never.asked).toHaveLength(2);
});

test("no token: no header", async () => {
  const { client, asked } = asking([json({})], { token: undefined });
  await client.stats();
  expect(asked[0]!.headers).not.toHaveProperty("Authorization");
});

test("abort rejects with the reason", async () => {
  const { client } = asking([json({})]);
  const reason = new Error("enough");
  await expect(client.list({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  const hanging = asking([json({})], { token: () => new Promise(() => {}) });
  const abort = new AbortController();
  const stats = hanging.client.stats({ signal: abort.signal });
  abort.abort(reason);
  await expect(stats).rejects.toBe(reason);
});

test("a result that the document does not hold: JSON, or a Blob", async () => {
  const w = world({
    welcome: true,
    fetch: (async (url: string) =>
      url.includes("j1") ? json({ big: true }) : new Response("a,b", { headers: { "Content-Type": "text/csv" } })) as any,
  });
  w.server.opened = (s) => queueMicrotask(() => {
    s.welcome();
    queueMicrotask(() => {
      for (const jobId of ["j1", "j2"]) {
        s.say({ type: "status", version: 1, job: { jobId, type: "t", state: "completed", resultUrl: `/v1/jobs/${jobId}/result` } });
      }
    });
  });
  const [one, two] = await Promise.all([w.client.result("j1"), w.client.result("j2")]);
  expect(one).toEqual({ big: true });
  expect(await (two as Blob).text()).toBe("a,b");
  await w.client.close();
});

test("fetch is called without a receiver", async () => {
  let receiver: unknown = "never called";
  vi.stubGlobal("fetch", function (this: unknown) {
    receiver = this;
    return Promise.resolve(json({}));
  });
  await connect({ url: "https://jobs.example" }).stats();
  vi.unstubAllGlobals();
  expect([undefined, globalThis]).toContain(receiver);
});
