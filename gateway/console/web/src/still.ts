// Lists that stand still: what is new waits until it is asked for.

import { useRef, useState } from "preact/hooks";

export interface Still<T> {
  /** The rows that are shown, by their IDs, each as it is known last. */
  rows: Map<string, T>;
  /** How many rows are not shown yet. */
  news: number;
  /** Shows them, and no longer what has left the list. */
  show(): void;
}

/**
 * Holds the rows of a list while what it is made of changes. `key` says which list; a row keeps its place. A list of
 * which nothing is shown yet takes what comes at once.
 */
export function useStill<T>(key: string, latest: readonly T[] | undefined, idOf: (row: T) => string): Still<T> {
  const held = useRef({ key, rows: new Map<string, T>() });
  const [, render] = useState(0);
  if (held.current.key !== key) held.current = { key, rows: new Map() };
  const { rows } = held.current;
  const empty = !rows.size;
  const now = new Map<string, T>();
  let news = 0;
  for (const row of latest ?? []) {
    const id = idOf(row);
    now.set(id, row);
    if (empty || rows.has(id)) rows.set(id, row);
    else news++;
  }
  const show = () => {
    held.current = { key, rows: now };
    render((n) => n + 1);
  };
  return { rows, news, show };
}
