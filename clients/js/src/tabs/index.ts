/**
 * A transport for `ackwire` that has all tabs of an origin share one session.
 *
 * @module
 */

import type { Transport } from "../types.js";
import { share } from "./session.js";

/** Options of {@link tabs}. */
export interface TabsOptions {
  /**
   * Whose tabs share a session: tabs that name different users never do. The default is what a JWT says: all its claims
   * but `exp`, `iat`, `nbf` and `jti`. Name the user where your tokens differ between tabs in other claims, or are no
   * JWTs: without a name, tabs with such tokens share nothing. Scripts of the same origin can read the name.
   */
  user?: string;
  /** What the leader's session is opened with. The default is what the client would use without tabs. */
  transport?: Transport;
}

/**
 * Returns a transport by which all tabs of an origin, of one user, share one session:
 * `connect({ url, token, transports: [tabs()] })`. One of the tabs, the leader, holds the session and passes frames on.
 * When the leader's tab is closed, crashes or is frozen, the other tabs connect again at once, and one of them leads.
 * When it hangs, a visible tab that waits for anything takes its place within a second; a hidden one, whose timers are
 * slowed, within 6 seconds or later. A watch ends at the server when no tab has it any more. Tabs take turns at the
 * server's bound on submits in flight. A tab whose watches would exceed the session's bound uses a session of its own.
 * So does one that follows streams of jobs, or lists of them, from the first on.
 * The leader keeps up to 16 MB of statuses for tabs that join a watch. What it has no more is asked for again, in a new
 * session for all tabs.
 *
 * It needs Web Locks and BroadcastChannel. Where there are none, such as on a page without TLS or in React Native, or
 * where the browser forbids them, each tab has a session of its own.
 */
export function tabs({ user, transport: given }: TabsOptions = {}): Transport {
  let alone = false;
  const open: Transport["open"] = (target, events) => {
    const transport = given ?? target.standard;
    const { base, query, token } = target;
    try {
      void addEventListener; // which is missing, and throws, outside of pages and workers
      const { locks } = navigator;
      const claims = token && !user ? atob(token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/")) : "";
      const who = user ?? claims.replace(/,?"(exp|iat|nbf|jti)":[^,}]+/g, "");
      // The name has a version: packages whose tabs say other things to each other share nothing.
      if (locks && !alone) {
        return share(`ackwire 1 ${base}${query} ${who}`, locks, transport, target, events, () => (alone = true));
      }
    } catch {
      // The token is no JWT, or the platform has no channels or pages.
    }
    return transport.open(target, events);
  };
  return { name: "tabs", open };
}
