// When to look after the connection at once.

import type { ConnectOptions } from "./types.js";

/**
 * Calls `wake` when the network is back, when the page is seen again or thawed, and when `hook` says so, until the
 * function that it returns is called.
 */
export function wakes(wake: () => void, hook: ConnectOptions["wake"]): () => void {
  const { document } = globalThis as { document?: Document };
  const seen = () => {
    if (document!.visibilityState === "visible") wake();
  };
  const events: [EventTarget | undefined, string, () => void][] = [
    [globalThis as unknown as EventTarget, "online", wake],
    [globalThis as unknown as EventTarget, "pageshow", wake],
    [document, "visibilitychange", seen],
    [document, "resume", wake],
  ];
  for (const [target, name, listener] of events) target?.addEventListener?.(name, listener);
  const stop = hook?.(wake);
  return () => {
    for (const [target, name, listener] of events) target?.removeEventListener?.(name, listener);
    stop?.();
  };
}
