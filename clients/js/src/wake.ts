// When to look after the connection at once.

import type { ConnectOptions } from "./types.js";

/**
 * Calls `wake` when the network is back, when the page is seen again or thawed, and when `hook` says so, until the
 * function that it returns is called.
 */
export function wakes(wake: () => void, hook: ConnectOptions["wake"]): () => void {
  const seen = ({ type }: { type: string }) => {
    if (type[0] !== "v" || document.visibilityState === "visible") wake();
  };
  /** Adds the listener, or removes it; those of the document's events hear of them on their way down. */
  const listen = (change: "addEventListener" | "removeEventListener") => {
    for (const name of ["online", "pageshow", "visibilitychange", "resume"]) {
      // As an object: Node does not take off a listener whose capture is a boolean.
      globalThis[change]?.(name, seen as EventListener, { capture: true });
    }
  };
  listen("addEventListener");
  const stop = hook?.(wake);
  return () => {
    listen("removeEventListener");
    stop?.();
  };
}
