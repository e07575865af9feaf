// What a job's document tells of its life, in order.

import type { Status } from "ackwire";
import type { ComponentChildren } from "preact";
import { ended } from "../permit.js";
import { useCell } from "../state.js";
import { visible } from "../text.js";
import { now, span } from "../time.js";
import { Time } from "./basics.js";

const outcomes: Record<string, string> = {
  completed: "completed", failed: "failed", released: "handed back", lost: "worker lost", timedOut: "took too long", cancelled: "stopped",
};

export function Timeline({ job }: { job: Status }) {
  const time = useCell(now);
  const rows: { at: string; mark: string; what: ComponentChildren }[] = [{ at: job.createdAt, mark: "", what: "Accepted" }];
  for (const run of job.attempts ?? []) {
    const took = span(Math.max(0, (run.endedAt ? Date.parse(run.endedAt) : time) - Date.parse(run.startedAt)));
    rows.push({
      at: run.startedAt, mark: run.outcome ?? "running",
      what: (
        <>
          <b>Attempt {run.number}</b> {run.outcome ? (outcomes[run.outcome] ?? run.outcome) + " after " : "runs for "}{took}
          <div class="dim">on {visible(run.worker)}</div>
          {run.error && <div class="why"><code>{visible(run.error.code)}</code> {visible(run.error.message ?? "")}</div>}
        </>
      ),
    });
  }
  if (job.cancelRequested && !ended(job.state)) rows.push({ at: job.updatedAt, mark: "cancelled", what: "Asked to stop" });
  if (job.retryAt && !ended(job.state)) rows.push({ at: job.retryAt, mark: "", what: "Next attempt" });
  if (job.finishedAt && ended(job.state)) rows.push({ at: job.finishedAt, mark: job.state, what: <b>{job.state[0]!.toUpperCase() + job.state.slice(1)}</b> });
  return (
    <ol class="timeline">{rows.map((row, i) => (
      <li key={i} class={row.mark}><span class="dim"><Time at={row.at} /></span><div>{row.what}</div></li>
    ))}</ol>
  );
}
