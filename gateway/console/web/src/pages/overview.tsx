// The page of counts: how many jobs stand where, what each lane has to do, what failed last.

import type { State, Status } from "ackwire";
import { read, session, told, type Me } from "../api.js";
import { A, Empty, StateMark, Time, useLate } from "../components/basics.js";
import { Hour } from "../components/Hour.js";
import { usePoll } from "../live.js";
import { go } from "../router.js";
import { useCell } from "../state.js";
import { count, visible } from "../text.js";
import { Fires, useSigns, Versions } from "../components/Fires.js";
import { now, span } from "../time.js";
import { TenantField } from "../components/Tenant.js";

export interface Stats {
  counts: { type: string; lane: string; state: State; jobs: number }[];
  lanes: { lane: string; workers: number; waiting: number; oldestSince?: string }[];
  asOf: string;
}

export const states: readonly State[] = ["pending", "scheduled", "queued", "processing", "retrying", "completed", "failed", "cancelled"];
const columns = states.filter((s) => s !== "queued");

const every = 2000; // milliseconds
const webhook = "ackwire.webhook"; // lists have webhooks only if they name this type

const link = (tenant: string, filter: Record<string, string>) =>
  "jobs?" + new URLSearchParams({ ...filter, ...(tenant && { tenant }) }).toString();

export function Overview({ query }: { query: URLSearchParams }) {
  const me = (useCell(session) as { me: Me }).me;
  const tenant = query.get("tenant") ?? "";
  const search = tenant ? "?tenant=" + encodeURIComponent(tenant) : "";
  const { data, error } = usePoll("stats" + search, every, (signal) => read<Stats>("/v1/stats" + search, signal));
  const failures = usePoll("failed" + search, 5000, (signal) =>
    read<{ jobs: Status[] }>(`/v1/jobs?state=failed&limit=8${tenant && "&tenant=" + encodeURIComponent(tenant)}`, signal));
  const late = useLate(!data && !error);
  // As in the lists to which they lead, webhooks do not count.
  const total = (state: State) => (data?.counts ?? []).reduce((n, c) => n + (c.state === state && c.type !== webhook ? c.jobs : 0), 0);
  const may = (permission: string) => me.permissions.includes(permission);
  const exact = may("operate");
  const signs = useSigns(exact);
  return (
    <div class="overview">
      <div class="head">
        <h1>Overview</h1>
        <span class="dim">{data ? <>as of <Time at={data.asOf} /></> : late ? "reading…" : ""}</span>
        <TenantField value={tenant} set={(t) => go(t ? "?tenant=" + encodeURIComponent(t) : "", true)} />
      </div>
      {error !== undefined && !data && <p class="banner bad" role="alert">{visible(told(error))}. The page tries again by itself.</p>}
      <ul class="tiles" aria-label="Jobs by state">
        {columns.map((state) => (
          <li key={state}><A to={link(tenant, { state })} class={`tile ${state}`}>
            <StateMark state={state} /><b>{data ? count(total(state)) : " "}</b>
          </A></li>
        ))}
      </ul>
      {data && (!exact || signs.data || signs.error) && <><Fires stats={data} data={signs.data} />{may("read:tenant") && <Hour tenant={tenant} />}<section>
        <h2>Lanes</h2>
        <div class="scroll" tabIndex={0} role="group" aria-label="Lanes"><table>
          <thead><tr><th scope="col">Lane</th><th scope="col" class="num">Workers</th><th scope="col" class="num">Backlog</th><th scope="col" class="num wide">Oldest waits</th><th scope="col" class="num">Running</th><th scope="col" class="num wide">Retrying</th><th scope="col">Condition</th></tr></thead>
          <tbody>{data.lanes.map((lane) => <Lane key={lane.lane} lane={lane} stats={data} tenant={tenant} exact={exact} />)}</tbody>
        </table></div>
        {!exact && <p class="dim">Workers and backlog are of all tenants; without the permission “operate” they are magnitudes.</p>}
      </section>
      <section>
        <h2>Job types</h2>
        {data.counts.length === 0
          ? <Empty title="No jobs yet">Submit one with <code>ackwire submit TYPE PAYLOAD</code>, and it appears here.</Empty>
          : <Types counts={data.counts} tenant={tenant} />}
      </section>
      <section>
        <h2>Failed last</h2>
        <Failures jobs={failures.data?.jobs} />
      </section><Versions data={signs.data} /></>}
    </div>
  );
}

function Lane({ lane, stats, tenant, exact }: { lane: Stats["lanes"][number]; stats: Stats; tenant: string; exact: boolean }) {
  const of = (state: State) => stats.counts.reduce((n, c) => n + (c.lane === lane.lane && c.state === state ? c.jobs : 0), 0);
  const time = useCell(now);
  const about = exact || lane.waiting === 0 ? "" : "≥ ";
  const [mark, what] = lane.workers ? (lane.waiting ? ["busy", "has a backlog"] : ["well", "keeps up"])
    : lane.waiting ? ["bad", "no workers"] : ["idle", "no workers, nothing waits"];
  return (
    <tr>
      <th scope="row"><A to={link(tenant, { lane: lane.lane, ...(lane.lane === "webhooks" && { type: webhook }) })}>{lane.lane}</A></th>
      <td class="num">{count(lane.workers)}</td>
      <td class="num">{about}{count(lane.waiting)}</td>
      <td class="num wide">{lane.oldestSince ? about + span(Math.max(0, time - Date.parse(lane.oldestSince))) : "–"}</td>
      <td class="num">{count(of("processing"))}</td>
      <td class="num wide">{count(of("retrying"))}</td>
      <td><span class={`condition ${mark}`}>{what}</span></td>
    </tr>
  );
}

function Types({ counts, tenant }: { counts: Stats["counts"]; tenant: string }) {
  const types = [...new Set(counts.map((c) => c.type))].sort();
  const of = (type: string, state: State) => counts.reduce((n, c) => n + (c.type === type && c.state === state ? c.jobs : 0), 0);
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="Job types"><table>
      <thead><tr><th scope="col">Type</th>{columns.map((s) => <th key={s} scope="col" class="num">{s}</th>)}</tr></thead>
      <tbody>{types.map((type) => (
        <tr key={type}>
          <th scope="row"><A to={link(tenant, { type })}>{visible(type)}</A></th>
          {columns.map((state) => {
            const n = of(type, state);
            return <td key={state} class="num">{n ? <A to={link(tenant, { type, state })}>{count(n)}</A> : <span class="none">0</span>}</td>;
          })}
        </tr>
      ))}</tbody>
    </table></div>
  );
}

function Failures({ jobs }: { jobs: Status[] | undefined }) {
  if (!jobs) return <p class="dim"> </p>;
  if (!jobs.length) return <p class="dim">Nothing has failed.</p>;
  return (
    <ul class="failures">{jobs.map((job) => (
      <li key={job.jobId}>
        <A to={"jobs/" + job.jobId}>{visible(job.type)}</A>
        <span class="why"><code>{visible(job.error?.code ?? "")}</code> {visible(job.error?.message ?? "")}</span>
        <span class="dim"><Time at={job.finishedAt ?? job.updatedAt} /></span>
      </li>
    ))}</ul>
  );
}
