// Values that change, with those that show them.

import { useEffect, useState } from "preact/hooks";

/** A value that changes. */
export class Cell<T> {
  private readonly listeners = new Set<() => void>();
  constructor(private value: T) {}

  get(): T {
    return this.value;
  }

  set(value: T): void {
    if (Object.is(value, this.value)) return;
    this.value = value;
    for (const changed of [...this.listeners]) changed();
  }

  subscribe(changed: () => void): () => void {
    this.listeners.add(changed);
    return () => this.listeners.delete(changed);
  }
}

/** Renders anew with each change of a store, and returns its value. */
export function useStore<T>(store: { subscribe(changed: () => void): () => void }, read: () => T): T {
  const [, render] = useState(0);
  const value = read();
  useEffect(() => {
    const changed = () => render((n) => n + 1);
    const stop = store.subscribe(changed);
    if (!Object.is(read(), value)) changed(); // it changed between the rendering and now
    return stop;
  }, [store]);
  return value;
}

export const useCell = <T>(cell: Cell<T>): T => useStore(cell, () => cell.get());

/** A cell that outlives the page, as JSON in localStorage; what cannot be read or kept there is as if it were not. */
export function kept<T>(name: string, initial: T, sound: (value: unknown) => value is T): Cell<T> {
  const key = "ackwire-console." + name;
  let value = initial;
  try {
    const had: unknown = JSON.parse(localStorage.getItem(key) ?? "null");
    if (sound(had)) value = had;
  } catch {
    // No storage, or somebody else's text in it.
  }
  const cell = new Cell(value);
  cell.subscribe(() => {
    try {
      localStorage.setItem(key, JSON.stringify(cell.get()));
    } catch {
      // It is kept for as long as the page is open.
    }
  });
  return cell;
}
