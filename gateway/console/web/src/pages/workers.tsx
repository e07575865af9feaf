// Lanes and workers: who takes jobs, what each holds and since when, and which handlers seem to be stuck.

import type { HeldJob, Worker, WorkerLane as Lane, Workers } from "ackwire/operate";
import { lacks } from "../permit.js";
import { read, session, type Me } from "../api.js";
import { A, Bar, Empty, Fails, Needs, Reading, Time } from "../components/basics.js";
import { Table, type Column } from "../components/Table.js";
import { usePoll } from "../live.js";
import { useCell } from "../state.js";
import { count, cut, visible } from "../text.js";
import { now, span } from "../time.js";

type Hold = HeldJob & { worker: string };

const stuckAfter = 120_000; // milliseconds without news of a handler
export const silentAfter = 90_000; // milliseconds without news of a worker

const text = (value: string) => visible(cut(value, 200));

/** Whether a handler has told nothing for long. That it has a worker that lives says nothing of it. */
export const stuck = (h: HeldJob, time: number) => time - Date.parse(h.progressAt ?? h.since) > stuckAfter;

function For({ since }: { since: string }) {
  return <>{span(Math.max(0, useCell(now) - Date.parse(since)))}</>;
}

const lanes: Column<Lane>[] = [
  { title: "Lane", cell: (l) => <A to={"jobs?lane=" + encodeURIComponent(l.lane)}><b>{text(l.lane)}</b></A> },
  { title: "Workers", style: "num wide", cell: (l) => count(l.workers) },
  { title: "Slots in use", style: "num", cell: (l) => <>{count(l.running)} <span class="dim">of {count(l.slots)}</span></> },
  { title: "Backlog", style: "num", cell: (l) => count(l.waiting) },
  { title: "Oldest waits", style: "num wide", cell: (l) => (l.oldestWait ? span(l.oldestWait * 1000) : <span class="none">–</span>) },
  { title: "Condition", cell: (l) => {
    const [mark, what] = l.workers ? (l.waiting ? ["busy", l.slots && l.running >= l.slots ? "all slots are taken" : "has a backlog"] : ["well", "keeps up"])
      : l.waiting ? ["bad", "no workers"] : ["idle", "no workers, nothing waits"];
    return <span class={"condition " + mark}>{what}</span>;
  } },
];

const workers: Column<Worker>[] = [
  { title: "Worker", cell: (w) => <b>{text(w.worker)}</b> },
  { title: "Lanes and slots", style: "wide", cell: (w) => (w.lanes.length ? w.lanes.map((l) => `${text(l.lane)} ${l.slots}${l.yielded ? " (left to others)" : ""}`).join(", ") : <span class="none">not announced</span>) },
  { title: "Runs", style: "num wide", cell: (w) => count(w.running) },
  { title: "Version", style: "wider", cell: (w) => (w.version ? text(w.version) : <span class="none">–</span>) },
  { title: "Up for", style: "num wider", cell: (w) => (w.startedAt ? <For since={w.startedAt} /> : <span class="none">–</span>) },
  { title: "Heard of", style: "when wide", cell: (w) => <Time at={w.seenAt} /> },
  { title: "Condition", cell: (w) => <Condition worker={w} /> },
];

function Condition({ worker: w }: { worker: Worker }) {
  const time = useCell(now);
  const paused = w.pausedEndpoints?.length ?? 0;
  const [mark, what] = time - Date.parse(w.seenAt) > silentAfter ? ["bad", "silent"]
    : w.draining ? ["busy", "ends when its jobs have"]
    : paused ? ["busy", `pauses ${paused === 1 ? "1 endpoint" : paused + " endpoints"}`] : w.running ? ["well", "works"] : ["idle", "waits for jobs"];
  return <span class={"condition " + mark}>{what}</span>;
}

const holds: Column<Hold>[] = [
  { title: "Job", cell: (h) => <A to={"jobs/" + encodeURIComponent(h.jobId)}><b>{text(h.type)}</b></A> },
  { title: "Tenant", style: "wide", cell: (h) => <A to={"jobs?state=processing&tenant=" + encodeURIComponent(h.tenant)}>{text(h.tenant)}</A> },
  { title: "Lane", style: "wider", cell: (h) => text(h.lane) },
  { title: "Worker", style: "wide", cell: (h) => text(h.worker) },
  { title: "Progress", style: "wide", cell: (h) => (h.percent === undefined ? <span class="none">none</span> : <span class="progress"><Bar percent={h.percent} label="Progress" /><span class="why">{text(h.stage ?? Math.floor(h.percent) + " %")}</span></span>) },
  { title: "Held for", style: "num wide", cell: (h) => <For since={h.since} /> },
  { title: "Handler", cell: (h) => <Handler hold={h} /> },
];

function Handler({ hold }: { hold: Hold }) {
  const time = useCell(now);
  const silent = span(Math.max(0, time - Date.parse(hold.progressAt ?? hold.since)));
  return stuck(hold, time) ? <span class="condition bad">no news for {silent}</span> : <span class="condition well">reported {silent} ago</span>;
}

export function WorkersPage() {
  const me = (useCell(session) as { me: Me }).me;
  const may = lacks(me, "operate");
  const time = useCell(now);
  const { data, error } = usePoll<Workers | undefined>("workers", 3000, async (signal) => (may ? undefined : read("/v1/workers", signal)));
  if (may) return <Needs title="Lanes and workers" why={may} />;
  const held = (data?.workers ?? []).flatMap((w) => w.holds.map((h) => ({ ...h, worker: w.worker }))).sort((a, b) => Date.parse(a.since) - Date.parse(b.since));
  const bad = held.filter((h) => stuck(h, time)).length;
  const tenants = new Map<string, number>();
  for (const h of held) tenants.set(h.tenant, (tenants.get(h.tenant) ?? 0) + 1);
  const top = [...tenants].sort((a, b) => b[1] - a[1]).slice(0, 5);
  return (
    <div class="overview">
      <div class="head"><h1>Lanes and workers</h1><span class="dim">{data ? <>as of <Time at={data.asOf} />{data.truncated && ", not all of them"}</> : " "}</span></div>
      <Fails error={data ? undefined : error} />
      <Reading on={!data && !error} />
      {data && <>
        <section><h2>Lanes</h2>{data.lanes.length ? <Table rows={data.lanes} id={(l) => l.lane} columns={lanes} label="Lanes" up="" /> : <p class="dim">There are none yet.</p>}</section>
        <section><h2>Workers</h2>{data.workers.length ? <Table rows={data.workers} id={(w) => w.worker} columns={workers} label="Workers" up="" /> : <Empty title="No workers">No worker has been heard of within the last two minutes. Jobs wait until one comes.</Empty>}</section>
        <section><h2>Jobs that are held for longest{bad > 0 && <span class="error"> · {bad} may be stuck</span>}</h2>
          {top.length > 1 && <p class="dim">Most by tenant: {top.map(([tenant, n]) => `${text(tenant)} ${n}`).join(", ")}</p>}
          {held.length ? <Table rows={held.slice(0, 200)} id={(h) => h.jobId} columns={holds} label="Jobs that are held" to={(h) => "jobs/" + encodeURIComponent(h.jobId)} up="" /> : <p class="dim">No job runs.</p>}
        </section>
      </>}
    </div>
  );
}
