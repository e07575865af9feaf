// What a job's handler writes while it runs: its log, and other streams.

import type { Status, StreamTotal } from "ackwire";
import { useEffect, useRef, useState } from "preact/hooks";
import { clientNow, read } from "../api.js";
import { member, nodeOf, type Node } from "../json.js";
import { usePoll } from "../live.js";
import { ended } from "../permit.js";
import { bytes, count, visible } from "../text.js";
import { Json } from "./Json.js";

const mostText = 256_000; // characters that are kept; the oldest leave
const mostItems = 1000;

export function Streams({ id, job }: { id: string; job: Status }) {
  const { data } = usePoll(`streams${id}${ended(job.state)}`, ended(job.state) ? undefined : 2000, (signal) =>
    read<{ streams: (StreamTotal & { name: string })[] }>(`/v1/jobs/${encodeURIComponent(id)}/streams`, signal));
  const streams: Record<string, StreamTotal> = data ? Object.fromEntries(data.streams.map((s) => [s.name, s])) : (job.streams ?? {});
  const names = Object.keys(streams).sort((a, b) => Number(b === "log") - Number(a === "log") || (a < b ? -1 : 1));
  const [chosen, choose] = useState<string | undefined>(undefined);
  if (!names.length) return null;
  const name = chosen !== undefined && names.includes(chosen) ? chosen : names[0]!;
  return (
    <section class="part">
      <div class="row between"><h2>Streams</h2>
        <div class="chips" role="group" aria-label="Streams">{names.map((n) => {
          const { kind, total } = streams[n]!;
          return <button key={n} class="chip" aria-pressed={n === name} onClick={() => choose(n)}>{visible(n)} <span class="dim">{kind === "text" ? bytes(total) : count(total)}</span></button>;
        })}</div>
      </div>
      <Stream key={name} id={id} name={name} />
    </section>
  );
}

/** An item: a line of a log on one line, anything else as JSON. */
function Item({ node, n }: { node: Node; n: number }) {
  const [time, level, message] = ["time", "level", "message"].map((name) => member(node, name));
  if (node.kind !== "object" || time?.kind !== "string" || level?.kind !== "string" || message?.kind !== "string") {
    return <Json node={node} label={`Item ${n}`} />;
  }
  const rest = node.members.filter(([name]) => !["time", "level", "message"].includes(name));
  return (
    <div class="line">
      <span class="dim">{visible(time.value.slice(11, 23))}</span><span class={`level ${level.value === "ERROR" ? "bad" : ""}`}>{visible(level.value)}</span>
      <div><bdi>{visible(message.value)}</bdi>{rest.length > 0 && <Json node={{ kind: "object", members: rest }} label={`More of line ${n}`} depth={2} />}</div>
    </div>
  );
}

interface Shown {
  text: string;
  items: Node[];
  lost: number;
  state: string;
}

function Stream({ id, name }: { id: string; name: string }) {
  const [shown, show] = useState<Shown>({ text: "", items: [], lost: 0, state: "reading" });
  const box = useRef<HTMLDivElement>(null);
  const follow = useRef(true);
  useEffect(() => {
    const end = new AbortController();
    let value: Shown = { text: "", items: [], lost: 0, state: "live" };
    let drawn = false;
    const draw = (next: Shown) => {
      value = next;
      if (drawn) return;
      drawn = true;
      setTimeout(() => {
        drawn = false;
        if (!end.signal.aborted) show(value);
      }, 50);
    };
    void (async () => {
      try {
        for await (const piece of clientNow().job(id).stream(name, { chunks: true, signal: end.signal })) {
          const was = piece.reset ? { text: "", items: [], lost: 0 } : value;
          const text = was.text + (piece.text ?? "");
          const items = piece.items ? [...was.items, ...piece.items.map(nodeOf)] : was.items;
          draw({
            text: text.slice(-mostText), items: items.slice(-mostItems), state: "live",
            lost: was.lost + Math.max(0, text.length - mostText) + Math.max(0, items.length - mostItems),
          });
        }
        draw({ ...value, state: "whole" });
      } catch (error) {
        if (!end.signal.aborted) draw({ ...value, state: `ended: ${(error as Error).message}` });
      }
    })();
    return () => end.abort();
  }, [id, name]);
  useEffect(() => {
    if (follow.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [shown]);
  const scrolled = () => {
    const el = box.current!;
    follow.current = el.scrollHeight - el.scrollTop - el.clientHeight < 30;
  };
  return (
    <>
      <div class="stream" ref={box} onScroll={scrolled} tabIndex={0} role="log" aria-live="off" aria-label={`Stream ${name}`}>
        {shown.lost > 0 && <p class="dim">{count(shown.lost)} earlier {shown.items.length ? "items" : "characters"} are not kept here.</p>}
        {shown.text && <pre><bdi>{visible(shown.text)}</bdi></pre>}
        {shown.items.map((node, i) => <div key={shown.lost + i} class="item"><Item node={node} n={shown.lost + i + 1} /></div>)}
      </div>
      <p class="dim">{shown.state === "live" ? "Live: what is written appears here." : shown.state === "whole" ? "This is all of it." : visible(shown.state)}</p>
    </>
  );
}
