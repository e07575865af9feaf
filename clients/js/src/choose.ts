// Which transport a client uses: the first that works, of several in order of preference.

import type { Session, Transport } from "./types.js";

/** Stands in the goaway frame of a transport that has found that the first one works again. */
export const better = '"reason":"better_transport"';

/**
 * A transport that opens sessions by the first of `transports` that works. It goes on to the next one after 2 sessions
 * in a row that ended before their first frame, 10 where the transport has worked before; after the last one it begins
 * again, as it does after a `goaway` frame whose reason is `better_transport`.
 */
export function choose(transports: readonly Transport[]): Transport {
  const worked = new Set<Transport>();
  let at = 0;
  let failures = 0;
  return {
    get name() {
      return transports[at]!.name;
    },
    open(target, events) {
      const used = transports[at]!;
      const began = Date.now();
      let opened = false;
      let left = false;
      const session = used.open({ ...target, preferred: transports[0]! }, {
        frame(text) {
          if (!opened) failures = 0;
          opened = true;
          worked.add(used);
          if (text.includes(better)) at = 0;
          events.frame(text);
        },
        closed(code, reason, error) {
          // A client that changes its mind at once has learnt nothing of the transport.
          if (!opened && !(left && Date.now() - began < 4000) && ++failures >= (worked.has(used) ? 10 : 2)) {
            failures = 0;
            at = (at + 1) % transports.length;
          }
          events.closed(code, reason, error);
        },
      });
      return {
        send: (text) => session.send(text),
        close(code, reason) {
          left = true;
          session.close(code, reason);
        },
      };
    },
  };
}

/** A transport whose code is loaded when its first session is opened. A load that fails is a session that ends (1006). */
export function lazy(name: string, load: () => Promise<Transport>): Transport {
  return {
    name,
    open(target, events) {
      let session: Session | undefined;
      let over = false;
      const close = (code = 1000, reason = "") => {
        if (session) return session.close(code, reason);
        if (!over) events.closed(code, reason);
        over = true;
      };
      load().then(
        (transport) => {
          if (!over) session = transport.open(target, events);
        },
        () => close(1006),
      );
      return { send: (text) => session?.send(text), close };
    },
  };
}
