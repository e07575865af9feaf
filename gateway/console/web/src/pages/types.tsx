// Job types: the rules of each, and a form to submit a job.

import type { TypeOfJob } from "ackwire/operate";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ask, read, Refused, send, session, told, type Me } from "../api.js";
import { A, Button, Empty, Fails, Reading } from "../components/basics.js";
import { Field, sound } from "../components/Form.js";
import { Json } from "../components/Json.js";
import { Table, type Column } from "../components/Table.js";
import { nodeOf, parse, write, type Node } from "../json.js";
import { useKeys } from "../keys.js";
import { usePoll } from "../live.js";
import { lacks } from "../permit.js";
import { back, go } from "../router.js";
import { blank, fits, placed, shapeOf, type Wrong } from "../schema.js";
import { useCell } from "../state.js";
import { bytes, cut, visible } from "../text.js";
import { span } from "../time.js";
import { Part } from "./job.js";

const useTypes = () => usePoll("types", undefined, async (signal) => (await read<{ jobTypes: TypeOfJob[] }>("/v1/job-types", signal)).jobTypes);

const seconds = (n: number | undefined) => (n ? span(n * 1000) : "–");

const page = (t: TypeOfJob) => "types/" + encodeURIComponent(t.type);

const columns: Column<TypeOfJob>[] = [
  { title: "Type", cell: (t) => <A to={page(t)}><b>{visible(t.type)}</b></A> },
  { title: "Lane", cell: (t) => <A to={"jobs?lane=" + encodeURIComponent(t.lane)}>{visible(t.lane)}</A> },
  { title: "Attempts", style: "num", cell: (t) => t.policy.attempts },
  { title: "Timeout", style: "num wide", cell: (t) => seconds(t.policy.timeout) },
  { title: "Lease", style: "num wide", cell: (t) => seconds(t.policy.lease) },
  { title: "Kept for", style: "num wide", cell: (t) => seconds(t.policy.retention) },
  { title: "Payload up to", style: "num wide", cell: (t) => bytes(t.maxPayload) },
  { title: "Checked", style: "wide", cell: (t) => (t.payloadSchema ? "by a schema" : <span class="none">no</span>) },
];

export function TypesPage() {
  const { data, error } = useTypes();
  return (
    <div>
      <div class="head"><h1>Job types</h1><span class="dim">What may be submitted, and the rules that each job is given.</span></div>
      <Fails error={data ? undefined : error} />
      {data && data.length > 0 && <Table rows={data} id={(t) => t.type} columns={columns} label="Job types" to={page} up="" />}
      {data?.length === 0 && <Empty title="No job types">The gateway has no file of job types, or your token may submit none. See <code>--job-types</code>.</Empty>}
      <Reading on={!data && !error} />
    </div>
  );
}

export function TypePage({ name, query }: { name: string; query: URLSearchParams }) {
  const { data, error } = useTypes();
  const from = query.get("from");
  useKeys({ Escape: () => back("types") });
  if (!data) return <><Fails error={error} /><Reading on={!error} /></>;
  const type = data.find((t) => t.type === name);
  if (!type && !from) return <Empty title="No such job type"><>There is no job type <code>{visible(cut(name, 80))}</code>, or your token may not submit it. <A to="types">All job types</A></></Empty>;
  return (
    <article class="job">
      <div class="head"><div class="title"><h1>{visible(name)}</h1><span class="dim">job type</span></div>
        <A to={"jobs?type=" + encodeURIComponent(name)}>Its jobs</A></div>
      <div class="columns">
        <div class="left"><Submit name={name} type={type} from={from} /></div>
        <div class="right">
          {type && <Part title="Rules"><Rules type={type} /></Part>}
          {type?.payloadSchema !== undefined && <details class="part"><summary>Schema of payloads</summary><Json node={nodeOf(type.payloadSchema)} label="Schema of payloads" /></details>}
          {type?.resultSchema !== undefined && <details class="part"><summary>Schema of results</summary><Json node={nodeOf(type.resultSchema)} label="Schema of results" /></details>}
        </div>
      </div>
    </article>
  );
}

function Rules({ type: { lane, policy: p, ...type } }: { type: TypeOfJob }) {
  const { initial, factor, cap } = p.backoff;
  return (
    <dl class="facts">
      <dt>Lane</dt><dd><A to={"jobs?lane=" + encodeURIComponent(lane)}>{visible(lane)}</A></dd>
      <dt>Attempts</dt><dd>{p.attempts}</dd>
      <dt>Between them</dt><dd>up to {seconds(initial)}, × {factor} each time{cap > 0 && <>, {seconds(cap)} at most</>}</dd>
      <dt>An attempt</dt><dd>{p.timeout ? <>{seconds(p.timeout)} at most</> : "any time"}</dd>
      <dt>The whole job</dt><dd>{p.deadline ? <>{seconds(p.deadline)} at most</> : "any time"}</dd>
      <dt>Lease</dt><dd>{seconds(p.lease)} without a sign of life</dd>
      <dt>Grace</dt><dd>{seconds(p.grace)} to stop when asked to</dd>
      <dt>Kept</dt><dd>{seconds(p.retention)} after its end</dd>
      <dt>Payload</dt><dd>{bytes(type.maxPayload)} at most</dd>
      {type.streamLimit !== undefined && <><dt>Streams</dt><dd>{bytes(type.streamLimit)} at most of a run{type.streamRate !== undefined && <>, {bytes(type.streamRate)} each second</>}</dd></>}
    </dl>
  );
}

