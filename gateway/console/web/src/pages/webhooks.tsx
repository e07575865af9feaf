// Webhooks: the endpoints that are held back because they failed.

import { read, session, type Me } from "../api.js";
import { Empty, Fails, Needs, Reading, Time } from "../components/basics.js";
import { Table, type Column } from "../components/Table.js";
import { usePoll } from "../live.js";
import { lacks } from "../permit.js";
import { useCell } from "../state.js";
import { count, cut, visible } from "../text.js";
import type { Workers } from "./workers.js";

interface Paused {
  tenant: string;
  endpoint: string;
  until: string;
  failures: number;
}

const columns: Column<Paused & { worker: string }>[] = [
  { title: "Endpoint", cell: (e) => <b>{visible(cut(e.endpoint, 300))}</b> },
  { title: "Tenant", cell: (e) => visible(cut(e.tenant, 200)) },
  { title: "Failed in a row", style: "num", cell: (e) => count(e.failures) },
  { title: "Tried again", style: "when", cell: (e) => <Time at={e.until} /> },
  { title: "By", style: "wide", cell: (e) => visible(cut(e.worker, 200)) },
];

export function WebhooksPage() {
  const me = (useCell(session) as { me: Me }).me;
  const may = lacks(me, "operate");
  const { data, error } = usePoll<Workers | undefined>("workers", 3000, async (signal) => (may ? undefined : read("/v1/workers", signal)));
  if (may) return <Needs title="Webhooks" why={may} />;
  const paused = (data?.workers ?? []).flatMap((w) => (w.pausedEndpoints ?? []).map((e) => ({ ...e, worker: w.worker })));
  return (
    <div>
      <div class="head"><h1>Webhooks</h1><span class="dim">Endpoints that are not called for a while, since they failed several times in a row.</span></div>
      <Fails error={data ? undefined : error} />
      <Reading on={!data && !error} />
      {paused.length > 0 && <Table rows={paused} id={(e) => `${e.worker} ${e.tenant} ${e.endpoint}`} columns={columns} label="Endpoints that are held back" up="" />}
      {data && !paused.length && <Empty title="No endpoint is held back">Webhooks are delivered to all endpoints that answer.</Empty>}
    </div>
  );
}
