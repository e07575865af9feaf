// What is read again and again, jobs that are watched, and lists that are followed.

import type { Job, Status } from "ackwire";
import { watchList } from "ackwire/operate";
import { useEffect, useRef, useState } from "preact/hooks";
import { clientNow, read, trouble } from "./api.js";
import { filterOf, pageSize } from "./filter.js";
import { useStore } from "./state.js";

export interface Polled<T> {
  data: T | undefined;
  error: unknown;
  again(): void;
}

/**
 * Reads something now and every so many milliseconds while the page is seen; less often while it fails. What was read
 * last stays while `key` is the same. Without `every` it is read once, and again while it fails.
 */
export function usePoll<T>(key: string, every: number | undefined, ask: (signal: AbortSignal) => Promise<T>): Polled<T> {
  const [state, set] = useState<{ key: string; data: T | undefined; error: unknown }>({ key, data: undefined, error: undefined });
  const asked = useRef(ask);
  asked.current = ask;
  const again = useRef(() => {});
  useEffect(() => {
    const end = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let busy = false;
    let fails = 0;
    const next = (ms: number | undefined) => {
      clearTimeout(timer);
      if (ms !== undefined && !end.signal.aborted) timer = setTimeout(run, ms);
    };
    const run = async () => {
      if (document.hidden) return next(every ?? 1000);
      if (busy) return;
      busy = true;
      try {
        const data = await asked.current(end.signal);
        fails = 0;
        if (!end.signal.aborted) set({ key, data, error: undefined });
      } catch (error) {
        fails++;
        if (!end.signal.aborted) set((was) => ({ key, data: was.key === key ? was.data : undefined, error }));
      }
      busy = false;
      next(fails ? Math.min(1000 * 2 ** (fails - 1), 5000) : every);
    };
    const seen = () => {
      if (!document.hidden) void run();
    };
    again.current = () => void run();
    addEventListener("visibilitychange", seen);
    void run();
    return () => {
      end.abort();
      clearTimeout(timer);
      removeEventListener("visibilitychange", seen);
    };
  }, [key, every]);
  const same = state.key === key;
  return { data: same ? state.data : undefined, error: same ? state.error : undefined, again: () => again.current() };
}

const nobody = { subscribe: () => () => {} };

/** The latest document of a job, by the socket; undefined before the first, and without an ID. */
export function useWatched(id: string | undefined): Status | undefined {
  const job = useRef<{ id: string | undefined; handle: Job | undefined }>({ id: undefined, handle: undefined });
  if (job.current.id !== id) job.current = { id, handle: id === undefined ? undefined : clientNow().job(id) };
  const { handle } = job.current;
  return useStore(handle ?? nobody, () => handle?.snapshot())?.status;
}

/** A job of a list. */
export type Listed = Omit<Status, "version">;

/** A page of the list of jobs, the newest first. */
export interface JobPage {
  jobs: Listed[];
  nextCursor?: string | undefined;
}

interface Followed extends JobPage {
  of: string;
  /** It is no longer what a listing has: jobs went out of it at its end, or it has room for older ones. */
  old?: boolean;
}

const created = (job: { createdAt: string }) => Date.parse(job.createdAt);

/** A followed page with what was told of it. Jobs that are older than its last one are not of the page. */
function withChanges(page: Followed, jobs: readonly Status[], left: readonly string[]): Followed {
  const rows = new Map(page.jobs.map((job) => [job.jobId, job]));
  const had = rows.size;
  const oldest = page.nextCursor ? Math.min(...page.jobs.map(created)) : -Infinity;
  let news = left.filter((id) => rows.delete(id)).length;
  for (const job of jobs) {
    if (!rows.has(job.jobId) && created(job) < oldest) continue;
    rows.set(job.jobId, job);
    news++;
  }
  if (!news) return page;
  const all = [...rows.values()].sort((a, b) => created(b) - created(a) || (a.jobId < b.jobId ? -1 : 1));
  return { ...page, jobs: all.slice(0, pageSize), old: page.old || all.length > pageSize || (all.length < had && !!page.nextCursor) };
}

/**
 * A page of the list of jobs. The first page is followed by the socket; a page behind a cursor, and each where the
 * socket is refused or away, is read every two seconds. `live` is whether it is followed now.
 */
export function useList(asked: string): Polled<JobPage> & { live: boolean } {
  const client = clientNow();
  const followed = useRef<Followed | undefined>(undefined);
  const [, render] = useState(0);
  const [turn, restart] = useState(0);
  const now = () => (followed.current?.of === asked ? followed.current : undefined);
  useEffect(() => {
    if (new URLSearchParams(asked).has("cursor")) return;
    const end = new AbortController();
    const follow = async () => {
      try {
        for await (const { listed, jobs, left, nextCursor } of watchList(client, { ...filterOf(asked), limit: pageSize, signal: end.signal })) {
          const was = now();
          const next = listed || !was ? { of: asked, jobs, nextCursor } : withChanges(was, jobs, left);
          if (next === was) continue;
          followed.current = next;
          render((n) => n + 1);
        }
      } catch {
        // What is read instead says why, if it fails too.
        if (!end.signal.aborted) followed.current = undefined;
      }
    };
    void follow();
    return () => end.abort();
  }, [asked, turn, client]);
  const live = () => (client.connection.snapshot().state === "open" ? now() : undefined);
  const looks = useRef(0);
  const polled = usePoll<JobPage>("jobs?" + asked, 2000, async (signal) => {
    const page = live();
    if (page?.old) {
      page.old = false;
      restart((n) => n + 1);
    }
    // A page that is followed is still read now and then: a tracker that is away is silent on the socket.
    return page && !trouble.get() && looks.current++ % 5 ? page : read("/v1/jobs?" + asked, signal);
  });
  const page = live();
  return { ...polled, ...(page && { data: page }), live: !!page };
}
