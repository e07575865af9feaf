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
 * When the leader's tab is closed, crashes or is frozen, the other tabs connect again at once, and one of them leads;
 * when it hangs, after 2 seconds. A watch ends at the server when no tab has it any more. Tabs take turns at the
 * server's bound on submits in flight. A tab whose watches would exceed the session's bound uses a session of its own.
 *
 * It needs Web Locks and BroadcastChannel. Where there are none, such as on a page without TLS or in React Native, each
 * tab has a session of its own.
 */
export function tabs({ user, transport: given }: TabsOptions = {}): Transport {
  let alone = false;
  const open: Transport["open"] = (target, events) => {
    const transport = given ?? target.standard;
    const { base, query, token } = target;
    const locks = globalThis.navigator?.locks;
    let who = user;
    try {
      const claims = token && atob(token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/"));
      who ??= claims?.replace(/,?"(exp|iat|nbf|jti)":[^,}]+/g, "") ?? "";
    } catch {
      // It is no JWT.
    }
    if (!locks || alone || who == null) return transport.open(target, events);
    return share(`ackwire ${base}${query} ${who}`, locks, transport, target, events, () => (alone = true));
  };
  return { name: "tabs", open };
}
