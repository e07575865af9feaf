// Orders to jobs: to one, or to many at once with a bounded number in flight.

import { ask, Refused, told } from "./api.js";
import type { Order } from "./permit.js";
import { notify } from "./components/Toasts.js";

const together = 6; // orders in flight

const path = (id: string) => "/v1/jobs/" + encodeURIComponent(id);

export async function give(order: Order, id: string): Promise<void> {
  await ask(path(id) + (order === "erase" ? "" : "/" + order), { method: order === "erase" ? "DELETE" : "POST" });
}

const done: Record<Order, string> = { cancel: "asked to stop", retry: "run again", erase: "erased" };

/** Gives an order to jobs and says what came of it. Returns the jobs that took it. */
export async function giveAll(order: Order, ids: readonly string[]): Promise<string[]> {
  const took: string[] = [];
  const failed = new Map<string, number>();
  const rest = [...ids];
  const work = async () => {
    for (let id = rest.shift(); id !== undefined; id = rest.shift()) {
      try {
        await give(order, id);
        took.push(id);
      } catch (error) {
        const why = error instanceof Refused && error.code === "invalid_state" ? "their state does not allow it" : told(error);
        failed.set(why, (failed.get(why) ?? 0) + 1);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(together, ids.length) }, work));
  const jobs = (n: number) => (n === 1 ? "1 job" : `${n} jobs`);
  const parts = [...failed].map(([why, n]) => (ids.length === 1 ? why : `${jobs(n)} not: ${why}`));
  if (took.length) parts.unshift(`${jobs(took.length)} ${took.length === 1 ? "was" : "were"} ${done[order]}`);
  notify(parts.join(". ") + ".", failed.size > 0);
  return took;
}
