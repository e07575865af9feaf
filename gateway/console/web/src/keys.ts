// The keyboard: what each key does on the page that is shown.

import { useLayoutEffect } from "preact/hooks";
import { up } from "./router.js";

type Keys = Record<string, (event: KeyboardEvent) => void>;
const stack: Keys[] = [];

addEventListener("keydown", (event) => {
  const at = event.target as HTMLElement | null;
  const typing = !!at?.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("dialog[open]")) return; // a dialog has its own keys
  if (typing) {
    if (event.key === "Escape") {
      event.preventDefault(); // a search field would be emptied
      at!.blur();
    }
    return;
  }
  // A focused link, button or field handles Enter and the space bar itself.
  if ((event.key === "Enter" || event.key === " ") && at?.closest("a, button, summary, input")) return;
  for (const keys of [...stack].reverse()) {
    const act = keys[event.key];
    if (!act) continue;
    event.preventDefault();
    act(event);
    return;
  }
  if (event.key === "Escape") up();
});

/** Moves the keyboard's focus to another row of the page's tables. */
export function walk(by: number): void {
  const rows = [...document.querySelectorAll<HTMLElement>("main tbody tr")];
  const row = rows[Math.max(0, Math.min(rows.length - 1, rows.findIndex((r) => r.classList.contains("current")) + by))];
  (row?.querySelector("a") ?? row)?.focus({ preventScroll: true });
  row?.scrollIntoView({ block: "nearest" });
}

/** Binds keys while the component is mounted. They are up to date before the next key can come. */
export function useKeys(keys: Keys): void {
  useLayoutEffect(() => {
    stack.push(keys);
    return () => {
      stack.splice(stack.lastIndexOf(keys), 1);
    };
  });
}
