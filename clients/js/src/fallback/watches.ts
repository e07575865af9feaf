// What a session of the fallback watches, and what it has told of it.

import { byteLength } from "../bytes.js";

/** Jobs of a subject whose last version is remembered. */
const maxSeen = 10_000;
/** Jobs of a subject whose last version is told to the server, so that it does not tell it again. */
const maxKnown = 1000;
/** Milliseconds for which it is told: a server goes back a minute before a cursor, and clocks differ. */
const knownFor = 120_000;

export interface WatchedJob {
  /** The last version that the client has or was told; 0 is none. */
  seen: number;
  /** By a submit or a retry, not by a subscribe frame. */
  implied: boolean;
}

/** A stream that is followed, from its beginning or from a cursor on. */
export type StreamRef = string | { stream: string; run?: number; at?: number };

/** The streams of a job that are followed. */
interface Followed {
  /** The last version of the job that was told, also when the job is watched no more since it has ended. */
  seen: number;
  /** What the client has of each. */
  refs: Map<string, Exclude<StreamRef, string>>;
}

/** A frame with the next piece of a stream. */
export interface Chunk {
  jobId: string;
  stream: string;
  run: number;
  from: number;
  text?: string;
  items?: unknown[];
  end?: boolean;
  error?: string;
}

interface Status {
  version: number;
  mine?: boolean;
  job: { jobId: string; state: string };
}

export class Watches {
  readonly jobs = new Map<string, WatchedJob>();
  private readonly streams = new Map<string, Followed>();
  /** Set while all jobs of the subject are followed: up to where they were told, "" while that is not known. */
  cursor: string | undefined;
  /** The last version of each job of the subject, and when it came, the latest last. */
  private readonly mineSeen = new Map<string, { version: number; at: number }>();

  get size(): number {
    const others = Array.from(this.streams.keys()).filter((jobId) => !this.jobs.has(jobId));
    return this.jobs.size + others.length + (this.cursor === undefined ? 0 : 1);
  }

  /** Watches a job from a version on; one that is watched already is told what is newer than the less of both. */
  add(jobId: string, after: number, implied: boolean): void {
    const had = this.jobs.get(jobId);
    if (!had) this.jobs.set(jobId, { seen: after, implied });
    else if (!implied) {
      had.seen = Math.min(had.seen, after);
      had.implied = false;
    }
  }

  /** Follows streams of a job, in place of those that are followed. */
  follow(jobId: string, refs: StreamRef[]): void {
    const seen = this.streams.get(jobId)?.seen ?? 0;
    const list = refs.map((ref) => (typeof ref === "string" ? { stream: ref } : ref));
    if (list.length === 0) this.streams.delete(jobId);
    else this.streams.set(jobId, { seen, refs: new Map(list.map((ref) => [ref.stream, ref])) });
  }

  /** Notes what has come of a stream: a request that follows goes on behind it. */
  chunk({ jobId, stream, run, from, text = "", items = [], end, error }: Chunk): void {
    const refs = this.streams.get(jobId)?.refs;
    if (!refs?.has(stream)) return;
    if (end || error) refs.delete(stream);
    else if (run > 0) refs.set(stream, { stream, run, at: from + byteLength(text) + items.length });
    if (refs.size === 0) this.streams.delete(jobId);
  }

  /** A job is watched no more, and none of its streams. */
  drop(jobId: string): void {
    this.jobs.delete(jobId);
    this.streams.delete(jobId);
  }

  /** The body of a request for frames. */
  body(): string {
    const { cursor } = this;
    const jobs = Array.from(new Set([...this.jobs.keys(), ...this.streams.keys()]), (jobId) => {
      const streams = this.streams.get(jobId);
      const seen = (this.jobs.get(jobId) ?? streams)!.seen;
      return { jobId, ...(seen > 0 && { after: seen }), ...(streams && { streams: [...streams.refs.values()] }) };
    });
    if (cursor === undefined) return JSON.stringify({ jobs });
    return JSON.stringify({ jobs, mine: true, ...(cursor && { after: cursor, known: this.known() }) });
  }

  /** What has come of the subject's jobs lately. */
  private known(): { jobId: string; after: number }[] {
    const since = Date.now() - knownFor;
    return Array.from(this.mineSeen).slice(-maxKnown).flatMap(([jobId, { version, at }]) =>
      at > since ? [{ jobId, after: version }] : []);
  }

  /** Whether a status is news to the client; if so it counts as told. */
  news({ version, mine, job: { jobId, state } }: Status): boolean {
    if (mine && this.cursor === undefined) return false; // no more
    const watched = this.jobs.get(jobId);
    const followed = this.streams.get(jobId);
    if (followed) followed.seen = Math.max(followed.seen, version);
    const wanted = watched !== undefined && version > watched.seen;
    if (wanted) {
      watched.seen = version;
      if (state === "completed" || state === "failed" || state === "cancelled") this.jobs.delete(jobId);
    }
    if (!mine) return wanted;
    if (version <= (this.mineSeen.get(jobId)?.version ?? 0)) return false;
    this.mineSeen.delete(jobId);
    this.mineSeen.set(jobId, { version, at: Date.now() });
    if (this.mineSeen.size > maxSeen) this.mineSeen.delete(this.mineSeen.keys().next().value!);
    return true;
  }

  /** Whether anything was told of a job, or will be because it is watched. */
  knows(jobId: string): boolean {
    return this.jobs.has(jobId) || this.mineSeen.has(jobId);
  }

  /** The log has lost what was told of all jobs. */
  resetMine(): void {
    this.mineSeen.clear();
    if (this.cursor !== undefined) this.cursor = "";
  }
}
