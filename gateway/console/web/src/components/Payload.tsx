// What was submitted. It is read when it is asked for: an operator's reads of payloads are in the audit trail.

import { useState } from "preact/hooks";
import { ask, Refused, told, type Me } from "../api.js";
import { parse, type Node } from "../json.js";
import { lacks } from "../permit.js";
import { visible } from "../text.js";
import { Button, Copy } from "./basics.js";
import { Json } from "./Json.js";

export function Payload({ id, me }: { id: string; me: Me }) {
  const [had, set] = useState<{ node: Node; text: string } | { why: string } | undefined>(undefined);
  const [busy, work] = useState(false);
  const load = async () => {
    work(true);
    try {
      const text = await (await ask(`/v1/jobs/${encodeURIComponent(id)}/payload`)).text();
      set({ node: parse(text), text });
    } catch (error) {
      const gone = error instanceof Refused && error.code === "payload_gone";
      set({ why: gone ? "It is not kept any more" : told(error) });
    }
    work(false);
  };
  if (had && "node" in had) return <><Json node={had.node} label="Payload" /><Copy text={had.text}>Copy</Copy></>;
  return (
    <>
      {had && <p class="dim" role="alert">{visible(had.why)}.</p>}
      <Button off={lacks(me, "payloads") ?? (busy ? "It is being read" : undefined)} onClick={() => void load()}>Show the payload</Button>
    </>
  );
}
