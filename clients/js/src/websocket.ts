// The transport that most clients use: a WebSocket.

import { lazy } from "./choose.js";
import { unavailable } from "./errors.js";
import { quote } from "./text.js";
import type { SessionEvents, Transport } from "./types.js";

/**
 * Opens sessions over WebSockets: those of browsers and React Native, and in Node the package `ws`, given to
 * `connect({WebSocket})`.
 *
 * The token travels in a subprotocol. A browser does not tell why a handshake was refused; so after one that failed the
 * token is sent in the first frame, once, whose refusal can be read. With `tickets` the token is sent to
 * POST /v1/ws-tickets only.
 */
export function webSocket(): Transport {
  let failed = false;
  const transport: Transport = {
    name: "websocket",
    open(target, events) {
      const { base, query, token } = target;
      if (token && target.tickets) {
        return lazy("", async () => (await import("./ticket.js")).withTicket(target, transport)).open(target, events);
      }
      const inFrame = failed && token;
      let socket: WebSocket | undefined;
      let over = false;
      failed = true;
      const end: SessionEvents["closed"] = (...end) => {
        if (!over) events.closed(...end);
        over = true;
      };
      try {
        socket = new (target.WebSocket ?? WebSocket)(
          base.replace("http", "ws") + "/v1/ws" + query,
          token && !inFrame ? ["ackwire.v1", "ackwire.bearer." + token] : ["ackwire.v1"],
        );
        socket.onopen = () => {
          if (inFrame) socket!.send(`{"type":"auth","token":${quote(token)}}`);
        };
        socket.onmessage = ({ data }) => {
          failed = false;
          events.frame(data);
        };
        socket.onerror = () => {}; // a close follows
        socket.onclose = ({ code, reason }) => end(code, reason);
      } catch (error) {
        // There is no WebSocket, or the page's security policy forbids it.
        end(1006, "", unavailable("WebSocket", error));
      }
      return {
        send: (text) => socket?.send(text),
        close(code = 1000, reason = "") {
          // A socket whose network has gone tells its end minutes later: its owner is told now.
          end(code, reason);
          // Only these codes may be given by a client (WebSockets standard).
          socket?.close(code > 2999 ? code : 1000, reason);
        },
      };
    },
  };
  return transport;
}
