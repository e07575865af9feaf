// Lists of jobs that a session watches by their filters.

import { Refusal } from "./codes.js";
import { chosen, filters } from "./http.js";
import type { JobRecord } from "./record.js";
import type { Frame } from "./session.js";

const most = 10; // lists of a session

/** Reads the filter of a watchList frame, as the query of a list. */
export function readFilter(filter: unknown): URLSearchParams {
  const query = new URLSearchParams();
  if (filter === undefined || filter === null) return query;
  if (typeof filter !== "object" || Array.isArray(filter)) throw new Refusal("invalid_frame", "filter is not an object");
  for (const [name, value] of Object.entries(filter)) {
    if (!filters.has(name)) throw new Refusal("invalid_frame", `${name} is not a parameter here`);
    for (const one of Array.isArray(value) ? value : [value]) {
      if (typeof one !== "string" && (typeof one !== "boolean" || Array.isArray(value))) {
        throw new Refusal("invalid_frame", `filter: ${name} must be a text, a boolean or a list of texts`);
      }
      query.append(name, String(one));
    }
  }
  return query;
}

/** One list, and which jobs are in it. */
interface Watched {
  query: URLSearchParams;
  inside: Set<string>;
}

/** The lists of a session. */
export class WatchedLists {
  readonly #all = new Map<string, Watched>();
  readonly #send: (frame: Frame) => void;

  constructor(send: (frame: Frame) => void) {
    this.#send = send;
  }

  watch(name: string, query: URLSearchParams, subject: string, records: Iterable<JobRecord>): void {
    if (!this.#all.has(name) && this.#all.size >= most) throw new Refusal("limit_exceeded", `${most} lists are watched`);
    const inside = new Set<string>();
    for (const record of records) if (chosen(record, query, subject)) inside.add(record.doc.jobId);
    this.#all.set(name, { query, inside });
  }

  unwatch(name: string): void {
    this.#all.delete(name);
  }

  /** Ends all lists, and returns their names. */
  end(): string[] {
    const names = [...this.#all.keys()];
    this.#all.clear();
    return names;
  }

  /** Tells what a change of a job means for each list; `seen` is false for a job that the client may not see. */
  tell(record: JobRecord, subject: string, seen: boolean): void {
    for (const [list, { query, inside }] of this.#all) {
      const { jobId } = record.doc;
      if (seen && chosen(record, query, subject)) {
        inside.add(jobId);
        this.#send({ type: "listChanged", list, rows: [{ version: record.version, job: JSON.parse(record.text) }] });
      } else if (inside.delete(jobId)) {
        this.#send({ type: "listChanged", list, left: [{ jobId, version: record.version }] });
      }
    }
  }

  /** Tells that a job was removed. */
  removed({ doc: { jobId }, version }: JobRecord): void {
    for (const [list, { inside }] of this.#all) {
      if (inside.delete(jobId)) this.#send({ type: "listChanged", list, left: [{ jobId, version: version + 1 }] });
    }
  }

  /** Tells that all lists must be asked for again. */
  again(): void {
    for (const list of this.#all.keys()) this.#send({ type: "listChanged", list, again: true });
  }
}
