// The class WebSocket whose only server is one in memory.

import type { Engine } from "./engine.js";
import { ServerSession } from "./session.js";

const bearer = "ackwire.bearer.";

/** Makes the class for an engine. Its events, states and errors are those of the WebSockets standard, for text. */
export function webSocketOf(engine: Engine): typeof WebSocket {
  class MemoryWebSocket extends EventTarget {
    static readonly CONNECTING = 0;
    static readonly OPEN = 1;
    static readonly CLOSING = 2;
    static readonly CLOSED = 3;

    onopen: ((event: Event) => void) | null = null;
    onmessage: ((event: Event) => void) | null = null;
    onerror: ((event: Event) => void) | null = null;
    onclose: ((event: Event) => void) | null = null;
    readyState = 0;
    protocol = "";
    readonly url: string;
    readonly #session: ServerSession;

    constructor(url: string | URL, protocols: string | string[] = []) {
      super();
      this.url = String(url);
      const offered = [protocols].flat();
      const token = offered.find((name) => name.startsWith(bearer))?.slice(bearer.length);
      const stopOpening = engine.after(engine.delay, () => {
        this.readyState = 1;
        this.protocol = "ackwire.v1";
        this.#tell("open");
      });
      this.#session = new ServerSession(engine, ticketed(engine, new URL(url).searchParams.get("ticket")) ?? token, {
        frame: (data) => {
          if (this.readyState === 1) this.#tell("message", { data });
        },
        closed: (code, reason) => {
          stopOpening();
          this.readyState = 3;
          if (code === 1006) this.#tell("error");
          this.#tell("close", { code, reason, wasClean: code !== 1006 });
        },
      });
      if (this.#session.ended) stopOpening();
    }

    #tell(type: "open" | "message" | "error" | "close", members: object = {}): void {
      const event = Object.assign(new Event(type), members);
      this[`on${type}`]?.(event);
      this.dispatchEvent(event);
    }

    send(text: string): void {
      if (this.readyState === 0) throw new DOMException("the socket is connecting", "InvalidStateError");
      if (this.readyState === 1) this.#session.receive(text);
    }

    close(code = 1000, reason = ""): void {
      if (code !== 1000 && (code < 3000 || code > 4999)) {
        throw new DOMException(`${code} is no code that a client may close with`, "InvalidAccessError");
      }
      if (this.readyState > 1) return;
      const opened = this.readyState === 1;
      this.readyState = 2;
      this.#session.leave(opened ? code : 1006, reason);
    }
  }
  return MemoryWebSocket as unknown as typeof WebSocket;
}

/** The token of a ticket, which opens one socket. */
function ticketed(engine: Engine, ticket: string | null): string | undefined {
  if (ticket === null) return undefined;
  const token = engine.tickets.get(ticket);
  return engine.tickets.delete(ticket) ? token : `${ticket} is no ticket`;
}
