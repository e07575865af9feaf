// What happened to jobs in each minute of the last hour. The chart is loaded when it is first shown.

import { useEffect, useRef, useState } from "preact/hooks";
import { read, told } from "../api.js";
import { usePoll } from "../live.js";
import type { Line } from "../plot.js";
import { useCell } from "../state.js";
import { count, visible } from "../text.js";
import { inUTC, utc } from "../time.js";

const lines = [
  { name: "accepted", colour: "--link", width: 1.25, dash: [] },
  { name: "completed", colour: "--good", width: 1.25, dash: [8, 3] },
  { name: "failed", colour: "--bad", width: 2, dash: [] },
  { name: "cancelled", colour: "--dim", width: 1.25, dash: [2, 3] },
] as const satisfies readonly (Omit<Line, "dash"> & { dash: readonly number[] })[];

interface Activity {
  from: string;
  since: string;
  lanes: ({ lane: string } & Record<(typeof lines)[number]["name"], number[]>)[];
  truncated: boolean;
}

const sum = (minutes: number[]) => minutes.reduce((n, m) => n + m, 0);

export function Hour({ tenant }: { tenant: string }) {
  const search = tenant && "?tenant=" + encodeURIComponent(tenant);
  const { data, error } = usePoll("activity" + search, 15_000, (signal) => read<Activity>("/v1/activity" + search, signal));
  const [chosen, choose] = useState("");
  const exact = useCell(utc);
  const clock = (seconds: number): string =>
    exact ? inUTC(seconds * 1000).slice(11, 16) : new Date(seconds * 1000).toTimeString().slice(0, 5);
  const lanes = data?.lanes.map((l) => l.lane) ?? [];
  const lane = lanes.includes(chosen) ? chosen : "";
  const from = data && Date.parse(data.from) / 1000;
  const since = data ? Date.parse(data.since) / 1000 : 0;
  // The last minute is not over, and would look like a fall.
  const minutes = lines.map(({ name }) => Array.from({ length: 59 }, (_, i) =>
    (data?.lanes ?? []).reduce((n, l) => n + ((lane ? l.lane === lane : l.lane !== "webhooks") ? l[name][i] ?? 0 : 0), 0)));
  const [at, point] = useState<number>();
  return (
    <section class="hour">
      <h2>Last hour</h2>
      {from === undefined || !data ? <p class="dim">{error === undefined ? "" : visible(told(error)) + "."}</p> : <>
        <div class="hour-head">
          <ul>
            {lines.map(({ name }, i) => <li key={name}><i class={name} />{name} <b>{count(at === undefined ? sum(minutes[i]!) : minutes[i]![at]!)}</b></li>)}
            <li class="dim">{at === undefined ? "in 59 minutes" : "in the minute of " + clock(from + 60 * at)}</li>
          </ul>
          {lanes.length > 1 && <label>Lane <select value={lane} onChange={(e) => choose(e.currentTarget.value)}>
            <option value="">all but webhooks</option>
            {lanes.map((name) => <option key={name} value={name}>{visible(name)}</option>)}
          </select></label>}
        </div>
        {minutes.some(sum) ? <Plot from={from} minutes={minutes} since={since} clock={clock} utc={exact} point={point} />
          : <p class="dim">Nothing has happened in the last hour.</p>}
        {since > from && <p class="dim">What is before {clock(since)} is not complete: a tracker has begun to count then.</p>}
        {data.truncated && <p class="dim">Not everything is counted: too many tenants have jobs.</p>}
      </>}
    </section>
  );
}

interface PlotProps {
  from: number; // seconds
  minutes: number[][];
  since: number;
  clock(seconds: number): string;
  utc: boolean;
  point(at: number | undefined): void;
}

const looks = matchMedia("(prefers-color-scheme: dark)");

function Plot(props: PlotProps) {
  const now = useRef(props);
  now.current = props;
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<ReturnType<typeof import("../plot.js").plot> | undefined>(undefined);
  const [dark, look] = useState(looks.matches);
  const [loaded, set] = useState<typeof import("../plot.js") | null>();
  const times = props.minutes[0]!.map((_, i) => props.from + 60 * i);
  useEffect(() => {
    const changed = () => look(looks.matches);
    const resized = () => chart.current?.fit();
    looks.addEventListener("change", changed);
    addEventListener("resize", resized);
    void import("../plot.js").then(set, () => set(null));
    return () => {
      looks.removeEventListener("change", changed);
      removeEventListener("resize", resized);
    };
  }, []);
  // Other colours or another clock make another chart.
  useEffect(() => {
    if (!loaded) return;
    const made = loaded.plot(place.current!, [times, ...props.minutes], {
      lines: lines.map((l) => ({ ...l, dash: [...l.dash] })), height: 180, count,
      clock: (s) => now.current.clock(s), since: () => now.current.since, point: (at) => now.current.point(at),
    });
    chart.current = made;
    return () => made.end();
  }, [loaded, dark, props.utc]);
  useEffect(() => chart.current?.set([times, ...props.minutes]), [String(props.minutes), props.since]);
  if (loaded === null) return <p class="dim">The chart could not be loaded.</p>;
  const says = lines.map(({ name }, i) => {
    const most = Math.max(...props.minutes[i]!);
    return `${sum(props.minutes[i]!)} ${name}` + (most ? `, most at ${props.clock(times[props.minutes[i]!.indexOf(most)]!)} (${most})` : "");
  });
  return <div class="plot" ref={place} role="img" aria-label={`Jobs by minute since ${props.clock(props.from)}: ${says.join("; ")}.`} />;
}
