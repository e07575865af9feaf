// Lists that stand still: what is new waits until it is asked for.

import { useEffect, useState } from "preact/hooks";

/**
 * Holds the rows of a list while what it is made of is read again. `key` says which list; a row keeps its place, and is
 * the latest of its ID. It returns the rows, how many are new, and what shows them.
 */
export function useStill<T>(key: string, latest: readonly T[] | undefined, idOf: (row: T) => string): [rows: readonly T[], news: number, show: () => void] {
  const [held, hold] = useState<{ key: string; rows: readonly T[] }>({ key, rows: [] });
  const show = () => latest && hold({ key, rows: latest });
  const mine = held.key === key && held.rows.length > 0;
  useEffect(() => {
    if (latest && !mine) show(); // nothing is being read yet
  }, [latest, key]);
  if (!latest || !mine) return [mine ? held.rows : (latest ?? []), 0, show];
  const now = new Map(latest.map((row) => [idOf(row), row]));
  const rows = held.rows.map((row) => now.get(idOf(row)) ?? row);
  for (const row of held.rows) now.delete(idOf(row));
  return [rows, now.size, show];
}
