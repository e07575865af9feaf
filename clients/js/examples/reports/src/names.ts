// What each report is about, by the ID of its job: a job's status does not repeat the payload, so the page keeps it.

import type { Payload, Store } from "ackwire";

export type Report = Payload<"report.generate">;

const place = "ackwire-reports";
const most = 200;

let names = read();
const listeners = new Set<() => void>();

function read(): ReadonlyMap<string, Report> {
  try {
    return new Map(JSON.parse(localStorage.getItem(place) ?? "[]"));
  } catch {
    return new Map(); // it is not needed
  }
}

function changed(): void {
  names = read();
  for (const listener of listeners) listener();
}

/** The reports that this browser has submitted; other tabs' too. */
export const reports: Store<ReadonlyMap<string, Report>> = {
  snapshot: () => names,
  subscribe(listener) {
    if (!listeners.size) addEventListener("storage", changed);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (!listeners.size) removeEventListener("storage", changed);
    };
  },
};

/** Keeps what a job's report is about. */
export function remember(jobId: string, report: Report): void {
  try {
    localStorage.setItem(place, JSON.stringify([...read(), [jobId, report]].slice(-most)));
  } catch {
    return; // the storage is full or forbidden: the report has no name
  }
  changed();
}
