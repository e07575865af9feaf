// Workers and other processes, the webhooks that they deliver, and the audit trail.

import type { Ackwire, CallOptions } from "../types.js";
import { ask } from "./ask.js";

/** The workers of all lanes. */
export interface Workers {
  /** Sorted by name. */
  workers: Worker[];
  /** Sorted by name. */
  lanes: WorkerLane[];
  /** A time up to which all claims and ends of jobs are included. */
  asOf: string;
  /** There are more workers or lanes. The workers that hold most jobs are never left out for others. */
  truncated: boolean;
}

/** A worker that has announced itself within the last two minutes, or that holds jobs. */
export interface Worker {
  worker: string;
  /** `false` for a worker that is known only by the jobs that it holds: its lanes, version and start are not known. */
  announced: boolean;
  /** The lanes that it takes, and how many of their jobs it holds at the same time, at most. */
  lanes: { lane: string; slots: number; yielded?: boolean }[];
  /** How many jobs it holds. */
  running: number;
  version?: string;
  /** By the worker's clock. */
  startedAt?: string;
  /** When it was last heard of. */
  seenAt: string;
  /** It takes no more jobs, and ends when those that it holds have. */
  draining?: boolean;
  /** The jobs that it has held for longest, 20 at most. */
  holds: HeldJob[];
  /** The endpoints of webhooks that it does not call for a while, 100 at most. */
  pausedEndpoints?: PausedEndpoint[];
  /** There are other paused endpoints. */
  pausedMore?: boolean;
}

/** A job that a worker holds. Whether its handler is stuck follows from `since` and `progressAt`. */
export interface HeldJob {
  jobId: string;
  tenant: string;
  type: string;
  lane: string;
  attempt: number;
  /** When the worker claimed it. */
  since: string;
  /** When the worker last said that it runs, which needs nothing of the handler. */
  lastSign: string;
  /** When the handler last told progress; absent if it has not. */
  progressAt?: string;
  percent?: number;
  stage?: string;
}

/** An endpoint of webhooks that a worker does not call for a while, because it failed several times in a row. */
export interface PausedEndpoint {
  tenant: string;
  /** Scheme, host and path of the URL; without a path if the host accepts no connections. */
  endpoint: string;
  until: string;
  failures: number;
}

/** A lane with its workers and its work, of all tenants. */
export interface WorkerLane {
  lane: string;
  /** Members of the lane's consumer group. */
  workers: number;
  slots: number;
  running: number;
  /** Requests that no worker has taken. */
  waiting: number;
  /** For how many seconds the oldest of them has waited; absent while it is not known. */
  oldestWait?: number;
}

/** Endpoints of webhooks: those that are paused come first. */
export interface Webhooks {
  endpoints: WebhookEndpoint[];
  /** Those whose failed webhooks were looked at. */
  tenants: string[];
  since: string;
  asOf: string;
  /** There are more failed webhooks, paused endpoints, or tenants with paused endpoints. */
  truncated: boolean;
}

/** A URL, without its query, to which webhooks of a tenant go. */
export interface WebhookEndpoint {
  tenant: string;
  /** Empty for webhooks of which the request is not kept any more. */
  endpoint: string;
  /** When the last worker tries it again; absent if none has paused it. */
  pausedUntil?: string;
  /** Names of workers, 20 at most. */
  pausedBy?: string[];
  /** Failures in a row. */
  failures?: number;
  /** Webhooks that have failed for good, of those that were looked at. */
  failed: number;
  /** The IDs of their jobs, the newest first, 20 at most: `client.retry` sends one again. */
  jobs?: string[];
  firstAt?: string;
  lastAt?: string;
  /** Of the newest of them. */
  lastError?: { code: string; message?: string; retryable: boolean };
}

/** Which webhooks. */
export interface WebhooksQuery extends CallOptions {
  /** Only endpoints of this tenant; without it, paused endpoints of all tenants. */
  tenant?: string;
  /** Only webhooks that were made later; without it, those of 24 hours. */
  since?: Date | string;
}

/** A page of the audit trail, the newest record first. */
export interface AuditPage {
  records: AuditRecord[];
  /** Absent on the last page. A page may have fewer records than its limit. */
  nextCursor?: string;
  /** How many records of this page are left out, because they are none. */
  unreadable?: number;
  /** No audit trail is written. */
  off?: boolean;
}

/** Who did what. Records of later releases may have other deeds. */
export interface AuditRecord {
  /** Its place in the audit trail. */
  id: string;
  writtenAt: string;
  at: string;
  deed: string;
  /** `ok`, or the code of an error. */
  outcome: string;
  tenant: string;
  subject?: string;
  tokenId?: string;
  byGrant?: boolean;
  jobId?: string;
  jobType?: string;
  owner?: { tenant: string; subject?: string };
  grant?: { id: string; jobs?: string[]; types?: string[]; permissions: string[]; expires: string };
  deadLetter?: string;
  requestId?: string;
}

/** Which page of the audit trail. */
export interface AuditQuery extends CallOptions {
  /** Only records that were written at this time or later. */
  since?: Date | string;
  /** The most records of the page, 1 to 100; 50 without it. */
  limit?: number;
  /** The `nextCursor` of the page before. */
  cursor?: string;
}

const time = (at: Date | string | undefined) => (at instanceof Date ? at.toISOString() : at);

/** Lists the workers of all lanes, with what each holds and since when. */
export function workers(client: Ackwire, options?: CallOptions): Promise<Workers> {
  return ask(client, "workers", options);
}

/** One run of a gateway or a tracker. */
export interface Process {
  /** Of its host, with a random part. */
  name: string;
  /** Of the release. */
  version: string;
  /** Of the source. */
  revision?: string;
  startedAt?: string;
  /** The gateway that has answered. */
  self?: boolean;
}

/** The gateways and trackers, and what they stand on. */
export interface System {
  /** The one that has answered and all others that the trackers hear of, sorted by name. */
  gateways: Process[];
  /** Sorted by name. One that does not answer, or is of an earlier release, has no name. */
  trackers: (Partial<Process> & {
    /** Partitions of `status` that it owns. */
    partitions: number;
    /** Those of them that it still restores: jobs in these wait. */
    restoring: number;
    /** False if it has not answered the gateway within two seconds. */
    answers: boolean;
  })[];
  partitions: {
    total: number;
    /** Partitions that no tracker owns: nothing happens to jobs in these. Absent if Kafka does not answer. */
    unowned?: number;
    /** Since when the gateway knows that one of them has had no owner. */
    unownedSince?: string;
  };
  kafka: {
    /** It has answered the gateway. */
    reachable: boolean;
  };
  asOf: string;
  /** There are more gateways or trackers. */
  truncated: boolean;
}

/** Tells of the gateways and trackers, of partitions without a tracker, and whether Kafka answers. */
export function system(client: Ackwire, options?: CallOptions): Promise<System> {
  return ask(client, "system", options);
}

/** Lists the endpoints of webhooks that are paused, and those to which webhooks have failed. */
export function webhooks(client: Ackwire, { tenant, since, ...options }: WebhooksQuery = {}): Promise<Webhooks> {
  return ask(client, "webhooks", { ...options, query: { tenant, since: time(since) } });
}

/** Reads a page of the audit trail. */
export function audit(client: Ackwire, { since, limit, cursor, ...options }: AuditQuery = {}): Promise<AuditPage> {
  return ask(client, "audit", { ...options, query: { since: time(since), limit, cursor } });
}
