// Dead letters: records that a service could not read and has set aside.

import type { Ackwire, CallOptions } from "../types.js";
import { ask } from "./ask.js";

/** A dead letter, as lists tell it. All its texts are of the record: any of them may be malformed. */
export interface DeadLetter {
  /** Names it: its place in the topic of dead letters. */
  id: string;
  /** When it was set aside. */
  at: string;
  /** Why, in one word, such as `undecodable`. */
  reason: string;
  /** Why, for people. */
  detail: string;
  /** The service that could not read it. */
  by: string;
  /** Where the record lay. */
  topic: string;
  partition: string;
  offset: string;
  /** The job that the record names; absent if it names none. */
  jobId?: string;
  /** Whether it is the request of that job. */
  request: boolean;
  /** How long the record's value is. */
  bytes: number;
}

/** Bytes of a record: as text if they are valid UTF-8, else in base64. */
export type DeadBytes = { text: string; base64?: never } | { base64: string; text?: never };

/** A dead letter with its record. */
export interface DeadRecord extends DeadLetter {
  /** Key, headers and value are left out: the token has not the permission `payloads`. */
  withheld?: boolean;
  key?: DeadBytes;
  headers?: (DeadBytes & { name: string })[];
  value?: DeadBytes;
}

/** A page of dead letters, the newest first. */
export interface DeadPage {
  letters: DeadLetter[];
  /** Absent on the last page. A page may have fewer letters than its limit. */
  nextCursor?: string;
}

/** Which page of dead letters. */
export interface DeadQuery extends CallOptions {
  /** The most letters of the page, 1 to 100; 50 without it. */
  limit?: number;
  /** The `nextCursor` of the page before. */
  cursor?: string;
}

/**
 * What a requeue has done. `dispatched`: the job gets a new request, which costs no attempt. `written`: the record is in
 * its topic again.
 */
export type Requeued =
  | { outcome: "dispatched"; jobId: string }
  | { outcome: "written"; topic: string; partition: number; offset: number };

/** Reads a page of dead letters. It needs the permission `operate`. */
export const deadLetters = (client: Ackwire, { signal, limit, cursor }: DeadQuery = {}): Promise<DeadPage> =>
  ask(client, "dead", { query: { limit, cursor }, ...(signal && { signal }) });

/** Reads one dead letter. It needs the permission `operate`, and `payloads` for the record itself. */
export const deadLetter = (client: Ackwire, id: string, options?: CallOptions): Promise<DeadRecord> =>
  ask(client, "dead/" + encodeURIComponent(id), options);

/**
 * Tries a dead letter again, after its cause was mended; it stays in the list. It needs the permission `operate`. To do
 * it twice does no harm. Rejects with `invalid_state` where it can do nothing, and says why.
 */
export const requeue = (client: Ackwire, id: string, options?: CallOptions): Promise<Requeued> =>
  ask(client, `dead/${encodeURIComponent(id)}/requeue`, { ...options, method: "POST" });
