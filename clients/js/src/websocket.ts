// The transport that most clients use: a WebSocket.

import { unavailable } from "./errors.js";
import { quote } from "./text.js";
import type { Session, SessionEvents, Target, Transport } from "./types.js";

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
  return {
    name: "websocket",
    open(target, events) {
      const inFrame = failed && target.token !== undefined && !target.tickets;
      failed = true;
      return open(target, inFrame, {
        ...events,
        frame(text) {
          failed = false;
          events.frame(text);
        },
      });
    },
  };
}

function open(target: Target, inFrame: boolean, events: SessionEvents): Session {
  const { base, query, token, tickets } = target;
  const WebSocket = target.WebSocket ?? globalThis.WebSocket;
  let socket: WebSocket | undefined;
  let over = false;
  const end: SessionEvents["closed"] = (code, reason, error) => {
    if (over) return;
    over = true;
    events.closed(code, reason, error);
  };
  const dial = (search: string) => {
    if (over) return;
    const protocols = ["ackwire.v1"];
    if (token && !inFrame && !tickets) protocols.push("ackwire.bearer." + token);
    try {
      socket = new WebSocket(base.replace("http", "ws") + "/v1/ws" + search, protocols);
    } catch (error) {
      // There is no WebSocket, or the page's security policy forbids it.
      end(1006, "", unavailable("WebSocket", error));
      return;
    }
    socket.onopen = () => {
      if (inFrame) socket!.send(`{"type":"auth","token":${quote(token)}}`);
    };
    socket.onmessage = ({ data }) => events.frame(data);
    socket.onerror = () => {}; // a close follows
    socket.onclose = ({ code, reason }) => end(code, reason);
  };
  if (token && tickets) {
    import("./ticket.js").then(({ ticket }) => ticket(target)).then(
      (ticket) => dial((query ? query + "&" : "?") + "ticket=" + encodeURIComponent(ticket)),
      (error) => end(1006, "", error.code ? error : unavailable("the code for tickets", error)),
    );
  } else {
    dial(query);
  }
  return {
    send: (text) => socket?.send(text),
    close(code = 1000, reason = "") {
      // A socket whose network has gone tells its end minutes later: its owner is told now.
      end(code, reason);
      // Only these codes may be given by a client (WebSockets standard).
      socket?.close(code === 1000 || code > 2999 ? code : 1000, reason);
    },
  };
}
