// Results that React waits for: a promise per job that stays the same from render to render.

import { now, positive } from "../time.js";
import type { Ackwire, Job } from "../types.js";
import { maxWeight, weigh } from "../weigh.js";
import { cacheOf } from "./cache.js";

interface Waiting {
  /** Settled: a function that returns the result, or throws the error. */
  end_?: () => any;
  promise_: Promise<void>;
  weight_: number;
  used_: number;
}

const most = 100; // results that are remembered for a client; a lighter one counts as a hundredth of maxWeight
// Milliseconds for which a result that was used is kept: React renders a tree that waits for several again and again.
const fresh = 10_000;

/** Returns the result of a job, throws its error, or throws the promise that React waits for. */
export function suspend(client: Ackwire, job: string | Job<any>): any {
  const handle = typeof job === "string" ? client.job(job) : job;
  const { id } = handle;
  const results = cacheOf<Waiting>(client);
  let result = results.get(id);
  if (!result) {
    let room = maxWeight;
    for (const [old, { end_, weight_, used_ }] of [...results].reverse()) {
      room -= weight_;
      if (room < 0 && end_ && now() > used_ + fresh) results.delete(old);
    }
    const begun: Waiting = (result = {
      weight_: maxWeight / most,
      used_: 0,
      promise_: handle.result().then(
        (value: any) => {
          begun.weight_ = Math.max(begun.weight_, weigh(value) + positive(value?.size, 0)); // a Blob has its bytes
          begun.end_ = () => value;
        },
        (error) => {
          begun.end_ = () => {
            results.delete(id); // a boundary that is reset asks again: the job may have been opened again
            throw error;
          };
        },
      ),
    });
    results.set(id, begun);
  }
  result.used_ = now();
  if (result.end_) return result.end_();
  throw result.promise_;
}
