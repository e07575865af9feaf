// The HTTP routes of the server in memory, behind a function with the signature of fetch.

import type { ErrorCode } from "../codes_gen.js";
import type { GrantRequest, State } from "../types.js";
import type { Deed, Identity } from "./access.js";
import { Batch } from "./batch.js";
import { getWorkers, postBulk } from "./bulk.js";
import { checkState, checkTag } from "./checks.js";
import { codes, Refusal } from "./codes.js";
import type { Engine } from "./engine.js";
import { streamFrames } from "./events.js";
import { toJSON } from "./json.js";
import { getHistory, getPayload } from "./past.js";
import { type JobRecord, stamp, type Submit, terminal } from "./record.js";

const lane = "default";
const maxWait = 60; // seconds, of Prefer: wait
const ticketLife = 30_000; // milliseconds

/** A request, read. */
export interface Request_ {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: Headers;
  body: string;
  signal: AbortSignal | undefined;
  token: string | undefined;
  who: Identity;
}

type Route = (engine: Engine, request: Request_, id: string) => Response | Promise<Response>;

/** The routes, with the permissions that each needs. */
const routes: [method: string, pattern: RegExp, route: Route, ...needed: Deed[]][] = [
  ["POST", /^\/v1\/jobs$/, postJob, "submit"],
  ["POST", /^\/v1\/jobs:batch$/, postBatch, "submit"],
  ["POST", /^\/v1\/bulk$/, postBulk],
  ["GET", /^\/v1\/workers$/, getWorkers],
  ["GET", /^\/v1\/jobs$/, listJobs, "read"],
  ["GET", /^\/v1\/stats$/, getStats, "read"],
  ["POST", /^\/v1\/ws-tickets$/, postTicket],
  ["POST", /^\/v1\/grants$/, postGrant],
  ["POST", /^\/v1\/events$/, postEvents, "read"],
  ["GET", /^\/v1\/jobs\/([^/]+)$/, getJob, "read"],
  ["DELETE", /^\/v1\/jobs\/([^/]+)$/, eraseJob, "erase", "read"],
  ["GET", /^\/v1\/jobs\/([^/]+)\/why$/, getWhy, "read"],
  ["GET", /^\/v1\/jobs\/([^/]+)\/history$/, getHistory, "read"],
  ["GET", /^\/v1\/jobs\/([^/]+)\/payload$/, getPayload, "payloads", "read"],
  ["GET", /^\/v1\/jobs\/([^/]+)\/result$/, getResult, "read"],
  ["GET", /^\/v1\/jobs\/([^/]+)\/deliveries$/, getDeliveries, "read"],
  ["POST", /^\/v1\/jobs\/([^/]+)\/cancel$/, (engine, request, id) => postOrder(engine, "cancel", request, id)],
  ["POST", /^\/v1\/jobs\/([^/]+)\/retry$/, (engine, request, id) => postOrder(engine, "retry", request, id)],
];

/** Serves one request as fetch does: it rejects with a TypeError where no server can be reached. */
export async function serve(engine: Engine, input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> {
  const request = typeof input === "string" || input instanceof URL ? undefined : input;
  const url = new URL(request?.url ?? String(input));
  const headers = new Headers(init.headers ?? request?.headers);
  const signal = init.signal ?? request?.signal ?? undefined;
  const body = init.body === undefined || init.body === null ? ((await request?.text()) ?? "") : String(init.body);
  await reached(engine, signal);
  let answer: Response;
  try {
    const method = (init.method ?? request?.method ?? "GET").toUpperCase();
    const { pathname: path, searchParams: query } = url;
    const token = /^Bearer (.+)$/i.exec(headers.get("Authorization") ?? "")?.[1];
    const who = identify(engine, query.getAll("grant"), token, method === "GET" && path.endsWith("/result"));
    const refused = engine.refusal("request");
    if (refused) throw refused;
    answer = await route(engine, { method, path, query, headers, body, signal, token, who });
  } catch (err) {
    if (!(err instanceof Refusal)) throw err;
    answer = refusal(err);
  }
  await reached(engine, signal);
  answer.headers.set("Referrer-Policy", "no-referrer");
  return answer;
}

/** Who asks: by a token, or by a grant in the URL, which few routes take. */
function identify(engine: Engine, grants: string[], token: string | undefined, takesURL: boolean): Identity {
  if (grants.length && !takesURL) {
    const detail = "a grant may stand only in URLs of event streams and results; elsewhere it is sent like a token";
    throw new Refusal("forbidden", detail);
  }
  if (grants.length && token !== undefined) {
    throw new Refusal("invalid_frame", "the request has a token in a header and a grant in its URL");
  }
  const who = grants.length > 1 ? undefined : engine.identify(grants[0] ?? token);
  if (!who) throw new Refusal("unauthenticated", "a valid token is needed");
  if (grants.length) who.checkURL();
  return who;
}

/** Waits for as long as the way to the server takes. */
function reached(engine: Engine, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const aborted = () => {
      stop();
      reject(signal?.reason as Error);
    };
    const stop = engine.after(engine.delay / 2, () => {
      signal?.removeEventListener("abort", aborted);
      if (engine.down) reject(new TypeError("fetch failed"));
      else resolve();
    });
    signal?.addEventListener("abort", aborted, { once: true });
  });
}

