// The page of one job: why it stands where it does, what has happened, what came of it, what can be done.

import type { Attempt, JobFailure, Status } from "ackwire";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { ask, gateway, read, Refused, session, type Me } from "../api.js";
import { A, Bar, Button, Copy, CopyIcon, Empty, Fails, Reading, StateMark, Time } from "../components/basics.js";
import { confirm } from "../components/Confirm.js";
import { Json } from "../components/Json.js";
import { Past } from "../components/Past.js";
import { Payload } from "../components/Payload.js";
import { ResultView } from "../components/Result.js";
import { Streams } from "../components/Streams.js";
import { Timeline } from "../components/Timeline.js";
import { member, nodeOf, parse, type Node } from "../json.js";
import { useKeys } from "../keys.js";
import { usePoll, useWatched } from "../live.js";
import { giveAll } from "../orders.js";
import { ended, forbids, lacks, orders, refuses, type Order } from "../permit.js";
import { back, go } from "../router.js";
import { useCell } from "../state.js";
import { cut, shellWord, visible } from "../text.js";
import { Delivered } from "../components/Deliveries.js";

const words: Record<Order, string> = { cancel: "Cancel", retry: "Retry", erase: "Erase" };

/** A document as it was sent, so that it is shown without loss, and as the page uses it. */
interface Document {
  text: string;
  node: Node;
  job: Status;
}

async function readDocument(id: string, signal: AbortSignal): Promise<Document> {
  const text = await (await ask("/v1/jobs/" + encodeURIComponent(id), { signal })).text();
  return { text, node: parse(text), job: JSON.parse(text) as Status };
}

export function JobPage({ id }: { id: string }) {
  const me = (useCell(session) as { me: Me }).me;
  const watched = useWatched(id);
  const doc = usePoll("job" + id, 10_000, (signal) => readDocument(id, signal));
  const version = watched?.version;
  const state = watched?.state;
  // The socket says that the job has changed; the document itself is read as text.
  const asked = useRef(0);
  useEffect(() => {
    if (version === undefined) return;
    const timer = setTimeout(() => {
      asked.current = Date.now();
      doc.again();
    }, Math.max(0, ended(state!) ? 0 : asked.current + 500 - Date.now()));
    return () => clearTimeout(timer);
  }, [version]);
  useKeys({ Escape: () => back("jobs") });

  if (!doc.data) {
    if (doc.error instanceof Refused && doc.error.status === 404) {
      return <Empty title="No such job"><>There is no job <code>{visible(cut(id, 80))}</code>, it was erased, or your token may not see it. <A to="jobs">All jobs</A></></Empty>;
    }
    return <><Fails error={doc.error} /><Reading on={!doc.error} /></>;
  }
  const newer = watched && Date.parse(watched.updatedAt) > Date.parse(doc.data.job.updatedAt);
  const job = newer ? { ...doc.data.job, ...watched } : doc.data.job;
  const act = (order: Order) => {
    const run = async () => {
      const took = await giveAll(order, [id]);
      if (order === "erase" && took.length) go("jobs", true);
      else doc.again();
    };
    if (order !== "erase") return void run();
    confirm({ text: "Erase this job?", detail: "Its document, payload and result are removed for good. This cannot be undone.", yes: "Erase the job", act: () => void run() });
  };
  return (
    <article class="job">
      <div class="head">
        <div class="title">
          <h1>{visible(job.type)}</h1>
          <StateMark state={job.state} cancelling={job.cancelRequested} />
        </div>
        <div class="row">
          {orders.map((order) => (
            <Button key={order} kind={order === "erase" ? "danger" : ""} off={forbids(me, order) ?? refuses(me, order, job)} onClick={() => act(order)}>{words[order]}</Button>
          ))}
          <Button off={lacks(me, "submit") ?? lacks(me, "payloads") ?? (job.type.startsWith("ackwire.") ? "Jobs of this type cannot be submitted" : undefined)} onClick={() => go(`types/${encodeURIComponent(job.type)}?from=${id}`)}>Edit and run</Button>
        </div>
        <div class="id"><code>{job.jobId}</code><Copy text={job.jobId} label="Copy the ID"><CopyIcon /></Copy></div>
      </div>
      <Why id={id} job={job} />
      {job.progress && !ended(job.state) && <Progress job={job} />}
      <div class="columns">
        <div class="left">
          {job.error && <Failure error={job.error} retrying={job.state === "retrying"} />}
          <Part title="Result"><ResultView id={id} state={job.state} inline={member(doc.data.node, "result")} elsewhere={job.resultUrl !== undefined} /></Part>
          <Part title="Payload"><Payload id={id} me={me} /></Part>
          <Streams id={id} job={job} />
          <Delivered id={id} state={job.state} />
          <details class="part"><summary>Document</summary><Json node={doc.data.node} label="Document" /></details>
        </div>
        <div class="right">
          <Part title="Attempts"><Timeline job={job} /></Part>
          <Part title="Facts"><Facts job={job} /></Part>
          <Part title="Elsewhere"><Commands id={id} /></Part>
        </div>
      </div>
      <Past id={id} job={job} />
    </article>
  );
}

