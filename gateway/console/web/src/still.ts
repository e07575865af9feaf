// Lists that stand still: what is new waits until it is asked for.

import { useEffect, useRef, useState } from "preact/hooks";

export interface Still<T> {
  /** The rows that are shown, by their IDs, each as it is known last. */
  rows: Map<string, T>;
  /** How many rows are not shown yet. */
  news: number;
  /** Shows them, and no longer what has left the list. */
  show(): void;
}

/** Holds the rows of a list while what it is made of changes. `key` says which list; a row keeps its place. */
export function useStill<T>(key: string, latest: readonly T[] | undefined, idOf: (row: T) => string): Still<T> {
  const [held, hold] = useState<{ key: string; ids: string[] }>({ key, ids: [] });
  const known = useRef(new Map<string, T>());
  const now = new Map(latest?.map((row) => [idOf(row), row]));
  const all = [...now.keys()];
  const mine = held.key === key && held.ids.length > 0;
  known.current = new Map((mine ? held.ids : all).map((id) => [id, now.get(id) ?? known.current.get(id)!]));
  const show = () => hold({ key, ids: all });
  useEffect(() => {
    if (latest && !mine) show(); // nothing is being read yet
  }, [latest, key]);
  return { rows: known.current, news: all.filter((id) => !known.current.has(id)).length, show };
}
