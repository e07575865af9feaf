// One row of the list of jobs: it follows its job while that has not ended.

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { useWatched, type Listed } from "../live.js";
import { ended } from "../permit.js";
import { go } from "../router.js";
import { kept, useCell } from "../state.js";
import { cut, visible } from "../text.js";
import { now, span } from "../time.js";
import { A, Bar, StateMark, Time } from "./basics.js";

interface Column {
  name: string;
  title: string;
  /** Where it is shown: `wide` and `wider` leave on narrow screens. */
  style: string;
  cell(job: Listed): ComponentChildren;
}

const text = (value: string) => visible(cut(value, 300));

export const columns: readonly Column[] = [
  { name: "state", title: "State", style: "c-state", cell: (job) => <StateMark state={job.state} cancelling={job.cancelRequested} /> },
  { name: "job", title: "Job", style: "c-job", cell: (job) => <A to={"jobs/" + job.jobId}><b>{text(job.type)}</b> <code>{job.jobId}</code></A> },
  { name: "progress", title: "Progress", style: "c-progress wide", cell: (job) => <Progress job={job} /> },
  { name: "attempt", title: "Attempt", style: "num wider", cell: (job) => `${job.attempt} of ${job.maxAttempts}` },
  { name: "created", title: "Created", style: "when", cell: (job) => <Time at={job.createdAt} /> },
  { name: "changed", title: "Changed", style: "when wide", cell: (job) => <Time at={job.updatedAt} /> },
  { name: "took", title: "Ran for", style: "num wider", cell: (job) => <Took job={job} /> },
];

const names = columns.map((c) => c.name);

/** The columns that the user does not want. */
export const hiddenColumns = kept<readonly string[]>("hidden-columns", [], (v): v is string[] => Array.isArray(v) && v.every((name) => names.includes(name)));

function Progress({ job }: { job: Listed }) {
  if (job.error && job.state !== "completed") return <span class="why"><code>{text(job.error.code)}</code> {text(job.error.message ?? "")}</span>;
  if (!job.progress || ended(job.state)) return <span class="none">–</span>;
  return <span class="progress"><Bar percent={job.progress.percent} label="Progress" /><span class="why">{text(job.progress.message ?? job.progress.percent + " %")}</span></span>;
}

function Took({ job }: { job: Listed }) {
  const time = useCell(now);
  if (!job.startedAt) return <span class="none">–</span>;
  return <>{span(Math.max(0, (job.finishedAt ? Date.parse(job.finishedAt) : time) - Date.parse(job.startedAt)))}</>;
}

interface Props {
  listed: Listed;
  /** Whether the list does not follow it: the row does so itself. */
  alone: boolean;
  columns: readonly Column[];
  chosen: boolean;
  current: boolean;
  toggle(): void;
  enter(): void;
  latest(job: Listed): void;
}

export function Row({ listed, alone, columns, chosen, current, toggle, enter, latest }: Props) {
  const told = useWatched(alone && !ended(listed.state) ? listed.jobId : undefined);
  const job = told && Date.parse(told.updatedAt) >= Date.parse(listed.updatedAt) ? told : listed;
  useEffect(() => latest(job), [job]);
  const open = (event: MouseEvent) => {
    if ((event.target as HTMLElement).closest("a, input, button, label") || String(getSelection())) return;
    go("jobs/" + job.jobId);
  };
  return (
    <tr class={`${current ? "current" : ""}${chosen ? " chosen" : ""}`} onClick={open} onFocusCapture={enter}>
      <td class="pick"><label><input type="checkbox" checked={chosen} onChange={toggle} aria-label={`Choose ${job.jobId}`} /></label></td>
      {columns.map((c) => <td key={c.name} class={c.style}>{c.cell(job)}</td>)}
    </tr>
  );
}
