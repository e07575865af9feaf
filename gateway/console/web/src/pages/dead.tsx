// Dead letters: records that a service could not read. Each can be looked at, and tried again once its cause is mended.

import type { DeadLetter, DeadPage as Letters, DeadRecord, Requeued } from "ackwire/operate";
import { read, Refused, send, session, told, type Me } from "../api.js";
import { A, Button, Empty, Fails, Needs, Reading, Time } from "../components/basics.js";
import { Bytes } from "../components/Bytes.js";
import { confirm } from "../components/Confirm.js";
import { Table, useChoice, type Column } from "../components/Table.js";
import { notify } from "../components/Toasts.js";
import { useKeys } from "../keys.js";
import { usePoll } from "../live.js";
import { lacks } from "../permit.js";
import { back, go } from "../router.js";
import { useCell } from "../state.js";
import { useStill } from "../still.js";
import { bytes, cut, visible } from "../text.js";
import { Part } from "./job.js";

const path = (id: string) => "/v1/dead/" + encodeURIComponent(id);

/** Says what is done when a letter is requeued. */
const means = "A job whose request it is gets a new request, which costs no attempt. Any other record is written to its topic again. If the cause is still there, a new letter comes; this one stays in the list.";

/** Tries letters again, one after the other, and says what came of it. */
async function requeueAll(letters: readonly DeadLetter[]): Promise<void> {
  const done = { dispatched: 0, written: 0 };
  const failed = new Map<string, number>();
  for (const { id } of letters) {
    try {
      done[(await send<Requeued>(path(id) + "/requeue")).outcome]++;
    } catch (error) {
      failed.set(told(error), (failed.get(told(error)) ?? 0) + 1);
    }
  }
  const of = (n: number, one: string) => (n === 1 ? "1 " + one : `${n} ${one}s`);
  const parts = [
    ...(done.dispatched ? [`${of(done.dispatched, "job")} got a new request`] : []),
    ...(done.written ? [`${of(done.written, "record")} ${done.written === 1 ? "is" : "are"} in ${done.written === 1 ? "its" : "their"} topic again`] : []),
    ...[...failed].map(([why, n]) => (letters.length === 1 ? why : `${of(n, "letter")} not: ${why}`)),
  ];
  notify(parts.join(". ") + ".", failed.size > 0);
}

const columns: Column<DeadLetter>[] = [
  { title: "Reason", style: "c-reason", cell: (l) => <A to={"dead/" + l.id}>{visible(cut(l.reason, 80))}</A> },
  { title: "What was wrong", style: "why", cell: (l) => visible(cut(l.detail, 300)) },
  { title: "Where it lay", style: "dim c-from wide", cell: (l) => visible(cut(`${l.topic} ${l.partition}/${l.offset}`, 200)) },
  { title: "Size", style: "num wider", cell: (l) => bytes(l.bytes) },
  { title: "Set aside", style: "when", cell: (l) => <Time at={l.at} /> },
];

export function DeadPage({ query }: { query: URLSearchParams }) {
  const me = (useCell(session) as { me: Me }).me;
  const cursor = query.get("cursor");
  const search = cursor ? "?cursor=" + encodeURIComponent(cursor) : "";
  const may = lacks(me, "operate");
  const { data, error, again } = usePoll<Letters | undefined>("dead" + search, 5000, async (signal) => (may ? undefined : read("/v1/dead" + search, signal)));
  const { rows: known, news, show } = useStill(search, data?.letters, (l) => l.id);
  const rows = [...known.values()];
  const choice = useChoice(search);
  const picked = rows.filter((l) => choice.ids.has(l.id));
  if (may) return <Needs title="Dead letters" why={may} />;
  const requeue = () => confirm({
    text: `Requeue ${picked.length === 1 ? "1 dead letter" : picked.length + " dead letters"}?`, detail: means, yes: "Requeue",
    act: () => void requeueAll(picked).then(() => { choice.set(new Set()); again(); }),
  });
  return (
    <div>
      <div class="head"><h1>Dead letters</h1><span class="dim">Records that a service could not read and has set aside, the newest first.</span></div>
      <div class="toolbar" role="toolbar" aria-label="Chosen dead letters">
        <span class="dim" aria-live="polite">{picked.length ? `${picked.length} chosen` : rows.length ? `${rows.length} letters${data?.nextCursor ? " of more" : ""}` : " "}</span>
        <Button off={picked.length ? undefined : "Choose dead letters first"} onClick={requeue}>Requeue</Button>
        <button class={news ? "news" : "news hidden"} onClick={show} tabIndex={news ? 0 : -1} aria-hidden={!news}>↑ {news} new</button>
      </div>
      <Fails error={data ? undefined : error} />
      {rows.length > 0 && <Table rows={rows} id={(l) => l.id} columns={columns} label="Dead letters" style="list dead" what="dead letter" choice={choice} to={(l) => "dead/" + l.id} up="" />}
      {data && !rows.length && <Empty title={cursor ? "No more dead letters" : "No dead letters"}>Every record that a service has read so far could be read.</Empty>}
      <Reading on={!data && !error} />
      <div class="pager">
        {cursor && <button onClick={() => go("dead")}>Newest</button>}
        {data?.nextCursor && <button onClick={() => go("dead?cursor=" + encodeURIComponent(data.nextCursor!))}>Older</button>}
      </div>
    </div>
  );
}