function route(engine: Engine, request: Request_): Response | Promise<Response> {
  let known = false;
  for (const [method, pattern, handle, ...needed] of routes) {
    const match = pattern.exec(request.path);
    if (!match) continue;
    known = true;
    if (method !== request.method) continue;
    request.who.check(...needed);
    return handle(engine, request, decodeURIComponent(match[1] ?? ""));
  }
  throw new Refusal(known ? "method_not_allowed" : "not_found", "no such route");
}

const json = (status: number, text: string, headers: Record<string, string> = {}) =>
  new Response(text, { status, headers: { "Content-Type": "application/json", ...headers } });

function refusal({ problem: refused }: Refusal): Response {
  const status = codes[refused.code as ErrorCode][0];
  const headers: Record<string, string> = { "Content-Type": "application/problem+json" };
  if (refused.retryAfter !== undefined) headers["Retry-After"] = String(Math.ceil(refused.retryAfter));
  if (status === 401) headers["WWW-Authenticate"] = "Bearer";
  const { code, title, ...rest } = refused;
  return new Response(toJSON({ code, title, status, ...rest }), { status, headers });
}

async function postJob(engine: Engine, request: Request_): Promise<Response> {
  const { headers } = request;
  const submit = parse(request) as Submit;
  const key = headers.get("Idempotency-Key")?.replace(/^"|"$/g, "");
  if (key) submit.key = key;
  const traceparent = headers.get("Traceparent");
  if (traceparent) submit.traceparent = traceparent;
  const refused = engine.refusal("submit");
  if (engine.ackDelay > 0) await new Promise<void>((resolve) => engine.after(engine.ackDelay, resolve));
  if (refused) throw refused;
  const { ack, record } = engine.submit(submit, request.who);
  const lost = engine.acksToLose > 0;
  if (lost) engine.acksToLose--;
  if (!ack.duplicate) engine.announce(record);
  if (lost) throw new TypeError("fetch failed");
  const wait = preferWait(headers);
  if (wait > 0) {
    await ended(engine, record, wait, request.signal);
    if (terminal(record.doc.state)) return document(record, ack.statusUrl);
  }
  return json(202, toJSON(ack), { Location: ack.statusUrl });
}

async function postBatch(engine: Engine, request: Request_): Promise<Response> {
  const { jobs } = parse(request) as { jobs?: unknown };
  if (request.headers.has("Idempotency-Key")) {
    throw new Refusal("invalid_frame", "Idempotency-Key: each job of a batch has a key of its own");
  }
  const batch = new Batch(engine, jobs);
  if (engine.ackDelay > 0) await new Promise<void>((resolve) => engine.after(engine.ackDelay, resolve));
  batch.submit(request.who, () => false);
  batch.announce();
  if (batch.lost()) throw new TypeError("fetch failed");
  return json(200, toJSON({ results: batch.results }));
}

/** Reads a body, which is a JSON object. */
export function parse({ body, headers }: Request_): object {
  if (!/^application\/json\b/.test(headers.get("Content-Type") ?? "")) {
    throw new Refusal("unsupported_media_type", "the body must be application/json");
  }
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    value = undefined;
  }
  if (typeof value !== "object" || value === null) throw new Refusal("invalid_frame", "the body cannot be read");
  return value;
}

function postEvents(engine: Engine, request: Request_): Promise<Response> {
  const { token, signal, who } = request;
  const watch: { mine?: unknown } = parse(request);
  if (watch.mine === true) who.checkMine();
  return streamFrames(engine, { token, signal, watch, wait: preferWait(request.headers) });
}

