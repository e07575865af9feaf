// What needs somebody now, and which versions run.

import type { Process, System, Workers } from "ackwire/operate";
import { read } from "../api.js";
import { usePoll } from "../live.js";
import type { Stats } from "../pages/overview.js";
import { silentAfter, stuck } from "../pages/workers.js";
import { useCell } from "../state.js";
import { count, visible } from "../text.js";
import { ago, now, span } from "../time.js";
import { A } from "./basics.js";

const longWait = 60_000; // milliseconds that a job may wait unsaid
const news = 3_600_000; // milliseconds for which a dead letter is news: it stays where it is also when all is well again

const versions = (all: Partial<Process>[]) => [...new Set(all.map((p) => p.version ?? "unknown"))].join(", ");

/** What only operators may read, for Fires; undefined without the permission. */
export const useSigns = (operate: boolean) => usePoll("signs", 5000, async (signal) => {
  if (!operate) return undefined;
  const [fleet, system, dead] = await Promise.all([
    read<Workers>("/v1/workers", signal), read<System>("/v1/system", signal), read<{ letters: { at: string }[] }>("/v1/dead?limit=1", signal),
  ]);
  return { fleet, system, dead: dead.letters[0] };
});

export type Signs = ReturnType<typeof useSigns>["data"];

export function Fires({ stats, data }: { stats: Stats; data: Signs }) {
  const time = useCell(now);
  const lines: [string, string][] = [];
  const say = (n: number | undefined, to: string, one: string, many: string) => n && lines.push([to, n > 1 ? count(n) + many : one]);
  for (const { lane, workers, waiting, oldestSince } of stats.lanes) {
    const ms = oldestSince ? time - Date.parse(oldestSince) : 0;
    const since = ms > longWait ? ` for ${span(ms)}` : "";
    if (waiting && (!workers || since)) lines.push(["jobs?state=pending&lane=" + encodeURIComponent(lane), `Jobs of lane ${lane} wait${since}${workers ? "" : ": it has no workers"}`]);
  }
  if (data) {
    const { fleet: { workers }, system: { kafka, partitions, trackers }, dead } = data;
    if (!kafka.reachable) lines.push(["", "Kafka does not answer"]);
    say(partitions.unowned, "", "A partition has no tracker: its jobs stand still", " partitions have no tracker: their jobs stand still");
    say(trackers.filter((t) => !t.answers).length, "", "A tracker does not answer", " trackers do not answer");
    say(workers.filter((w) => time - Date.parse(w.seenAt) > silentAfter).length, "workers", "A worker is silent", " workers are silent");
    say(workers.flatMap((w) => w.holds).filter((h) => stuck(h, time)).length, "workers", "A handler may be stuck", " handlers may be stuck");
    say(workers.flatMap((w) => w.pausedEndpoints ?? []).length, "webhooks", "An endpoint of webhooks is paused", " endpoints of webhooks are paused");
    if (dead && time - Date.parse(dead.at) < news) lines.push(["dead", `A dead letter came ${ago(Date.parse(dead.at), time)}`]);
  }
  return lines.length > 0 ? <section class="banner bad" aria-label="What needs somebody now"><ul>{lines.map(([to, text], i) => <li key={to + i}>{to ? <A to={to}>{visible(text)}</A> : text}</li>)}</ul></section> : null;
}

export const Versions = ({ data }: { data: Signs }) =>
  data ? <section class="dim">Versions: gateways {visible(versions(data.system.gateways))} · trackers {visible(versions(data.system.trackers))} · workers {visible(versions(data.fleet.workers))}</section> : null;