const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

function Submit({ name, type, from }: { name: string; type: TypeOfJob | undefined; from: string | null }) {
  const me = (useCell(session) as { me: Me }).me;
  const shape = useMemo(() => shapeOf(type?.payloadSchema), [type]);
  const before = usePoll<Node | undefined>("payload" + from, undefined, async (signal) => {
    if (from === null) return blank(shape);
    return parse(await (await ask(`/v1/jobs/${encodeURIComponent(from)}/payload`, { signal })).text());
  });
  const [node, set] = useState<Node | undefined>(undefined);
  const [raw, write_] = useState<string | undefined>(undefined); // as JSON, while that is chosen
  const [errors, say] = useState<readonly Wrong[]>([]);
  const [failed, fail] = useState("");
  const [busy, work] = useState(false);
  const key = useRef(newKey()); // a submit whose answer was lost makes no second job
  useEffect(() => {
    if (before.data && !node) set(before.data);
  }, [before.data]);
  const given = node ?? before.data;
  const gone = before.error instanceof Refused && before.error.status < 500 && before.error.status > 0;
  if (!given && !gone) return <Part title="Submit one"><Fails error={before.error} /><Reading on={!before.error} /></Part>;
  const plain = shape.kind === "json" || !given || !fits(shape, given);
  const text = raw ?? (plain ? write(given ?? blank(shape), "  ") : undefined);
  const toForm = () => {
    const why = sound(raw ?? "");
    if (why) return fail("The payload is not JSON yet: " + why);
    const next = parse(raw!);
    if (!fits(shape, next)) return fail("The form has no fields for all of this. Submit it as JSON.");
    fail("");
    set(next);
    write_(undefined);
  };
  const off = lacks(me, "submit");
  const submit = async (event: Event) => {
    event.preventDefault();
    if (off || busy) return;
    const payload = text ?? write(given!);
    const why = sound(payload);
    if (why) return fail("The payload is not JSON yet: " + why);
    work(true);
    try {
      const { jobId } = await send<{ jobId: string }>("/v1/jobs", `{"job":${JSON.stringify(name)},"key":"${key.current}","payload":${payload}}`);
      go("jobs/" + jobId);
    } catch (error) {
      work(false);
      say(error instanceof Refused ? placed(error.errors) : []);
      fail(error instanceof Refused && error.code === "unreachable" ? "The answer was lost. Submit again: there will be one job only" : told(error));
      if (error instanceof Refused && error.status && error.status < 500) key.current = newKey();
      requestAnimationFrame(() => document.querySelector<HTMLElement>("form.submit [aria-invalid=true]")?.focus());
    }
  };
  return (
    <form class="part submit" onSubmit={submit} noValidate>
      <div class="row between"><h2>{from ? "Submit as a new job" : "Submit one"}</h2>
        {!(shape.kind === "json") && <div class="chips" role="group" aria-label="Payload as">
          <button type="button" class="chip" aria-pressed={text === undefined} onClick={() => text !== undefined && (raw === undefined ? fail("The form has no fields for all of this payload. Change it as JSON.") : toForm())}>Form</button>
          <button type="button" class="chip" aria-pressed={text !== undefined} onClick={() => text === undefined && write_(write(given!, "  "))}>JSON</button>
        </div>}
      </div>
      {from && <p class="dim">{gone ? "What was submitted cannot be read: " + visible(told(before.error)) + ". Write a payload" : <>With the payload of <A to={"jobs/" + from}><code>{visible(cut(from, 80))}</code></A>; that job stays as it is</>}.</p>}
      {failed && <div class="banner bad" role="alert">{visible(cut(failed, 1000))}{errors.length > 0 && <ul>{errors.map((e) => <li key={e.pointer + e.detail}><code>{visible(cut(e.pointer || "/", 200))}</code> {visible(cut(e.detail, 500))}</li>)}</ul>}</div>}
      {text === undefined
        ? <Field shape={shape} node={given} set={(n) => set(n ?? blank(shape))} pointer="" name="" required errors={errors} />
        : <><label for="payload" class="hint">Payload, as JSON</label><textarea id="payload" class="code" rows={Math.min(24, Math.max(8, text.split("\n").length))} value={text} spellcheck={false} onInput={(event) => write_(event.currentTarget.value)} /></>}
      <div class="row end"><Button kind="primary" off={off ?? (busy ? "It is being submitted" : undefined)} onClick={() => {}}>Submit</Button></div>
    </form>
  );
}
