// The filter of the list of jobs, as the page's URL has it, and the views that the user has kept.

import type { State } from "ackwire";
import { kept } from "./state.js";

/** Filters that are passed on as they are. */
const passed = ["type", "lane", "subject", "tenant", "tag", "createdAfter", "createdBefore", "updatedAfter", "updatedBefore", "mine"] as const;

export const waiting: readonly State[] = ["pending", "scheduled", "queued"];

/** Spans of `since`, in milliseconds. */
export const spans: Record<string, number> = { "15m": 900_000, "1h": 3_600_000, "24h": 86_400_000, "7d": 604_800_000 };

export const pageSize = 50;

/** A list is asked for by this many tags at most. */
export const mostTags = 4;

/** The query of GET /v1/jobs for a page's URL. `now` is rounded, so that pages of one list have the same filter. */
export function request(query: URLSearchParams, now: number): string {
  const asked = new URLSearchParams({ limit: String(pageSize) });
  const states = query.getAll("state").flatMap((s) => s.split(",")).filter(Boolean);
  if (states.length) asked.set("state", states.join(","));
  for (const name of passed) for (const value of query.getAll(name)) if (value) asked.append(name, name === "subject" ? value.replaceAll(",", "%2C") : value);
  const span = spans[query.get("since") ?? ""];
  if (span) asked.set("createdAfter", query.get("at") ?? new Date(Math.floor((now - span) / 60_000) * 60_000).toISOString());
  const cursor = query.get("cursor");
  if (cursor) asked.set("cursor", cursor);
  return asked.toString();
}

/** The filter of a request, by names: for bulk actions and lists that are followed. */
export function filterOf(asked: string): Record<string, string[]> {
  const filter: Record<string, string[]> = {};
  for (const [name, value] of new URLSearchParams(asked)) {
    if (name !== "limit" && name !== "cursor") (filter[name] ??= []).push(...(name === "state" ? value.split(",") : [value]));
  }
  return filter;
}

/** The page's URL with another filter: a change begins at the first page. */
export function changed(query: URLSearchParams, changes: Record<string, string | readonly string[]>): string {
  const next = new URLSearchParams(query);
  next.delete("cursor");
  next.delete("at");
  for (const [name, value] of Object.entries(changes)) {
    next.delete(name);
    for (const one of [value].flat()) if (one) next.append(name, one);
  }
  const text = next.toString();
  return "jobs" + (text && "?" + text);
}

export interface View {
  name: string;
  query: string;
}

export const builtIn: readonly View[] = [
  { name: "All", query: "" },
  { name: "Waiting", query: "state=pending,scheduled" },
  { name: "Running", query: "state=processing" },
  { name: "Retrying", query: "state=retrying" },
  { name: "Failed", query: "state=failed" },
  { name: "Ended", query: "state=completed,failed,cancelled" },
];

const isView = (v: unknown): v is View => typeof (v as View)?.name === "string" && typeof (v as View)?.query === "string";

export const views = kept<readonly View[]>("views", [], (v): v is View[] => Array.isArray(v) && v.length <= 50 && v.every(isView));

/** A filter in one form, to compare. */
export function normal(query: URLSearchParams | string): string {
  const next = new URLSearchParams(query);
  next.delete("cursor");
  next.delete("at");
  next.sort();
  return next.toString();
}
