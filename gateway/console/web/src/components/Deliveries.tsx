// The webhooks that were sent of a job. Each is a job of its own.

import type { State, Status } from "ackwire";
import { read } from "../api.js";
import { usePoll } from "../live.js";
import { visible } from "../text.js";
import { A, StateMark, Time } from "./basics.js";

interface Delivery {
  deliveryId: string;
  event: string;
  job?: Status;
}

export function Delivered({ id, state }: { id: string; state: State }) {
  const { data } = usePoll(`deliveries${id}${state}`, 5000, (signal) =>
    read<{ deliveries: Delivery[] }>(`/v1/jobs/${encodeURIComponent(id)}/deliveries`, signal));
  if (!data?.deliveries.length) return null;
  return (
    <section class="part">
      <h2>Webhook deliveries</h2>
      <ul class="failures">{data.deliveries.map((d) => (
        <li key={d.deliveryId}>
          <A to={"jobs/" + d.deliveryId}>{visible(d.event)}</A>
          <span class="why">{d.job ? <><StateMark state={d.job.state} /> {d.job.error && <><code>{visible(d.job.error.code)}</code> {visible(d.job.error.message ?? "")}</>}</> : "forgotten"}</span>
          <span class="dim"><Time at={d.job?.updatedAt} /></span>
        </li>
      ))}</ul>
    </section>
  );
}
