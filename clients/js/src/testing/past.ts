// What a job was: its events, made from the versions of its document, and what was submitted.

import type { HistoryEvent, State } from "../types.js";
import type { Engine } from "./engine.js";
import { Refusal } from "./codes.js";
import type { Request_ } from "./http.js";
import { toJSON } from "./json.js";
import { type Doc, terminal } from "./record.js";

const maxLimit = 1000;

/** Answers with a page of a job's events. No event is ever refused, and beats are not told. */
export function getHistory(engine: Engine, { who, query }: Request_, id: string): Response {
  const record = engine.find(id, who);
  const [limit, from] = page(query, record.doc.jobId);
  let was: Doc | undefined;
  const all = record.history.map(({ version, text }) => {
    const is = JSON.parse(text) as Doc;
    const event = eventOf(was, is, version);
    was = is;
    return event;
  });
  const next = from + limit;
  return json(toJSON({
    jobId: record.doc.jobId, events: all.slice(from, next),
    nextCursor: next < all.length ? `${record.doc.jobId}.${next}` : undefined, asOf: new Date().toISOString(),
  }));
}

export function getPayload(engine: Engine, { who }: Request_, id: string): Response {
  return json(toJSON(engine.find(id, who).submit.payload));
}

const json = (body: string) => new Response(body, { headers: { "Content-Type": "application/json" } });

function page(query: URLSearchParams, jobId: string): [limit: number, from: number] {
  const invalid = (detail: string) => new Refusal("invalid_frame", detail);
  for (const name of query.keys()) {
    if (name !== "limit" && name !== "cursor") throw invalid(`"${name}" is not a parameter here: limit, cursor are`);
  }
  const limit = Number(query.get("limit") ?? 200);
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= maxLimit)) throw invalid(`limit must be from 1 to ${maxLimit}`);
  const cursor = query.get("cursor");
  const [of, from] = cursor?.split(".") ?? [jobId, "0"];
  if (of !== jobId || !/^\d+$/.test(from ?? "")) throw invalid("cursor is not one of this job's history");
  return [limit, Number(from)];
}

function eventOf(was: Doc | undefined, is: Doc, version: number): HistoryEvent {
  const [type, by] = changeOf(was, is);
  const event: HistoryEvent = { offset: version - 1, at: is.updatedAt, type, by, applied: true, state: is.state, attempt: is.attempt };
  const run = is.attempts?.at(-1);
  if (by === "worker" && run) event.worker = run.worker;
  if (type === "progress" && is.progress) event.progress = is.progress;
  if (type === "failed" && is.error) event.error = is.error as NonNullable<HistoryEvent["error"]>;
  return event;
}

function changeOf(was: Doc | undefined, is: Doc): [type: string, by: NonNullable<HistoryEvent["by"]>] {
  const ran = was?.state === "processing";
  const state: State = is.state;
  if (!was) return ["accepted", "gateway"];
  if (terminal(was.state) && !terminal(state)) return ["retryRequested", "gateway"];
  if (state === "processing" && !ran) return ["claimed", "worker"];
  if (state === "completed") return ["completed", "worker"];
  if (state === "cancelled" || (is.cancelRequested && !was.cancelRequested)) return ["cancelRequested", "gateway"];
  if (state === "pending") return ["requeued", "tracker"];
  if (state === "processing") return ["progress", "worker"];
  return ran ? ["failed", "worker"] : ["deadlineExceeded", "tracker"];
}
