// Orders to all jobs that match a filter: they are counted, the user agrees to the number, and a job of its own does it.

import { confirm } from "./components/Confirm.js";
import { notify } from "./components/Toasts.js";
import { Refused, send, told } from "./api.js";
import type { Order } from "./permit.js";
import { filterOf } from "./filter.js";
import { go } from "./router.js";
import { count, visible } from "./text.js";

interface Answer {
  count: number;
  examples: string[];
  jobId?: string;
}

/** Counts what matches, asks the user, and gives the order; then the page of its job is shown. */
export async function orderAll(action: Order, query: string, words: { verb: string; detail: string }): Promise<void> {
  const ask = { action, filter: filterOf(query) };
  const failed = (error: unknown) => {
    if (!(error instanceof Refused)) return notify(told(error) + ".", true);
    if (error.code === "count_differs") return void orderAll(action, query, words); // it is counted and asked for again
    notify(error.status === 404 ? "This gateway takes no bulk actions." : told(error) + ".", true);
  };
  try {
    const { count: n, examples } = await send<Answer>("/v1/bulk", { ...ask, preview: true });
    const jobs = n === 1 ? "1 job" : `${count(n)} jobs`;
    if (!n) return notify(`No job that matches can be ${action === "cancel" ? "cancelled" : action === "erase" ? "erased" : "run again"}.`);
    const key = crypto.getRandomValues(new Uint32Array(4)).join("-"); // an order that is sent twice is one order
    confirm({
      text: `${words.verb} all ${jobs} that match?`,
      detail: `${words.detail} The newest of them: ${examples.slice(0, 3).map(visible).join(", ")}. It is a job of its own, which can be followed and cancelled.`,
      yes: `${words.verb} ${jobs}`,
      act: () => void send<Answer>("/v1/bulk", { ...ask, expect: n }, { "Idempotency-Key": key }).then(({ jobId }) => go("jobs/" + jobId), failed),
    });
  } catch (error) {
    failed(error);
  }
}
