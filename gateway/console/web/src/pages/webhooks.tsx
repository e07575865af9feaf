// Webhooks: endpoints that are held back because they failed, and what could not be delivered, to be sent again.

import type { WebhookEndpoint as Endpoint, Webhooks } from "ackwire/operate";
import { useMemo } from "preact/hooks";
import { read, session, type Me } from "../api.js";
import { A, Button, Empty, Fails, Needs, Reading, Time } from "../components/basics.js";
import { confirm } from "../components/Confirm.js";
import { Table, useChoice, type Column } from "../components/Table.js";
import { TenantField } from "../components/Tenant.js";
import { orderAll } from "../bulk.js";
import { changed, spans } from "../filter.js";
import { usePoll } from "../live.js";
import { giveAll } from "../orders.js";
import { forbids, lacks } from "../permit.js";
import { go } from "../router.js";
import { useCell } from "../state.js";
import { count, cut, visible } from "../text.js";

const text = (value: string) => visible(cut(value, 300));
const none = <span class="none">–</span>;

const columns: Column<Endpoint>[] = [
  { title: "Endpoint", style: "wrap", cell: (e) => (e.endpoint ? <b>{text(e.endpoint)}</b> : <span class="none">not kept any more</span>) },
  { title: "Tenant", style: "wide", cell: (e) => text(e.tenant) },
  { title: "Condition", style: "wrap", cell: (e) => (e.pausedUntil
    ? <span class="condition bad" title={`by ${e.pausedBy?.map(visible).join(", ")}`}>paused, {count(e.failures ?? 0)} failures in a row; tried again <Time at={e.pausedUntil} /></span>
    : <span class="condition idle">not paused</span>) },
  { title: "Not delivered", style: "num", cell: (e) => (e.failed
    ? <A to={"jobs?" + new URLSearchParams({ type: "ackwire.webhook", state: "failed", tenant: e.tenant })}>{e.failed === 1 ? "1 webhook" : `${count(e.failed)} webhooks`}</A> : none) },
  { title: "Last error", style: "why wider", cell: (e) => (e.lastError && e.jobs?.[0]
    ? <A to={"jobs/" + e.jobs[0]}><code>{text(e.lastError.code)}</code> {text(e.lastError.message ?? "")}</A> : none) },
  { title: "Last", style: "when wide", cell: (e) => <Time at={e.lastAt} /> },
];

const again = "Each is a job of its own, which runs again: the endpoint gets it once more, with the same ID.";

export function WebhooksPage({ query }: { query: URLSearchParams }) {
  const me = (useCell(session) as { me: Me }).me;
  const may = lacks(me, "operate");
  const since = query.get("since") ?? "24h";
  const tenant = query.get("tenant") ?? "";
  const asked = useMemo(() => {
    const from = new Date(Math.floor((Date.now() - (spans[since] ?? 86_400_000)) / 60_000) * 60_000).toISOString();
    return new URLSearchParams({ since: from, ...(tenant && { tenant }) });
  }, [since, tenant]);
  const key = String(asked);
  const { data, error, again: look } = usePoll<Webhooks | undefined>("webhooks" + key, 5000, async (signal) => (may ? undefined : read("/v1/webhooks?" + key, signal)));
  const choice = useChoice(key);
  if (may) return <Needs title="Webhooks" why={may} />;
  const idOf = (e: Endpoint) => `${e.endpoint} of ${e.tenant}`;
  const picked = data?.endpoints.filter((e) => choice.ids.has(idOf(e))) ?? [];
  const jobs = picked.flatMap((e) => e.jobs ?? []);
  const set = (changes: Record<string, string>) => go("webhooks" + changed(query, changes).slice("jobs".length), true);
  const send = () => confirm({
    text: `Send ${jobs.length === 1 ? "1 webhook" : jobs.length + " webhooks"} again?`, detail: again, yes: "Send again",
    act: () => void giveAll("retry", jobs).then(() => { choice.set(new Set()); look(); }),
  });
  const all = { type: "ackwire.webhook", state: "failed", createdAfter: asked.get("since")!, ...(tenant && { tenant }) };
  return (
    <div>
      <div class="head"><h1>Webhooks</h1><span class="dim">Endpoints that are paused since they failed, and those to which webhooks could not be delivered.</span></div>
      <div class="toolbar wrap">
        <label class="field"><span>Failed within the last</span><select value={since} onChange={(event) => set({ since: event.currentTarget.value })}>
          {Object.keys(spans).map((s) => <option key={s} value={s}>{s}</option>)}
        </select></label>
        <TenantField value={tenant} set={(t) => set({ tenant: t })} />
        <Button off={forbids(me, "retry") ?? (jobs.length ? undefined : "Choose endpoints with webhooks that were not delivered first")} onClick={send}>Send again</Button>
        <Button off={forbids(me, "retry")} onClick={() => void orderAll("retry", String(new URLSearchParams(all)), { verb: "Send again", detail: again })}>Send all since then again</Button>
      </div>
      <Fails error={data ? undefined : error} />
      <Reading on={!data && !error} />
      {data && data.endpoints.length > 0 && <Table rows={data.endpoints} id={idOf} columns={columns} label="Endpoints" style="cards" what="endpoint" choice={choice} up="" />}
      {data?.truncated && <p class="dim">There are more. Name a tenant, or a shorter time.</p>}
      {data && !data.endpoints.length && <Empty title="No endpoint is paused">And no webhook has failed for good within this time.</Empty>}
    </div>
  );
}
