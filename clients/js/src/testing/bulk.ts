// Bulk actions, which are done at once, and workers, as the test shows them.

import type { BulkAction, BulkResult } from "../operate/bulk.js";
import type { Workers } from "../operate/workers.js";
import type { State } from "../types.js";
import { Refusal } from "./codes.js";
import type { Engine } from "./engine.js";
import { chosen, parse, readTags, type Request_, tagged } from "./http.js";
import { toJSON } from "./json.js";
import { readFilter } from "./lists.js";
import { type JobRecord, stamp, terminal } from "./record.js";

const type = "ackwire.bulk";
const deeds = { retry: "submit", cancel: "cancel", erase: "erase" } as const;
const invalid = (detail: string) => new Refusal("invalid_frame", detail);
const takes = (action: BulkAction, state: State) => terminal(state) !== (action === "cancel");

interface Asked {
  action: BulkAction;
  filter: Record<string, unknown>;
  expect?: number;
  preview?: boolean;
  key?: string;
}

/** Counts the jobs that match, or does what is asked to all of them. */
export function postBulk(engine: Engine, request: Request_): Response {
  const { who } = request;
  const asked = parse(request) as Asked;
  const { action, filter, expect, preview } = asked;
  const deed = Object.hasOwn(deeds, action) ? deeds[action] : undefined;
  if (!deed) throw invalid("action is not retry, cancel or erase");
  who.check("read", deed);
  if (who.scope) throw new Refusal("forbidden", "a grant does not permit bulk actions");
  if (typeof filter !== "object" || filter === null) throw invalid("filter is missing");
  const query = readFilter(filter);
  for (const state of query.getAll("state") as State[]) {
    if (!takes(action, state)) throw invalid(`filter: ${action} is not possible for jobs that are ${state}`);
  }
  if (!preview && !(Number.isInteger(expect) && expect! >= 1)) {
    throw invalid("expect must be the number of jobs that match, at least 1; preview tells it");
  }
  const all = matching(engine, request, action, query);
  const examples = all.slice(0, 10).map(({ doc }) => doc.jobId);
  if (preview) return answer(200, { action, count: all.length, examples });
  const key = asked.key ?? request.headers.get("Idempotency-Key")?.replace(/^"|"$/g, "");
  const submit = { job: type, payload: { action, filter, expect }, ...(key && { key }) };
  if (!engine.known(submit, who) && all.length !== expect) {
    const refusal = new Refusal("count_differs", `${all.length} jobs match, not ${expect}`);
    Object.assign(refusal.problem, { count: all.length });
    throw refusal;
  }
  const { ack, record } = engine.submit(submit, who);
  if (!ack.duplicate) {
    engine.begin(record);
    for (const one of all) touch(engine, action, one);
    const result: BulkResult = {
      action, matched: all.length, done: all.length, skipped: { not_found: 0, changed: 0, refused: 0 }, jobs: [],
    };
    record.complete(result, undefined);
    engine.changed(record);
  }
  const { jobId, state, statusUrl } = ack;
  return answer(202, { action, count: expect, examples: ack.duplicate ? [] : examples, jobId, state, statusUrl });
}

/** The jobs of a bulk action, the newest first. Bulk actions are among them only if their type is asked for. */
function matching(engine: Engine, { who }: Request_, action: BulkAction, query: URLSearchParams): JobRecord[] {
  const any = !query.has("state");
  const tags = readTags(query);
  return engine.order.filter((record) => {
    const { state } = record.doc;
    return takes(action, state) && !(any && action === "retry" && state === "completed") &&
      (query.has("type") || record.doc.type !== type) && who.sees(record) && who.sees(record, deeds[action]) &&
      chosen(record, query, who.subject) && tagged(record, tags);
  }).reverse();
}

function touch(engine: Engine, action: BulkAction, record: JobRecord): void {
  if (action === "erase") {
    engine.remove(record);
    return;
  }
  if (action === "cancel") record.cancel();
  else record.retry(engine.maxAttempts);
  engine.changed(record);
}

/** Answers with the workers that the test shows. */
export function getWorkers(engine: Engine, { who }: Request_): Response {
  if (!who.may("operate")) throw new Refusal("forbidden", "the token does not permit this: it needs operate");
  const none: Workers = { workers: [], lanes: [], asOf: "", truncated: false };
  return answer(200, { ...none, ...engine.workers, asOf: stamp() });
}

const answer = (status: number, body: object) =>
  new Response(toJSON(body), { status, headers: { "Content-Type": "application/json" } });