function postOrder(engine: Engine, kind: "cancel" | "retry", { who }: Request_, id: string): Response {
  who.checkOrder(kind);
  const refused = engine.refusal(kind);
  if (refused) throw refused;
  const { ack, record } = engine.command(kind, id, who);
  engine.changed(record);
  if (engine.acksToLose > 0) {
    engine.acksToLose--;
    throw new TypeError("fetch failed");
  }
  return json(202, toJSON(ack), { Location: ack.statusUrl });
}

function postTicket(engine: Engine, request: Request_): Response {
  const ticket = `ticket-${++engine.made}`.padEnd(40, "-");
  engine.tickets.set(ticket, request.token);
  const expiresAt = stamp(Date.now() + ticketLife);
  return json(201, toJSON({ ticket, url: `/v1/ws?ticket=${ticket}`, expiresAt }));
}

function postGrant(engine: Engine, request: Request_): Response {
  const asked = parse(request) as GrantRequest;
  return json(201, toJSON(engine.grant(asked, asked, request.who)));
}

async function getJob(engine: Engine, request: Request_, id: string): Promise<Response> {
  const record = engine.find(id, request.who);
  const known = request.headers.get("If-None-Match");
  await ended(engine, record, preferWait(request.headers), request.signal);
  if (known === `"${record.version}"`) return new Response(null, { status: 304, headers: { ETag: known } });
  return document(record);
}

function eraseJob(engine: Engine, { who }: Request_, id: string): Response {
  engine.erase(id, who);
  return new Response(null, { status: 204 });
}

const document = (record: JobRecord, location?: string) =>
  json(200, record.text, { ETag: `"${record.version}"`, ...(location ? { Location: location } : {}) });

/** Reads Prefer: wait=N, in seconds. */
function preferWait(headers: Headers): number {
  const seconds = Number(/\bwait=(\d+(\.\d+)?)/.exec(headers.get("Prefer") ?? "")?.[1]);
  return Math.min(seconds || 0, maxWait);
}

/** Waits until a job has ended, that many seconds at most. It rejects at a cut, as fetch does. */
function ended(engine: Engine, record: JobRecord, seconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (!(seconds > 0) || terminal(record.doc.state)) {
      resolve();
      return;
    }
    const done = () => {
      stop();
      engine.listeners.delete(changed);
      signal?.removeEventListener("abort", aborted);
    };
    const stop = engine.after(seconds * 1000, () => {
      done();
      resolve();
    });
    const changed = (cut: boolean) => {
      if (!cut && !terminal(record.doc.state)) return;
      done();
      if (cut) reject(new TypeError("fetch failed"));
      else resolve();
    };
    const aborted = () => {
      done();
      reject(signal?.reason as Error);
    };
    engine.listeners.add(changed);
    signal?.addEventListener("abort", aborted, { once: true });
  });
}

function getResult(engine: Engine, { who }: Request_, id: string): Response {
  const { doc, file } = engine.find(id, who);
  if (doc.state !== "completed") throw new Refusal("invalid_state", `the job is ${doc.state}: it has no result`);
  if (!file) return json(200, toJSON(doc.result));
  const headers: Record<string, string> = { "Content-Type": file.contentType };
  if (file.name) headers["Content-Disposition"] = `attachment; filename="${file.name}"`;
  return new Response(file.content, { headers });
}

function getDeliveries(engine: Engine, { who }: Request_, id: string): Response {
  return json(200, toJSON({ jobId: engine.find(id, who).doc.jobId, deliveries: [] }));
}

function getWhy(engine: Engine, { who }: Request_, id: string): Response {
  const { doc } = engine.find(id, who);
  const why: Record<string, unknown> = { jobId: doc.jobId, state: doc.state };
  const because = (reason: string, detail: string, nextAt?: string) => Object.assign(why, { reason, detail, nextAt });
  switch (doc.state) {
    case "pending":
    case "queued":
      because("no_workers", "No worker takes jobs of this lane.");
      Object.assign(why, { workers: 0, waiting: count(engine, "pending") });
      break;
    case "scheduled":
      because("scheduled", "The job's time has not come.", doc.runAt);
      break;
    case "retrying":
      because("waiting_for_retry", "An attempt failed; the next is not due.", doc.retryAt);
      break;
    case "processing":
      if (doc.cancelRequested) because("cancelling", "The job's handler was told to stop.");
      else because("running", "A worker works on the job.");
      break;
    default:
      because("ended", "The job has ended.");
  }
  return json(200, toJSON({ ...why, lane, asOf: stamp() }));
}

