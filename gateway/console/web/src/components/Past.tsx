// A job's history: its events as the log has them, read page by page behind the rest of the page.

import type { HistoryEvent, HistoryPage, Status } from "ackwire";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { read, told } from "../api.js";
import { Copy, CopyIcon } from "./basics.js";
import { moments, type Moment } from "../past.js";
import { ended } from "../permit.js";
import { count, cut, visible } from "../text.js";
import { inUTC } from "../time.js";

const first = 200; // events of the first page, so that it is there at once
const pageSize = 1000;
const most = 20_000; // events that are read unasked
const shown = 200; // rows that are drawn at once
const every = 3000; // milliseconds between two looks at the end of it

/** The time of an event within its day, in UTC. */
const clock = (at: string) => inUTC(Date.parse(at), true).slice(11, 23);

interface Read {
  events: HistoryEvent[];
  /** Where the last page began: in it and in how many events before it. */
  last: string;
  before: number;
  page: HistoryPage | undefined;
  error: string;
  more: boolean; // there are more than are read unasked
}

const none: Read = { events: [], last: "", before: 0, page: undefined, error: "", more: false };

/** Reads a job's events from the last page on. */
async function readOn(id: string, was: Read, bound: number, signal: AbortSignal, tell: (read: Read) => void): Promise<Read> {
  let now = { ...was, error: "", more: false };
  for (let cursor = was.last, events = was.events.slice(0, was.before); ;) {
    const search = new URLSearchParams({ limit: String(cursor ? pageSize : first), ...(cursor && { cursor }) });
    const page = await read<HistoryPage>(`/v1/jobs/${encodeURIComponent(id)}/history?${search}`, signal);
    const before = events.length;
    events = [...events, ...page.events];
    now = { events, last: cursor, before, page, error: "", more: false };
    if (!page.nextCursor) return now;
    if (events.length >= bound) return { ...now, more: true };
    tell(now);
    cursor = page.nextCursor;
  }
}

export function Past({ id, job }: { id: string; job: Status }) {
  const [past, set] = useState<Read>(none);
  const [bound, widen] = useState(most);
  const latest = useRef(none);
  const over = ended(job.state);
  const seen = `${job.state}${job.attempt}${job.cancelRequested ?? ""}`;
  useEffect(() => {
    const end = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const tell = (next: Read) => {
      latest.current = next;
      if (!end.signal.aborted) set(next);
    };
    const run = async () => {
      if (!document.hidden) {
        try {
          tell(await readOn(id, latest.current, bound, end.signal, tell));
        } catch (error) {
          if (!end.signal.aborted) tell({ ...latest.current, error: told(error) });
        }
      }
      if (!end.signal.aborted && (!over || latest.current.error)) timer = setTimeout(run, every);
    };
    void run();
    return () => {
      end.abort();
      clearTimeout(timer);
    };
  }, [id, seen, over, bound]);
  const rows = useMemo(() => moments(past.events), [past.events]);
  const [extra, more] = useState(shown);
  const hidden = Math.max(0, rows.length - extra);
  const { page } = past;
  const trace = past.events.find((e) => e.traceId)?.traceId;
  const late = past.events.filter((e) => e.applied === false).length;
  return (
    <section class="part past" aria-busy={!page}>
      <div class="row between"><h2>History</h2>
        <span class="dim">{page ? `${count(past.events.length)}${past.more || page.nextCursor ? " of more" : ""} events${late ? `, ${count(late)} of which changed nothing` : ""}, times in UTC` : " "}</span></div>
      {trace && <p class="id">Trace <code>{trace}</code><Copy text={trace} label="Copy the trace ID"><CopyIcon /></Copy></p>}
      {page?.truncated && <p class="banner">The first events of this job have left the log{page.earliest && <>, which begins {inUTC(Date.parse(page.earliest))} UTC</>}. What is left is shown; what became of it is not known.</p>}
      {past.error && <p class="banner bad" role="alert">{visible(past.error)}. The page tries again by itself.</p>}
      {hidden > 0 && <button class="quiet" onClick={() => more(extra + 5 * shown)}>{count(hidden)} earlier rows</button>}
      <ol class="timeline">{rows.slice(hidden).map((m) => <Row key={m.key} m={m} />)}</ol>
      {page && !rows.length && <p class="dim">{page.truncated ? "None of its events is in the log any more." : "No event of it is in the log yet."}</p>}
      {past.more && <button onClick={() => widen(bound + most)}>Read on</button>}
    </section>
  );
}

function Row({ m }: { m: Moment }) {
  const [open, set] = useState(false);
  if (m.gap) return <li class="gap"><div class="dim">{m.what}</div></li>;
  return (
    <li class={m.mark}><time class="dim" dateTime={m.at} title={inUTC(Date.parse(m.at), true)}>{clock(m.at)}</time>
      <div>
        <b>{visible(m.what)}</b>
        {m.more.map((text, i) => <div key={i} class="dim">{visible(cut(text, 2000))}</div>)}
        {m.reports && <button class="quiet more" aria-expanded={open} onClick={() => set(!open)}>{open ? "Fold the reports" : "Show the reports"}</button>}
        {open && m.reports && (
          <ol class="reports" tabIndex={0} aria-label="Reports">{m.reports.slice(-shown).reverse().map((e) => (
            <li key={e.offset}><span>{clock(e.at)}</span> {Math.floor(e.progress!.percent)} % {visible(cut([e.progress!.stage, e.progress!.message].filter(Boolean).join(": "), 300))}</li>
          ))}{m.reports.length > shown && <li>{count(m.reports.length - shown)} earlier ones</li>}</ol>
        )}
      </div>
    </li>
  );
}