export function LetterPage({ id }: { id: string }) {
  const me = (useCell(session) as { me: Me }).me;
  const may = lacks(me, "operate");
  const { data, error } = usePoll<DeadRecord | undefined>("dead/" + id, undefined, async (signal) => (may ? undefined : read(path(id), signal)));
  useKeys({ Escape: () => back("dead") });
  if (may) return <Needs title="Dead letter" why={may} />;
  if (error instanceof Refused && (error.status === 404 || error.status === 400)) {
    return <Empty title="No such dead letter"><>There is none with the ID <code>{visible(cut(id, 80))}</code>, or it is not kept any more. <A to="dead">All dead letters</A></></Empty>;
  }
  if (!data) return <><Fails error={error} /><Reading on={!error} /></>;
  const requeue = () => confirm({ text: "Requeue this dead letter?", detail: means, yes: "Requeue", act: () => void requeueAll([data]) });
  const withheld = <p class="dim">Withheld: it needs the permission “payloads” beside “operate”.</p>;
  return (
    <article class="job">
      <div class="head">
        <div class="title"><h1>{visible(cut(data.reason, 200))}</h1><span class="dim">dead letter {visible(data.id)}</span></div>
        <div class="row"><Button off={undefined} onClick={requeue}>Requeue</Button></div>
      </div>
      <p class="why-box bad pre">{visible(cut(data.detail, 5000))}</p>
      <div class="columns">
        <div class="left">
          <Part title="Value">{data.withheld ? withheld : data.value ? <Bytes value={data.value} label="Value" /> : <p class="dim">It has none.</p>}</Part>
          <Part title="Headers">{data.withheld ? withheld : !data.headers?.length ? <p class="dim">It has none.</p> : data.headers.map((h, i) => (
            <details key={i} class="header"><summary><code>{visible(cut(h.name, 200))}</code> <span class="dim">{h.text !== undefined ? visible(cut(h.text, 100)) : "bytes"}</span></summary><Bytes value={h} label={"Header " + h.name} /></details>
          ))}</Part>
        </div>
        <div class="right">
          <Part title="Facts">
            <dl class="facts">
              <dt>Set aside</dt><dd><Time at={data.at} both /></dd>
              <dt>By</dt><dd>{visible(data.by)}</dd>
              <dt>Topic</dt><dd>{visible(data.topic)}</dd>
              <dt>Partition</dt><dd>{visible(data.partition)}</dd>
              <dt>Offset</dt><dd>{visible(data.offset)}</dd>
              <dt>Job</dt><dd>{data.jobId ? <A to={"jobs/" + encodeURIComponent(data.jobId)}><code>{visible(cut(data.jobId, 80))}</code></A> : <span class="none">it names none</span>}</dd>
              <dt>What it is</dt><dd>{data.request ? "The request of that job" : "Another record"}</dd>
              <dt>Size</dt><dd>{bytes(data.bytes)}</dd>
            </dl>
          </Part>
          <Part title="Key">{data.withheld ? withheld : data.key ? <Bytes value={data.key} label="Key" /> : <p class="dim">It has none.</p>}</Part>
        </div>
      </div>
    </article>
  );
}
