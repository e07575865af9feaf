// The audit trail: who did what to whose job, with which outcome.

import type { AuditPage as Entries, AuditRecord } from "ackwire/operate";
import { useMemo } from "preact/hooks";
import { read, session, type Me } from "../api.js";
import { A, Empty, Fails, Needs, Reading, Time } from "../components/basics.js";
import { Table, type Column } from "../components/Table.js";
import { spans } from "../filter.js";
import { usePoll } from "../live.js";
import { lacks } from "../permit.js";
import { go } from "../router.js";
import { useCell } from "../state.js";
import { useStill } from "../still.js";
import { count, cut, visible } from "../text.js";

/** A record; of a bulk action with what that was to do. */
type Entry = AuditRecord & { bulk?: { action: string; tenant: string; jobs: number } };

const deeds: Record<string, string> = {
  grantMade: "made a grant", cancel: "cancelled", retry: "retried", erase: "erased", payload: "read the payload of", deadRead: "read a dead letter",
  deadRequeue: "requeued a dead letter", bulk: "ordered a bulk action",
};

const text = (value: string) => visible(cut(value, 200));

const columns: Column<Entry>[] = [
  { title: "When", style: "when", cell: (e) => <Time at={e.at} /> },
  { title: "Who", style: "wrap", cell: (e) => <><b>{text(e.subject ?? "without a token")}</b> <span class="dim">· {text(e.tenant)}{e.byGrant && ", by a grant"}</span></> },
  { title: "Did", cell: (e) => <>{text(deeds[e.deed] ?? e.deed)}{e.bulk && <span class="dim">: {text(e.bulk.action)}, {count(e.bulk.jobs)} jobs of {text(e.bulk.tenant)}</span>}</> },
  { title: "To what", cell: (e) => (e.deadLetter ? <A to={"dead/" + encodeURIComponent(e.deadLetter)}>{text(e.deadLetter)}</A>
    : e.jobId ? <A to={"jobs/" + encodeURIComponent(e.jobId)}>{text(e.jobType ?? e.jobId)}</A> : <span class="none">{text(e.grant?.id ?? "–")}</span>) },
  { title: "Whose", style: "wide", cell: (e) => (e.owner ? <>{text(e.owner.subject ?? "without a token")} <span class="dim">· {text(e.owner.tenant)}</span></> : <span class="none">–</span>) },
  { title: "Outcome", cell: (e) => (e.outcome === "ok" ? <span class="condition well">done</span> : <span class="condition bad">{text(e.outcome)}</span>) },
  { title: "Request", style: "wider dim", cell: (e) => <code>{text(e.requestId ?? "–")}</code> },
];

export function AuditPage({ query }: { query: URLSearchParams }) {
  const me = (useCell(session) as { me: Me }).me;
  const may = lacks(me, "operate");
  const since = query.get("since") ?? "";
  const cursor = query.get("cursor");
  const asked = useMemo(() => {
    const search = new URLSearchParams({ limit: "50" });
    if (spans[since]) search.set("since", query.get("at") ?? new Date(Math.floor((Date.now() - spans[since]) / 60_000) * 60_000).toISOString());
    if (cursor) search.set("cursor", cursor);
    return search;
  }, [since, cursor]);
  const key = String(asked);
  const { data, error } = usePoll<Entries | undefined>("audit" + key, cursor ? undefined : 5000, async (signal) => (may ? undefined : read("/v1/audit?" + key, signal)));
  const { rows: known, news, show } = useStill(key, data?.records, (e) => e.id);
  const rows = [...known.values()];
  if (may) return <Needs title="Audit" why={may} />;
  const at = asked.get("since");
  return (
    <div>
      <div class="head"><h1>Audit</h1><span class="dim">Who did what to the jobs of others, the newest first.</span></div>
      <div class="toolbar">
        <label class="field"><span class="sr">Since</span><select value={since} onChange={(event) => go("audit" + (event.currentTarget.value && "?since=" + event.currentTarget.value), true)}>
          <option value="">any time</option>{Object.keys(spans).map((s) => <option key={s} value={s}>last {s}</option>)}
        </select></label>
        <button class={news ? "news" : "news hidden"} onClick={show} tabIndex={news ? 0 : -1} aria-hidden={!news}>↑ {news} new</button>
      </div>
      <Fails error={data ? undefined : error} />
      {rows.length > 0 && <Table rows={rows} id={(e) => e.id} columns={columns} label="Audit" style="cards" up="" />}
      {data?.off && <Empty title="There is no audit trail">The topic <code>audit</code> does not exist: nothing is recorded.</Empty>}
      {data && !data.off && !rows.length && <Empty title="Nothing is recorded">Grants, orders to the jobs of others, erasures and reads of payloads appear here, for 90 days.</Empty>}
      {!!data?.unreadable && <p class="dim">{data.unreadable === 1 ? "1 record" : `${count(data.unreadable)} records`} of this page cannot be read.</p>}
      <Reading on={!data && !error} />
      <div class="pager">
        {cursor && <button onClick={() => go("audit" + (since && "?since=" + since))}>Newest</button>}
        {data?.nextCursor && <button onClick={() => go("audit?" + new URLSearchParams({ ...(since && { since }), ...(at && { at }), cursor: data.nextCursor! }))}>Older</button>}
      </div>
    </div>
  );
}
