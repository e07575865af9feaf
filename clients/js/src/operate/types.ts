// Job types: what the server knows of each.

import type { Ackwire, CallOptions } from "../types.js";
import { ask } from "./ask.js";

/** What every job of a type is given when it is submitted. Times are in seconds. */
export interface Policy {
  /** How often a job may be tried in all. */
  attempts: number;
  /** How long the n-th retry waits at most: initial × factor^(n-1), and no more than the cap; 0 is no cap. */
  backoff: { initial: number; factor: number; cap: number };
  /** How long a run holds its job after its last sign of life. */
  lease: number;
  /** How long an attempt may take; absent or 0: any time. */
  timeout?: number;
  /** How long the whole job may take; absent or 0: any time. */
  deadline?: number;
  /** How long a handler that was cancelled may take to end. */
  grace: number;
  /** How long a job stays readable after its end. */
  retention: number;
}

/** A job type. Its schemas are JSON Schema, draft 2020-12: an object, or true or false. */
export interface TypeOfJob {
  type: string;
  lane: string;
  policy: Policy;
  /** The largest payload, in bytes. */
  maxPayload: number;
  /** Of the payloads; absent where everything is accepted. */
  payloadSchema?: unknown;
  /** Of the results. */
  resultSchema?: unknown;
  /** How much a run may write to its streams, in bytes; absent where the worker's setting says it. */
  streamLimit?: number;
  /** How fast it may, in bytes per second. */
  streamRate?: number;
}

/** Reads the job types that the token may know, by name. */
export const jobTypes = async (client: Ackwire, options?: CallOptions): Promise<TypeOfJob[]> =>
  (await ask<{ jobTypes: TypeOfJob[] }>(client, "job-types", options)).jobTypes;
