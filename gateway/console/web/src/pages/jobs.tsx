// The list of jobs: filters in the URL, rows that follow their jobs and do not move, orders to those that are chosen.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { session, type Me } from "../api.js";
import { orderAll } from "../bulk.js";
import { Button, Empty, Fails, Reading } from "../components/basics.js";
import { confirm } from "../components/Confirm.js";
import { Filters } from "../components/Filters.js";
import { columns, hiddenColumns, Row } from "../components/Row.js";
import { changed, request, spans } from "../filter.js";
import { useKeys, walk } from "../keys.js";
import { useList } from "../live.js";
import { giveAll } from "../orders.js";
import { forbids, orders, refuses, type Order } from "../permit.js";
import { back, go, up } from "../router.js";
import { useCell } from "../state.js";
import { useStill } from "../still.js";

const words: Record<Order, string> = { cancel: "Cancel", retry: "Retry", erase: "Erase" };

export function JobsPage({ query }: { query: URLSearchParams }) {
  const me = (useCell(session) as { me: Me }).me;
  const text = query.toString();
  const asked = useMemo(() => request(query, Date.now()), [text]);
  const { data, error, again, live } = useList(asked);
  const hidden = useCell(hiddenColumns);

  // The rows stand still: what is new waits until it is asked for, what left the filter stays until then.
  const erased = useRef(new Set<string>());
  const here = new Set(live ? data?.jobs.map((job) => job.jobId) : []); // the rows that the list itself follows
  const still = useStill(asked, data?.jobs.filter((job) => !erased.current.has(job.jobId)), (job) => job.jobId);
  const known = still.rows;
  const ids = [...known.keys()];
  const news = query.has("cursor") ? 0 : still.news;
  const fresh = still.show;

  const [chosen, choose] = useState<ReadonlySet<string>>(new Set());
  const [at, move] = useState(-1);
  useEffect(() => {
    choose(new Set());
    move(-1);
  }, [asked]);
  const [matching, match] = useState("");
  const all = matching === asked; // orders are for all jobs that match, not only for those that are shown
  const picked = ids.filter((id) => chosen.has(id));
  const toggle = (id: string) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    choose(next);
  };
  useKeys({
    j: () => walk(1), k: () => walk(-1), n: () => news && fresh(),
    x: () => ids[at] !== undefined && toggle(ids[at]!),
    Enter: () => ids[at] !== undefined && go("jobs/" + ids[at]),
    Escape: () => (all ? match("") : picked.length ? choose(new Set()) : ids.length ? back("") : up()),
  });

  const order = async (what: Order) => {
    const took = await giveAll(what, picked.filter((id) => !refuses(me, what, known.get(id)!)));
    if (what === "erase") took.forEach((id) => erased.current.add(id) && known.delete(id));
    choose(new Set());
    again();
  };
  const why = (what: Order): string | undefined => {
    const forbidden = forbids(me, what);
    if (forbidden) return forbidden;
    const first = picked.map((id) => refuses(me, what, known.get(id)!));
    return first.every((reason) => reason) ? first[0] : undefined;
  };
  const ask = (what: Order) => {
    const detail = what === "erase" ? "Their documents, payloads and results are removed for good. This cannot be undone."
      : what === "cancel" ? "Workers that run them are told to stop." : "They run again from their beginning, with the payload they have.";
    if (all) return void orderAll(what, asked, { verb: words[what], detail });
    const n = picked.filter((id) => !refuses(me, what, known.get(id)!)).length;
    const jobs = n === 1 ? "1 job" : `${n} jobs`;
    confirm({ text: `${words[what]} ${jobs}?`, detail, yes: `${words[what]} ${jobs}`, act: () => void order(what) });
  };
  const shown = columns.filter((c) => !hidden.includes(c.name));
  const older = data?.nextCursor;
  const filter = { ...(spans[query.get("since") ?? ""] && { at: new URLSearchParams(asked).get("createdAfter") ?? "" }) };

  return (
    <div class="jobs">
      <Filters query={query} />
      <div class="toolbar" role="toolbar" aria-label="Chosen jobs">
        <span class="dim" aria-live="polite">{all ? "All that match" : picked.length ? `${picked.length} chosen` : ids.length ? `${ids.length} jobs${older ? " of more" : ""}` : " "}</span>
        {orders.map((what) => (
          <Button key={what} kind={what === "erase" ? "danger" : ""} off={forbids(me, what) ?? (all ? undefined : picked.length ? why(what) : "Choose jobs first")} onClick={() => ask(what)}>{words[what]}</Button>
        ))}
        {ids.length > 0 && <button class="chip" aria-pressed={all} onClick={() => match(all ? "" : asked)} title="Orders are for all jobs that match the filter, on all pages">All that match</button>}
        <button class={news ? "news" : "news hidden"} onClick={fresh} tabIndex={news ? 0 : -1} aria-hidden={!news}>↑ {news} new</button>
      </div>
      <Fails error={data ? undefined : error} />
      {ids.length > 0 && (
        <div class="scroll"><table class="list">
          <thead><tr>
            <th class="pick"><input type="checkbox" aria-label="Choose all jobs of this page" checked={picked.length === ids.length}
              onChange={() => choose(picked.length === ids.length ? new Set() : new Set(ids))} /></th>
            {shown.map((c) => <th key={c.name} scope="col" class={c.style}>{c.title}</th>)}
          </tr></thead>
          <tbody>{ids.map((id, i) => (
            <Row key={id} listed={known.get(id)!} columns={shown} chosen={chosen.has(id)} current={i === at}
              toggle={() => toggle(id)} enter={() => move(i)} alone={!here.has(id)} latest={(job) => known.set(id, job)} />
          ))}</tbody>
        </table></div>
      )}
      {data && !ids.length && (query.toString()
        ? <Empty title="No job matches">{older ? "Not on this page: older pages may have some." : "Widen the filter, or wait: jobs that match appear by themselves."}</Empty>
        : <Empty title="No jobs yet">Submit one with <code>ackwire submit demo.echo '"hello"'</code>, and it appears here.</Empty>)}
      <Reading on={!data && !error} />
      <div class="pager">
        {query.has("cursor") && <button onClick={() => go(changed(query, {}))}>Newest</button>}
        {older && <button onClick={() => go(changed(query, { ...filter, cursor: older }))}>Older</button>}
      </div>
    </div>
  );
}
