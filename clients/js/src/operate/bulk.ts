// Bulk actions: retry, cancel or erase all jobs that match a filter.

import type { Ackwire, CallOptions, State } from "../types.js";
import { ask } from "./ask.js";

/** What is done to each job. */
export type BulkAction = "retry" | "cancel" | "erase";

/**
 * Which jobs: the parameters of `GET /v1/jobs`, but `limit` and `cursor`. Without `state` a retry takes the failed and
 * the cancelled jobs, a cancel those that have not ended, and an erasure those that have.
 */
export interface BulkFilter {
  state?: State | State[];
  type?: string | string[];
  lane?: string | string[];
  subject?: string | string[];
  mine?: boolean;
  /** RFC 3339. */
  createdAfter?: string;
  createdBefore?: string;
  updatedAfter?: string;
  updatedBefore?: string;
  /** Another tenant; it needs the permission `operate`. */
  tenant?: string;
  [parameter: string]: string | string[] | boolean | undefined;
}

/** Which jobs match. */
export interface BulkPreview {
  action: BulkAction;
  count: number;
  /** IDs of the newest, at most 10. */
  examples: string[];
}

/** A bulk action that was ordered: the job that does it, which `client.job(jobId)` follows and cancels. */
export interface BulkOrder extends BulkPreview {
  jobId: string;
  state: State;
  statusUrl: string;
}

/** Options of an order. */
export interface BulkOptions extends CallOptions {
  /** The idempotency key: the same order again is answered with the same job. */
  key?: string;
}

/** Why a job was skipped. There may be others. */
export type BulkReason = "not_found" | "changed" | "refused" | (string & {});

/** The result of a bulk action's job. `done` and all of `skipped` add up to `matched`. */
export interface BulkResult {
  action: BulkAction;
  matched: number;
  done: number;
  skipped: Record<string, number>;
  /** The first of the jobs that were skipped; the job's stream `skipped` has all. */
  jobs: { jobId: string; reason: BulkReason }[];
}

/** Counts the jobs of a bulk action, and changes nothing. */
export const previewBulk = (
  client: Ackwire, action: BulkAction, filter: BulkFilter, options?: CallOptions,
): Promise<BulkPreview> => ask(client, "bulk", { ...options, method: "POST", body: { action, filter, preview: true } });

/**
 * Orders a bulk action for as many jobs as a preview has counted. If another number matches by now, nothing is done, and
 * the error has the code `count_differs` and says the number in its message.
 */
export const bulk = (
  client: Ackwire, action: BulkAction, filter: BulkFilter, expect: number, { key, ...options }: BulkOptions = {},
): Promise<BulkOrder> =>
  ask(client, "bulk", { ...options, method: "POST", body: { action, filter, expect, ...(key && { key }) } });
