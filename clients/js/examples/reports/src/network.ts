// A network with a switch: while it is cut, sessions end, none can be opened, and every HTTP request fails.

import type { Session, Store, Transport } from "ackwire";

/** The switch, and what `connect` needs to go through it. */
export interface Network extends Store<boolean> {
  /** Cuts the network, or restores it. */
  toggle(): void;
  /** Puts the switch in front of a transport. */
  through(transport: Transport): Transport;
  readonly fetch: typeof fetch;
  /** Tells the client when the network is back, as the browser's `online` event does for a real one. */
  wake(wake: () => void): () => void;
}

export function createNetwork(): Network {
  const sessions = new Set<Session>();
  const listeners = new Set<() => void>();
  let works = true;

  const subscribe = (changed: () => void) => {
    listeners.add(changed);
    return () => void listeners.delete(changed);
  };

  return {
    subscribe,
    snapshot: () => works,
    toggle() {
      works = !works;
      if (!works) for (const session of [...sessions]) session.close(1006, "the network is cut");
      for (const changed of [...listeners]) changed();
    },
    through: (transport) => ({
      get name() {
        return transport.name;
      },
      open(target, events) {
        if (!works) {
          queueMicrotask(() => events.closed(1006, "the network is cut"));
          return { send() {}, close() {} };
        }
        const session = transport.open(target, {
          ...events,
          closed(...why) {
            sessions.delete(session);
            events.closed(...why);
          },
        });
        sessions.add(session);
        return session;
      },
    }),
    fetch: (input, init) => (works ? fetch(input, init) : Promise.reject(new TypeError("the network is cut"))),
    wake: (wake) => subscribe(() => works && wake()),
  };
}
