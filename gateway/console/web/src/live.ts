// What is read again and again, and jobs that are watched.

import type { Job, Status } from "ackwire";
import { useEffect, useRef, useState } from "preact/hooks";
import { clientNow } from "./api.js";
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
