// A table whose rows the keyboard walks, opens and chooses.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useKeys, walk } from "../keys.js";
import { back, go } from "../router.js";

export interface Column<T> {
  title: string;
  style?: string;
  cell(row: T): ComponentChildren;
}

/** The rows that are chosen. */
export interface Choice {
  ids: ReadonlySet<string>;
  set(ids: ReadonlySet<string>): void;
}

/** Holds what is chosen of a list; another list has nothing chosen. */
export function useChoice(list: string): Choice {
  const [ids, set] = useState<ReadonlySet<string>>(new Set());
  useEffect(() => set(new Set()), [list]);
  return { ids, set };
}

interface Props<T> {
  rows: readonly T[];
  id(row: T): string;
  columns: readonly Column<T>[];
  label: string;
  style?: string;
  /** What a row is called, where it can be chosen. */
  what?: string;
  choice?: Choice;
  /** The page of a row, where it has one. */
  to?(row: T): string;
  /** Where Escape leads, when nothing is chosen. */
  up: string;
}

export function Table<T>({ rows, id, columns, label, style = "", what, choice, to, up }: Props<T>) {
  const [at, move] = useState(-1);
  const toggle = (name: string) => {
    const next = new Set(choice!.ids);
    if (!next.delete(name)) next.add(name);
    choice!.set(next);
  };
  useKeys({
    j: () => walk(1), k: () => walk(-1), x: () => choice && rows[at] && toggle(id(rows[at])),
    Enter: () => to && rows[at] && go(to(rows[at])), Escape: () => (choice?.ids.size ? choice.set(new Set()) : back(up)),
  });
  const all = rows.every((row) => choice?.ids.has(id(row)));
  return (
    <div class="scroll box" tabIndex={0} role="group" aria-label={label}><table class={"rows " + style}>
      <thead><tr>
        {choice && <th class="pick"><input type="checkbox" aria-label={`Choose all ${what}s of this page`} checked={all}
          onChange={() => choice.set(all ? new Set() : new Set(rows.map(id)))} /></th>}
        {columns.map((c) => <th key={c.title} scope="col" class={c.style}>{c.title}</th>)}
      </tr></thead>
      <tbody onBlurCapture={(event) => (event.relatedTarget as Element | null)?.closest("tr") && move(-1)}>{rows.map((row, i) => {
        const name = id(row);
        const on = choice?.ids.has(name);
        return (
          <tr key={name} tabIndex={-1} class={`${i === at ? "current" : ""}${on ? " chosen" : ""}`} onFocusCapture={() => move(i)}>
            {choice && <td class="pick"><label><input type="checkbox" checked={on} onChange={() => toggle(name)} aria-label={"Choose " + name} /></label></td>}
            {columns.map((c) => <td key={c.title} class={c.style}>{c.cell(row)}</td>)}
          </tr>
        );
      })}</tbody>
    </table></div>
  );
}
