// A value that changes, with those that want to know.

import type { Store } from "./types.js";

/** Calls a function of the user; what it throws becomes an unhandled rejection and stops nothing here. */
export function tell(listener: () => void): void {
  try {
    listener();
  } catch (error) {
    void Promise.reject(error);
  }
}

/** A {@link Store} whose owner sets its value. Its methods work without `this`. */
export class Value<S> implements Store<S> {
  value_: S;
  listeners_ = new Set<() => void>();

  constructor(value: S) {
    this.value_ = value;
  }

  snapshot = (): S => this.value_;

  subscribe = (changed: () => void): (() => void) => {
    const listener = () => changed(); // the same function may subscribe twice
    if (!this.listeners_.size) this.first_?.();
    this.listeners_.add(listener);
    return () => {
      if (this.listeners_.delete(listener) && !this.listeners_.size) this.none_?.();
    };
  };

  set_(value: S): void {
    this.value_ = value;
    for (const listener of [...this.listeners_]) tell(listener);
  }

  /** Called before the first listener is there. */
  first_?(): void;
  /** Called when the last listener has gone. */
  none_?(): void;
}