export const Part = ({ title, children }: { title: string; children: ComponentChildren }) => (
  <section class="part"><h2>{title}</h2>{children}</section>
);

/** What the job waits for, as the server says. */
function Why({ id, job }: { id: string; job: Status }) {
  const key = `why${id}${job.state}${job.cancelRequested ?? ""}${job.attempt}`;
  const { data } = usePoll(key, ended(job.state) ? undefined : 3000, (signal) =>
    read<{ detail: string; nextAt?: string; reason: string }>(`/v1/jobs/${encodeURIComponent(id)}/why`, signal));
  const bad = data && ["unserved", "no_workers"].includes(data.reason);
  return (
    <p class={bad ? "why-box bad" : "why-box"} aria-live="polite">
      {data ? visible(data.detail) : " "}{data?.nextAt && <> <Time at={data.nextAt} /></>}
    </p>
  );
}

function Progress({ job }: { job: Status }) {
  const p = job.progress!;
  const data = useMemo(() => (p.data === undefined ? undefined : nodeOf(p.data)), [p]);
  return (
    <section class="part live" aria-label="Progress">
      <div class="progress"><Bar percent={p.percent} label="Progress of the job" /><b>{Math.floor(p.percent)} %</b></div>
      <p class="dim">
        {p.stage && <code>{visible(p.stage)}</code>} {visible(cut(p.message ?? "", 1000))}
        {p.total !== undefined && <> · {p.current ?? 0} of {p.total}</>}
      </p>
      {data && <Json node={data} label="Data of the progress" />}
    </section>
  );
}

const Failure = ({ error, retrying }: { error: JobFailure; retrying: boolean }) => (
  <section class="part failure">
    <h2>{retrying ? "Why the last attempt failed" : "Why it failed"}</h2>
    <p><code>{visible(error.code)}</code>{error.retryable ? <span class="dim"> may go better later</span> : <span class="dim"> would fail again</span>}</p>
    {error.message && <pre tabIndex={0} aria-label="Message of the error"><bdi>{visible(error.message)}</bdi></pre>}
  </section>
);

function Facts({ job }: { job: Status }) {
  const last = job.attempts?.at(-1) as Attempt | undefined;
  return (
    <dl class="facts">
      <dt>Attempt</dt><dd>{job.attempt} of {job.maxAttempts}</dd>
      <dt>Worker</dt><dd>{last ? visible(last.worker) : <span class="none">–</span>}</dd>
      <dt>Created</dt><dd><Time at={job.createdAt} both /></dd>
      {job.runAt && <><dt>Runs at</dt><dd><Time at={job.runAt} both /></dd></>}
      {job.startedAt && <><dt>Started</dt><dd><Time at={job.startedAt} both /></dd></>}
      {job.retryAt && <><dt>Next try</dt><dd><Time at={job.retryAt} both /></dd></>}
      {job.finishedAt && <><dt>Ended</dt><dd><Time at={job.finishedAt} both /></dd></>}
      <dt>Changed</dt><dd><Time at={job.updatedAt} both /></dd>
    </dl>
  );
}

/** The same questions in a terminal. A token is named, never shown. */
function Commands({ id }: { id: string }) {
  const me = (useCell(session) as { me: Me }).me;
  const url = gateway || location.origin;
  const curl = `curl ${me.anonymous ? "" : '-H "Authorization: Bearer $ACKWIRE_TOKEN" '}${shellWord(`${url}/v1/jobs/${id}`)}`;
  const cli = `${url === "http://127.0.0.1:8080" ? "" : `ACKWIRE_URL=${shellWord(url)} `}ackwire get ${id}`;
  return (
    <div class="commands">
      <div><code tabIndex={0}>{curl}</code><Copy text={curl} label="Copy as curl"><CopyIcon /></Copy></div>
      <div><code tabIndex={0}>{cli}</code><Copy text={cli} label="Copy as a command of ackwire"><CopyIcon /></Copy></div>
    </div>
  );
}
