// Spans of time for people.

const units: [number, string][] = [[86_400_000, "d"], [3_600_000, "h"], [60_000, "min"], [1000, "s"]];

/** A span of milliseconds in its two largest units, such as "3 min 20 s". */
export function span(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  const at = units.findIndex(([unit]) => ms >= unit);
  const [unit, name] = units[at]!;
  const next = units[at + 1];
  const whole = Math.floor(ms / unit);
  const rest = next && Math.floor((ms % unit) / next[0]);
  return `${whole} ${name}` + (rest && whole < 10 ? ` ${rest} ${next[1]}` : "");
}

/** How long ago a time is, in its largest unit; or how long until it. */
export function ago(at: number, from: number): string {
  const ms = from - at;
  if (Math.abs(ms) < 1500) return "now";
  const [unit, name] = units.find(([unit]) => Math.abs(ms) >= unit) ?? [1000, "s"];
  const n = `${Math.floor(Math.abs(ms) / unit)} ${name}`;
  return ms < 0 ? "in " + n : n + " ago";
}
