// Which transport a client uses: the first that works, of several in order of preference.

import { unavailable } from "./errors.js";
import type { Session, SessionEvents, Transport } from "./types.js";

/** Stands in the goaway frame of a transport that has found that the first one works again. */
export const better = '"reason":"better_transport"';

/**
 * A transport that opens sessions by the first of `transports` that works. It goes on to the next one after 2 sessions
 * in a row that ended before their first frame, 10 where a session was open before; after the last one it begins again,
 * as it does after a `goaway` frame whose reason is `better_transport`. A session that its owner ends with 1000 does not
 * count.
 */
export function choose(transports: readonly Transport[]): Transport {
  let at = 0;
  let failures = 0;
  let worked = false; // the one in use
  return {
    get name() {
      return transports[at]!.name;
    },
    open(target, events) {
      let opened = false;
      return transports[at]!.open({ ...target, preferred: transports[0]! }, {
        frame(text) {
          if (!opened) failures = 0;
          opened = worked = true;
          if (at && text.includes(better)) at = 0;
          events.frame(text);
        },
        closed(...end) {
          if (!opened && end[0] !== 1000 && ++failures >= (worked ? 10 : 2)) {
            failures = 0;
            worked = false;
            at = (at + 1) % transports.length;
          }
          events.closed(...end);
        },
      });
    },
  };
}

/**
 * A transport that is had from `load` whenever a session is opened. A load that fails is a session that ends (1006), with
 * its error.
 */
export function lazy(name: string, load: () => Promise<Transport>): Transport {
  return {
    name,
    open(target, events) {
      let session: Session | undefined;
      let over = false;
      const end: SessionEvents["closed"] = (...end) => {
        if (!over) events.closed(...end);
        over = true;
      };
      load().then(
        (transport) => {
          if (!over) session = transport.open(target, events);
        },
        (error) => end(1006, "", unavailable("import", error)),
      );
      return {
        send: (text) => session?.send(text),
        close(code = 1000, reason = "") {
          if (session) session.close(code, reason);
          else end(code, reason);
        },
      };
    },
  };
}
