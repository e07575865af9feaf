// A job's history as rows that people read: what happened, what it means, and what lies between.

import type { HistoryEvent } from "ackwire";
import { span } from "./span.js";
import { count } from "./text.js";

/** A row: one event, or many alike in a row; or what explains a gap. */
export interface Moment {
  key: string;
  at: string;
  /** The look: an outcome, or "late" for what changed nothing. */
  mark: string;
  what: string;
  /** More of it: who, why. */
  more: string[];
  /** Of reports of progress that are told together: all of them. */
  reports?: HistoryEvent[];
  gap?: boolean;
}

const says: Record<string, string> = {
  accepted: "Accepted", claimed: "Claimed", progress: "Progress", beat: "Sign of life", completed: "Completed", failed: "Attempt failed",
  released: "Handed back", leaseExpired: "Worker lost", attemptTimedOut: "Attempt took too long", deadlineExceeded: "Deadline exceeded",
  cancelRequested: "Asked to stop", cancelForced: "Stopped by force", retryRequested: "Asked to run again", requeued: "Handed out again",
  requestLost: "Request given up", payloadLost: "Payload lost", callbackQueued: "Webhook queued", erased: "Erased", expired: "Forgotten",
};

const marks: Record<string, string> = {
  claimed: "running", progress: "running", beat: "running", completed: "completed", failed: "failed", released: "released", leaseExpired: "lost",
  attemptTimedOut: "timedOut", deadlineExceeded: "failed", cancelForced: "timedOut", payloadLost: "failed",
};

/** What the job did between an event and the next one, and from when on that is worth a word, in milliseconds. */
function between(was: HistoryEvent, next: HistoryEvent, ms: number): string | undefined {
  const time = span(ms);
  if (was.state === "retrying" && next.type !== "cancelRequested") return ms < 1000 ? undefined : `${time} of pause before the next attempt`;
  if (next.type === "leaseExpired") return `${time} without a sign of life: then the lease was over`;
  if (next.type === "claimed") return ms < 1000 ? undefined : `${time} in the queue, until a worker took it`;
  if (was.state === "scheduled") return ms < 1000 ? undefined : `${time} until the time it was planned for`;
  if (was.state === "processing") return ms < 10_000 ? undefined : `${time} at work without a report`;
  return ms < 10_000 ? undefined : `${time} in which nothing happened`;
}

const percent = (e: HistoryEvent) => `${Math.floor(e.progress?.percent ?? 0)} %`;

/** Makes the rows of events, the oldest first. */
export function moments(events: readonly HistoryEvent[]): Moment[] {
  const rows: Moment[] = [];
  let applied: HistoryEvent | undefined; // the last event that changed the job
  for (let i = 0; i < events.length; i++) {
    const e = events[i]!;
    const late = e.applied === false;
    if (applied && !late) {
      const gap = between(applied, e, Date.parse(e.at) - Date.parse(applied.at));
      if (gap) rows.push({ key: `gap${e.offset}`, at: "", mark: "gap", what: gap, more: [], gap: true });
    }
    const signs = [e];
    if (!late && (e.type === "progress" || e.type === "beat")) {
      while (i + 1 < events.length && same(e, events[i + 1]!)) {
        const next = events[i + 1]!;
        // A long silence between two signs is a gap of its own.
        if (Date.parse(next.at) - Date.parse(signs.at(-1)!.at) > 60_000) break;
        signs.push(next);
        i++;
      }
    }
    rows.push(moment(signs, late));
    if (!late) applied = signs.at(-1);
  }
  return rows;
}

const same = (a: HistoryEvent, b: HistoryEvent) =>
  (b.type === "progress" || b.type === "beat") && b.applied !== false && a.run === b.run && a.dispatch === b.dispatch;

function moment(signs: HistoryEvent[], late: boolean): Moment {
  const first = signs[0]!;
  const last = signs.at(-1)!;
  const reports = signs.filter((e) => e.type === "progress");
  const row: Moment = {
    key: String(first.offset), at: first.at, mark: late ? "late" : (marks[first.type ?? ""] ?? ""), more: [],
    what: first.type === undefined ? "A record that cannot be read" : (says[first.type] ?? first.type),
  };
  if (reports.length) {
    const end = reports.at(-1)!;
    row.what = reports.length === 1 ? `Progress: ${percent(end)}` : `Progress: ${percent(reports[0]!)} → ${percent(end)}`;
    if (reports.length > 1) {
      row.reports = reports;
      row.more.push(`${count(reports.length)} reports in ${span(Math.max(1, Date.parse(last.at) - Date.parse(first.at)))}`);
    }
    const text = [end.progress?.stage, end.progress?.message].filter(Boolean).join(": ");
    if (text) row.more.push(text);
  } else if (signs.length > 1) row.more.push(`${count(signs.length)} signs in ${span(Date.parse(last.at) - Date.parse(first.at))}`);
  if (first.type === "claimed" && !late) row.what = `Claimed, attempt ${first.attempt ?? 1}`;
  if (first.type === "accepted" && first.state && first.state !== "pending" && first.state !== "scheduled" && !late) row.more.push("The log has it behind the claim: the worker was faster than the note of the acceptance.");
  if (first.worker && first.type !== "progress" && first.type !== "beat") row.more.push("on " + first.worker);
  else if (first.by === "operator" || first.by === "tracker") row.more.push("by the " + first.by);
  if (first.error) row.more.push(`${first.error.code}: ${first.error.message}`);
  if (first.subject) row.more.push("by " + first.subject);
  if (late) row.more.unshift(first.detail ? `Changed nothing: ${first.detail}` : "Changed nothing.");
  return row;
}
