// Short messages about what the user has done, told to screen readers too.

import { Cell, useCell } from "../state.js";

interface Toast {
  n: number;
  text: string;
  bad: boolean;
}

const toasts = new Cell<readonly Toast[]>([]);
let made = 0;

/** Shows a message for some seconds; longer when something failed. */
export function notify(text: string, bad = false): void {
  const toast = { n: ++made, text, bad };
  toasts.set([...toasts.get().slice(-2), toast]);
  setTimeout(() => drop(toast.n), bad ? 10_000 : 4000);
}

const drop = (n: number) => toasts.set(toasts.get().filter((t) => t.n !== n));

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {useCell(toasts).map((t) => (
        <div key={t.n} class={t.bad ? "toast bad" : "toast"}>
          <span>{t.text}</span>
          <button class="quiet" aria-label="Dismiss" onClick={() => drop(t.n)}>✕</button>
        </div>
      ))}
    </div>
  );
}
