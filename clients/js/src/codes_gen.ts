// Code generated from schemas/code/codes.json and schemas/frame by schemas/code/internal/gen; DO NOT EDIT.

/** The types of the frames that a client sends. */
export type ClientFrameType =
  | "auth" | "submit" | "submitBatch" | "subscribe" | "unsubscribe" | "cancel" | "retry" | "watchList"
  | "unwatchList" | "ping";

/** The types of the frames that a server sends; a later server may know more. */
export type ServerFrameType =
  | "welcome" | "ack" | "acks" | "subscribed" | "unsubscribed" | "status" | "chunk" | "error" | "goaway" | "expiring"
  | "cursor" | "pong" | "listWatched" | "listUnwatched" | "listChanged";

/** The codes of errors; a later server may know more. */
export type ErrorCode =
  | "invalid_frame" | "unknown_frame" | "validation_failed" | "unknown_job_type" | "payload_too_large" | "headers_too_large"
  | "unauthenticated" | "forbidden" | "not_found" | "method_not_allowed" | "unsupported_media_type" | "upgrade_required"
  | "invalid_state" | "idempotency_key_reused" | "invalid_offset" | "stream_reset" | "stream_gone" | "payload_gone"
  | "rate_limited" | "limit_exceeded" | "overloaded" | "unavailable" | "indeterminate" | "internal";

// The close codes of WebSockets (RFC 6455 section 7.4) that the server sends.
/** The server stops, or the client leaves. */
export const closeGoingAway = 1001;
/** A frame that breaks RFC 6455: reserved bits or opcodes, no mask, a broken control frame or close code; or a compressed one that does not inflate (RFC 7692). */
export const closeWebsocketViolation = 1002;
/** A binary frame; only text frames are taken. */
export const closeUnsupportedData = 1003;
/** A text frame that is not UTF-8. */
export const closeInvalidUTF8 = 1007;
/** The client breaks a rule that has no code of its own: more frames or pings than it may send, or a message that takes too long to come. */
export const closePolicyViolation = 1008;
/** A frame above the frame limit; a compressed one counts inflated. */
export const closeMessageTooBig = 1009;
/** A bug; the cause is in the server's log. */
export const closeInternalError = 1011;
/** The gateway drains; goaway said when to come back. */
export const closeServiceRestart = 1012;
/** The gateway is overloaded. */
export const closeTryAgainLater = 1013;
/** The client did not read what it was sent. */
export const closeSlowConsumer = 4000;
/** The client did not answer pings. */
export const closePingTimeout = 4001;
/** The token ran out on an open socket; come back with a new one. */
export const closeTokenExpired = 4002;
/** The token in an auth frame was refused. */
export const closeUnauthenticated = 4500;
/** No auth frame came in time. */
export const closeAuthTimeout = 4501;
/** The first frame was not auth though the handshake carried no token, or too many broken frames came. */
export const closeProtocolError = 4502;
/** The subject has as many sessions as it may have. */
export const closeSessionLimit = 4503;

/** Whether a client that was closed with this code comes back by itself: by the table, else by the code's range. */
export const reconnects = (close: number): boolean => close < 4500 && ![1002, 1003, 1007, 1008, 1009].includes(close);
