// Results that React waits for: a promise per job that stays the same from render to render.

import type { Ackwire, Job } from "../types.js";
import { cacheOf } from "./cache.js";

interface Waiting {
  /** Settled: a function that returns the result, or throws the error. */
  end_?: () => any;
  promise_: Promise<void>;
}

const most = 100; // results that are remembered for a client

/** Returns the result of a job, throws its error, or throws the promise that React waits for. */
export function suspend(client: Ackwire, job: string | Job<any>): any {
  const handle = typeof job === "string" ? client.job(job) : job;
  const { id } = handle;
  const results = cacheOf<Waiting>(client);
  let result = results.get(id);
  if (!result) {
    const begun: Waiting = (result = {
      promise_: handle.result().then(
        (value) => { begun.end_ = () => value; },
        (error) => {
          begun.end_ = () => {
            results.delete(id); // a boundary that is reset asks again: the job may have been opened again
            throw error;
          };
        },
      ),
    });
    results.set(id, begun);
    for (const [old, { end_ }] of results) if (results.size > most && end_) results.delete(old);
  }
  if (result.end_) return result.end_();
  throw result.promise_;
}