const count = (engine: Engine, state: State) => engine.order.filter(({ doc }) => doc.state === state).length;

function getStats(engine: Engine, { query, who }: Request_): Response {
  const counts = new Map<string, { type: string; lane: string; state: State; jobs: number }>();
  const tags = readTags(query);
  for (const record of engine.order) {
    if (!who.sees(record) || !tagged(record, tags)) continue;
    const { type, state } = record.doc;
    const entry = counts.get(`${type} ${state}`) ?? { type, lane, state, jobs: 0 };
    entry.jobs++;
    counts.set(`${type} ${state}`, entry);
  }
  const oldestSince = engine.order.filter((r) => r.doc.state === "pending").map((r) => r.doc.updatedAt).sort()[0];
  const lanes = [{ lane, workers: engine.handlers.size > 0 ? 1 : 0, waiting: count(engine, "pending"), oldestSince }];
  return json(200, toJSON({ counts: [...counts.values()], lanes, asOf: stamp() }));
}

/** Reads the tags that jobs must have. */
export function readTags(query: URLSearchParams): [string, string][] {
  const all = [...new Set(query.getAll("tag"))];
  if (all.length > 4) throw new Refusal("invalid_frame", "tag has more than 4 values");
  return all.map((text) => {
    const at = text.indexOf(":");
    if (at < 0) throw new Refusal("invalid_frame", `tag ${JSON.stringify(text)}: is not key:value`);
    const [key, value] = [text.slice(0, at), text.slice(at + 1)];
    checkTag(key, value);
    return [key, value];
  });
}

export const tagged = ({ doc }: JobRecord, tags: [string, string][]) => tags.every(([key, value]) => doc.tags?.[key] === value);

export const filters = new Set([
  "state", "type", "lane", "subject", "mine", "tag", "createdAfter", "createdBefore", "updatedAfter", "updatedBefore",
]);

function listJobs(engine: Engine, { query, who }: Request_): Response {
  for (const name of query.keys()) {
    if (!filters.has(name) && name !== "limit" && name !== "cursor") {
      throw new Refusal("invalid_frame", `${name} is not a parameter here`);
    }
  }
  for (const state of query.getAll("state")) checkState("state ", state);
  const limit = Number(query.get("limit") ?? 50);
  if (!(limit >= 1 && limit <= 500)) throw new Refusal("invalid_frame", "limit must be a number from 1 to 500");
  const cursor = Number(query.get("cursor") ?? engine.order.length);
  if (!(cursor >= 0)) throw new Refusal("invalid_frame", "cursor is not one of this API");
  const tags = readTags(query);
  const jobs: string[] = [];
  const versions: number[] = [];
  let next: number | undefined;
  for (let at = Math.min(cursor, engine.order.length) - 1; at >= 0; at--) {
    const record = engine.order[at];
    if (!record || !who.sees(record) || !chosen(record, query, who.subject) || !tagged(record, tags)) continue;
    if (jobs.length === limit) {
      next = at + 1;
      break;
    }
    jobs.push(record.text);
    versions.push(record.version);
  }
  const known = versions.length ? `,"versions":[${versions.join()}]` : "";
  const more = next === undefined ? "" : `,"nextCursor":"${next}"`;
  return json(200, `{"jobs":[${jobs.join(",")}]${known}${more},"asOf":"${stamp()}"}`);
}

export function chosen({ doc, subject: owner }: JobRecord, query: URLSearchParams, subject: string): boolean {
  const among = (name: string, value: string) => !query.has(name) || query.getAll(name).includes(value);
  const within = (name: string, time: string) => {
    const [after, before] = [query.get(`${name}After`), query.get(`${name}Before`)];
    return !(after && Date.parse(time) < Date.parse(after)) && !(before && Date.parse(time) >= Date.parse(before));
  };
  return among("state", doc.state) && among("type", doc.type) && among("lane", lane) && among("subject", owner) &&
    !(query.get("mine") === "true" && owner !== subject) &&
    within("created", doc.createdAt) && within("updated", doc.updatedAt);
}

