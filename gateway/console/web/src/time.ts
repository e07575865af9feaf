// Times: how long ago, and in UTC.

import { Cell, kept } from "./state.js";

export { ago, span } from "./span.js";

/** The time now, which moves on each second while the page is seen. */
export const now = new Cell(Date.now());
setInterval(() => {
  if (!document.hidden) now.set(Date.now());
}, 1000);
addEventListener("visibilitychange", () => now.set(Date.now()));

/** Whether lists show times in UTC rather than how long ago. */
export const utc = kept("utc", false, (v): v is boolean => typeof v === "boolean");

/** A time in UTC, in seconds or in milliseconds. */
export function inUTC(at: number, exact = false): string {
  const text = new Date(at).toISOString().replace("T", " ");
  return exact ? text.replace("Z", " UTC") : text.slice(0, 19);
}
