// A job's result: in the page if it is JSON of a size that can be read, else to be downloaded.

import type { State } from "ackwire";
import { useEffect, useState } from "preact/hooks";
import { ask, told } from "../api.js";
import { parse, type Node } from "../json.js";
import { bytes, visible } from "../text.js";
import { Copy } from "./basics.js";
import { Json } from "./Json.js";

const most = 2_000_000; // bytes of a result that is shown

interface Props {
  id: string;
  state: State;
  inline: Node | undefined;
  elsewhere: boolean;
}

type Loaded = { node: Node; text: string } | { blob: Blob; name: string } | { why: string };

export function ResultView({ id, state, inline, elsewhere }: Props) {
  const [loaded, set] = useState<Loaded | undefined>(undefined);
  const fetched = state === "completed" && !inline && elsewhere;
  useEffect(() => {
    let over = false;
    if (fetched) void readable(id).then((is) => (is ? load(id) : undefined)).then((r) => r && !over && set(r), () => {});
    return () => {
      over = true;
    };
  }, [id, fetched]);
  if (state !== "completed") return <p class="dim">{state === "failed" || state === "cancelled" ? "It has none." : "Not yet."}</p>;
  if (inline) return <><Json node={inline} label="Result" /><CopyResult id={id} /></>;
  if (!elsewhere) return <p class="dim">It has none.</p>;
  if (!loaded) return <button onClick={() => void load(id).then(set)}>Load the result</button>;
  if ("why" in loaded) return <p class="banner bad" role="alert">{visible(loaded.why)}</p>;
  if ("node" in loaded) return <><Json node={loaded.node} label="Result" /><Copy text={loaded.text}>Copy</Copy></>;
  return <p><button onClick={() => save(loaded.blob, loaded.name)}>Save {visible(loaded.name)}</button> <span class="dim">{visible(loaded.blob.type)}, {bytes(loaded.blob.size)}</span></p>;
}

function CopyResult({ id }: { id: string }) {
  const [text, set] = useState<string | undefined>(undefined);
  if (text !== undefined) return <Copy text={text}>Copy</Copy>;
  return <button class="quiet" onClick={() => void ask(`/v1/jobs/${encodeURIComponent(id)}/result`).then((r) => r.text()).then(set, () => {})}>Text</button>;
}

/** Whether a result is JSON, and small enough to be shown unasked. */
async function readable(id: string): Promise<boolean> {
  const { headers } = await ask(`/v1/jobs/${encodeURIComponent(id)}/result`, { method: "HEAD" });
  const length = headers.get("Content-Length");
  return /^application\/(.+\+)?json\b/.test(headers.get("Content-Type") ?? "") && length !== null && Number(length) <= most;
}

async function load(id: string): Promise<Loaded> {
  try {
    const response = await ask(`/v1/jobs/${encodeURIComponent(id)}/result`);
    const blob = await response.blob();
    if (/^application\/(.+\+)?json\b/.test(blob.type) && blob.size <= most) {
      const text = await blob.text();
      return { node: parse(text), text };
    }
    const given = /filename="?([^";]+)/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
    return { blob, name: given ?? "result-" + id };
  } catch (error) {
    return { why: told(error) + ". If the result is in a store of its own, ask for it with the command beside." };
  }
}

/** Saves a blob as a file. Its type is left out: the browser never shows it as a page of this origin. */
function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([blob], { type: "application/octet-stream" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
