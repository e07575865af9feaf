// What follows a stream for a component. Loaded when the first stream is shown.

import { maxWeight, weigh } from "../weigh.js";
import type { StreamSnapshot, StreamStore } from "./stream.js";

/** Calls a function once when the page is drawn next, or soon where nothing is drawn; returns what prevents it. */
function drawn(run: () => void): () => void {
  if (typeof requestAnimationFrame === "function") {
    const frame = requestAnimationFrame(run);
    return () => cancelAnimationFrame(frame);
  }
  const timer = setTimeout(run, 16);
  return () => clearTimeout(timer);
}

const kept = (maxWeight / 4) * 3; // of what is too much, so that it is not cut with every piece

/** A text without its beginning if it is too long; its first character is whole. */
const lastOf = (text: string): string =>
  text.length > maxWeight ? text.slice(-kept).replace(/^[\udc00-\udfff]/, "") : text;

/** Follows a store's stream up to its end; shows what has come at most once for each time that the page is drawn. */
export async function follow(store: StreamStore, signal: AbortSignal): Promise<void> {
  const { job_, name_, after_, value_ } = store;
  if (value_.end || signal.aborted) return;
  let { text, cut } = value_;
  let items = [...value_.items];
  let weights = items.map(weigh);
  let weight = weights.reduce((sum, more) => sum + more, 0);
  let shown: readonly unknown[] | undefined = value_.items; // undefined: items have changed since
  let cursor = after_;
  let stop: (() => void) | undefined;
  const show = (change?: Partial<StreamSnapshot>) => {
    stop?.();
    stop = undefined;
    if (signal.aborted) return;
    store.after_ = cursor;
    store.set_({ text, items: (shown ??= [...items]), cut, end: false, error: undefined, ...change });
  };
  const end = () => stop?.();
  signal.addEventListener("abort", end);
  try {
    for await (const chunk of job_.stream(name_, { chunks: true, signal, ...(cursor && { after: cursor }) })) {
      if (chunk.reset) {
        text = "";
        items = [];
        shown = undefined;
        weights = [];
        weight = 0;
        cut = false;
        show(); // nobody is to see items of both runs
      }
      for (const item of chunk.items ?? []) {
        items.push(item);
        shown = undefined;
        weight += weights[weights.push(weigh(item)) - 1]!;
      }
      let gone = 0;
      if (weight > maxWeight) while (weight > kept && gone < items.length - 1) weight -= weights[gone++]!;
      if (gone) {
        items.splice(0, gone);
        weights.splice(0, gone);
      }
      const longer = text + (chunk.text ?? "");
      text = lastOf(longer);
      cut ||= gone > 0 || text.length < longer.length;
      cursor = { run: chunk.run, at: chunk.at };
      stop ??= drawn(() => show());
    }
    show({ end: true });
  } catch (error) {
    show({ error: error as never });
  } finally {
    signal.removeEventListener("abort", end);
  }
}
