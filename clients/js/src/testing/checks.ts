// What a server refuses of a client's frames and bodies before it looks at any job.

import { Refusal } from "./codes.js";
import type { Submit } from "./record.js";
import { readStreams, type StreamRef } from "./streams.js";
import type { State } from "../types.js";

const maxKeyChars = 128;
const maxAhead = 30 * 86_400_000; // milliseconds, of runAt

const types: Record<string, string> = {
  job: "string", key: "string", runAt: "string", timeout: "number", deadline: "number", watch: "boolean",
  callbackUrl: "string", traceparent: "string", tracestate: "string", jobId: "string", token: "string", mine: "boolean",
  after: "string",
};

const states: readonly string[] = [
  "pending", "scheduled", "queued", "processing", "retrying", "completed", "failed", "cancelled",
] satisfies State[];

const invalid = (detail: string) => new Refusal("invalid_frame", detail);

/** Refuses a frame, or a body, of which a member has the wrong type. A member that is null counts as absent. */
export function checkTypes(frame: object): void {
  for (const [name, type] of Object.entries(types)) {
    const value = (frame as Record<string, unknown>)[name] ?? undefined;
    if (value !== undefined && typeof value !== type) throw invalid(`${name} has the wrong type`);
  }
}

export function checkState(what: string, state: unknown): void {
  if (!states.includes(state as string)) throw invalid(`${what}${JSON.stringify(state)} is not a state`);
}

/** Refuses a submit that cannot be a job, whatever the jobs are that there are. Returns it without members of null. */
export function checkSubmit(request: Submit): Submit {
  const given = Object.entries(request).filter(([name, value]) => value !== null || name === "payload");
  const submit = Object.fromEntries(given) as unknown as Submit;
  checkTypes(submit);
  if (!submit.job) throw invalid("job is missing");
  if (submit.payload === undefined) throw invalid("payload is missing");
  if ([...(submit.key ?? "")].length > maxKeyChars) throw invalid(`key is longer than ${maxKeyChars} characters`);
  for (const name of ["timeout", "deadline"] as const) {
    if (!((submit[name] ?? 1) > 0)) throw invalid(`${name} must be a positive number of seconds`);
  }
  checkRunAt(submit);
  checkCallback(submit);
  checkTags(submit.tags);
  const streams = readStreams(submit.streams);
  if (streams?.length && submit.watch === false) throw invalid("streams are followed only with a watch");
  return submit;
}

function checkRunAt({ runAt, deadline }: Submit): void {
  if (runAt === undefined) return;
  const ahead = Date.parse(runAt) - Date.now();
  if (Number.isNaN(ahead)) throw invalid("runAt has the wrong type");
  if (ahead > maxAhead) throw invalid("runAt is more than 30 days ahead");
  if (deadline !== undefined && ahead >= deadline * 1000) {
    throw invalid(`runAt is not before the job's deadline, ${deadline}s from now`);
  }
}

const tagKey = /^[\w.-]{1,64}$/;

function checkTags(tags: unknown): void {
  if (tags === undefined) return;
  if (typeof tags !== "object" || Array.isArray(tags)) throw invalid("tags has the wrong type");
  const all = Object.entries(tags as Record<string, unknown>);
  for (const [key, value] of all) {
    if (typeof value !== "string" && value !== null) throw invalid(`tags/${key} has the wrong type`);
  }
  if (all.length > 16) throw invalid(`tags: a job has at most 16 tags, not ${all.length}`);
  for (const [key, value] of all.sort(([a], [b]) => (a < b ? -1 : 1))) checkTag(key, (value ?? "") as string);
}

/** Refuses a tag that a job cannot have. */
export function checkTag(key: string, value: string): void {
  const problem = !tagKey.test(key) ? `the key ${JSON.stringify(key)} is not 1 to 64 of the characters A-Z a-z 0-9 . _ -`
    : value === "" ? `the value of ${key} is empty`
    : [...value].length > 128 ? `the value of ${key} has more than 128 characters`
    : /\p{Cc}/u.test(value) ? `the value of ${key} has a control character` : undefined;
  if (problem) throw invalid(`tags: ${problem}`);
}

function checkCallback({ callbackUrl, callbackEvents }: Submit): void {
  if (callbackUrl && !/^https?:\/\/./.test(callbackUrl)) throw invalid("callbackUrl: not an http or https URL");
  if (callbackEvents === undefined) return;
  if (!Array.isArray(callbackEvents)) throw invalid("callbackEvents has the wrong type");
  if (!callbackUrl) throw invalid("callbackEvents without a callbackUrl");
  for (const state of callbackEvents) checkState("callbackEvents: ", state);
}

/** A job of a subscribe frame; `after` is 0 where it is not said. */
export interface Ref {
  jobId: string;
  after: number;
  /** The streams that it follows from now on; undefined: as before. */
  streams: StreamRef[] | undefined;
}

/** Reads the jobs of a subscribe frame, each once, from the lowest version on that is named. */
export function readRefs(jobs: unknown): Ref[] {
  const refs = new Map<string, Ref>();
  const broken = invalid("jobs must be a list of {jobId, after?}");
  if (!Array.isArray(jobs)) throw broken;
  for (const ref of jobs as ({ jobId?: unknown; after?: unknown; streams?: unknown } | null)[]) {
    if (typeof ref !== "object") throw broken;
    const { jobId, after = 0 } = ref ?? {};
    if ((jobId !== undefined && typeof jobId !== "string") || !Number.isInteger(after)) throw broken;
    if (!jobId) throw invalid("jobs has an entry without jobId");
    if ((after as number) < 0) throw invalid("after must not be negative");
    const had = refs.get(jobId);
    const streams = readStreams(ref?.streams) ?? had?.streams;
    refs.set(jobId, { jobId, after: Math.min(after as number, had?.after ?? Infinity), streams });
  }
  return [...refs.values()];
}

/** Reads the jobs of an unsubscribe frame. */
export function readIDs(jobs: unknown): string[] {
  if (Array.isArray(jobs) && jobs.every((jobId) => typeof jobId === "string")) return jobs as string[];
  throw invalid("jobs must be a list of job IDs");
}

/** Refuses a frame that names jobs beside all of the subject. */
export function checkMineAlone(jobs: unknown): void {
  if (jobs !== undefined) throw invalid("jobs and mine are each a frame of their own");
}
