// Bytes of a record: as text or as JSON where they are that, and in hexadecimal always.

import type { DeadBytes } from "ackwire/operate";
import { useMemo, useState } from "preact/hooks";
import { parse, type Node } from "../json.js";
import { bytes, cut, visible } from "../text.js";
import { Json } from "./Json.js";

const line = 16; // bytes
const first = 64; // lines that are shown at once
const mostText = 20_000; // characters that are shown at once

/** The bytes of a value. */
function decode(value: DeadBytes): Uint8Array {
  if (value.text !== undefined) return new TextEncoder().encode(value.text);
  return Uint8Array.from(atob(value.base64), (c) => c.charCodeAt(0));
}

function hexOf(data: Uint8Array, lines: number): string {
  const out: string[] = [];
  for (let at = 0; at < data.length && out.length < lines; at += line) {
    const part = [...data.subarray(at, at + line)];
    const hex = part.map((b) => b.toString(16).padStart(2, "0")).join(" ").padEnd(3 * line);
    out.push(`${at.toString(16).padStart(6, "0")}  ${hex} ${part.map((b) => (b > 31 && b < 127 ? String.fromCharCode(b) : "·")).join("")}`);
  }
  return out.join("\n");
}

function jsonOf(text: string | undefined): Node | undefined {
  try {
    JSON.parse(text ?? "");
    return parse(text!);
  } catch {
    return undefined;
  }
}

export function Bytes({ value, label }: { value: DeadBytes; label: string }) {
  const data = useMemo(() => decode(value), [value]);
  const node = useMemo(() => jsonOf(value.text), [value]);
  const ways = [...(node ? ["JSON"] : []), ...(value.text !== undefined ? ["Text"] : []), "Hex"];
  const [chosen, choose] = useState(ways[0]!);
  const [lines, show] = useState(first);
  const [most, widen] = useState(mostText);
  const all = Math.ceil(data.length / line);
  if (!data.length) return <p class="dim">Empty.</p>;
  return (
    <>
      <div class="row between">
        <div class="chips" role="group" aria-label={label + " as"}>{ways.map((way) => (
          <button key={way} class="chip" aria-pressed={way === chosen} onClick={() => choose(way)}>{way}</button>
        ))}</div>
        <span class="dim">{bytes(data.length)}{value.text === undefined && ", not UTF-8"}</span>
      </div>
      {chosen === "JSON" && node && <Json node={node} label={label} />}
      {chosen === "Text" && <pre class="code" tabIndex={0} role="group" aria-label={label}><bdi>{visible(cut(value.text!, most))}</bdi></pre>}
      {chosen === "Text" && value.text!.length > most && <button class="quiet" onClick={() => widen(10 * most)}>Show more</button>}
      {chosen === "Hex" && <pre class="code hex" tabIndex={0} role="group" aria-label={label + " in hexadecimal"}>{hexOf(data, lines)}</pre>}
      {chosen === "Hex" && all > lines && <button class="quiet" onClick={() => show(lines * 10)}>Show more of {all} lines</button>}
    </>
  );
}
