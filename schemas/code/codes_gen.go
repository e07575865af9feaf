// Code generated from codes.json by internal/gen; DO NOT EDIT.

package code

// The error codes.
const (
	// InvalidFrame (HTTP 400): Not one JSON object, or a field is missing, of the wrong type or too long.
	InvalidFrame Code = "invalid_frame"
	// UnknownFrame (HTTP 400): The frame's type is not one that a client may send.
	UnknownFrame Code = "unknown_frame"
	// ValidationFailed (HTTP 422): The payload does not fit the job type's schema, or has duplicate keys; errors[] names each place.
	ValidationFailed Code = "validation_failed"
	// UnknownJobType (HTTP 422): No job type of that name is configured.
	UnknownJobType Code = "unknown_job_type"
	// PayloadTooLarge (HTTP 413): The payload or the request's body is above its limit.
	PayloadTooLarge Code = "payload_too_large"
	// HeadersTooLarge (HTTP 431): The request line is above 48 KiB, which holds an event stream of 1,000 jobs, or the headers are above 20 KiB. The connection is closed.
	HeadersTooLarge Code = "headers_too_large"
	// Unauthenticated (HTTP 401): There is no token, or it is malformed, expired or not signed by a configured key.
	Unauthenticated Code = "unauthenticated"
	// Forbidden (HTTP 403): The origin or the identity may not do this.
	Forbidden Code = "forbidden"
	// NotFound (HTTP 404): There is no such job (or it is another tenant's), or no such route.
	NotFound Code = "not_found"
	// MethodNotAllowed (HTTP 405): The route exists, but not with this HTTP method; Allow names those it has.
	MethodNotAllowed Code = "method_not_allowed"
	// UnsupportedMediaType (HTTP 415): The body's Content-Type is not application/json.
	UnsupportedMediaType Code = "unsupported_media_type"
	// UpgradeRequired (HTTP 426): GET /v1/ws is no WebSocket handshake (RFC 6455 section 4.2.1).
	UpgradeRequired Code = "upgrade_required"
	// InvalidState (HTTP 409): Cancel of a job that has ended, or retry or erasure of one that has not.
	InvalidState Code = "invalid_state"
	// CountDiffers (HTTP 409): Not as many jobs match a bulk action's filter as it expects; count says how many do. Nothing was done.
	CountDiffers Code = "count_differs"
	// IdempotencyKeyReused (HTTP 422): The key was used before with another payload.
	IdempotencyKeyReused Code = "idempotency_key_reused"
	// InvalidOffset (HTTP 400): The place in a job's stream cannot be read, or it is within a character or behind the end of a stream that has ended.
	InvalidOffset Code = "invalid_offset"
	// StreamReset (HTTP 410): The offset belongs to a former run of the job, or to an expired job of the same ID, whose streams do not count any more: begin again at the stream's beginning.
	StreamReset Code = "stream_reset"
	// StreamGone (HTTP 410): What follows this place of the stream is not kept any more.
	StreamGone Code = "stream_gone"
	// PayloadGone (HTTP 410): What was submitted is not kept any more: Kafka's retention has removed the job's request, or its blob was removed. The job is still known.
	PayloadGone Code = "payload_gone"
	// RateLimited (HTTP 429): A rate limit was hit; retryAfter says when to come back.
	RateLimited Code = "rate_limited"
	// LimitExceeded (HTTP 429): A named bound was hit: subscriptions, sessions, submits in flight, open jobs or webhooks to be delivered.
	LimitExceeded Code = "limit_exceeded"
	// Overloaded (HTTP 503): Admission was refused; nothing was written.
	Overloaded Code = "overloaded"
	// Unavailable (HTTP 503): Kafka or the tracker is away; nothing was written.
	Unavailable Code = "unavailable"
	// Indeterminate (HTTP 503): The broker did not answer in time: the job may or may not exist. jobId names it; the same idempotency key again is safe.
	Indeterminate Code = "indeterminate"
	// Internal (HTTP 500): A bug; the cause is in the server's log.
	Internal Code = "internal"
)

// The close codes.
const (
	// CloseGoingAway: The server stops, or the client leaves.
	CloseGoingAway Close = 1001
	// CloseWebsocketViolation: A frame that breaks RFC 6455: reserved bits or opcodes, no mask, a broken control frame or close code; or a compressed one that does not inflate (RFC 7692).
	CloseWebsocketViolation Close = 1002
	// CloseUnsupportedData: A binary frame; only text frames are taken.
	CloseUnsupportedData Close = 1003
	// CloseInvalidUTF8: A text frame that is not UTF-8.
	CloseInvalidUTF8 Close = 1007
	// ClosePolicyViolation: The client breaks a rule that has no code of its own: more frames or pings than it may send, or a message that takes too long to come.
	ClosePolicyViolation Close = 1008
	// CloseMessageTooBig: A frame above the frame limit; a compressed one counts inflated.
	CloseMessageTooBig Close = 1009
	// CloseInternalError: A bug; the cause is in the server's log.
	CloseInternalError Close = 1011
	// CloseServiceRestart: The gateway drains; goaway said when to come back.
	CloseServiceRestart Close = 1012
	// CloseTryAgainLater: The gateway is overloaded.
	CloseTryAgainLater Close = 1013
	// CloseSlowConsumer: The client did not read what it was sent.
	CloseSlowConsumer Close = 4000
	// ClosePingTimeout: The client did not answer pings.
	ClosePingTimeout Close = 4001
	// CloseTokenExpired: The token ran out on an open socket; come back with a new one.
	CloseTokenExpired Close = 4002
	// CloseUnauthenticated: The token in an auth frame was refused.
	CloseUnauthenticated Close = 4500
	// CloseAuthTimeout: No auth frame came in time.
	CloseAuthTimeout Close = 4501
	// CloseProtocolError: The first frame was not auth though the handshake carried no token, or too many broken frames came.
	CloseProtocolError Close = 4502
	// CloseSessionLimit: The subject has as many sessions as it may have.
	CloseSessionLimit Close = 4503
)

// All lists every error code, in the table's order.
var All = []Code{InvalidFrame, UnknownFrame, ValidationFailed, UnknownJobType, PayloadTooLarge, HeadersTooLarge, Unauthenticated, Forbidden, NotFound, MethodNotAllowed, UnsupportedMediaType, UpgradeRequired, InvalidState, CountDiffers, IdempotencyKeyReused, InvalidOffset, StreamReset, StreamGone, PayloadGone, RateLimited, LimitExceeded, Overloaded, Unavailable, Indeterminate, Internal}

// AllCloses lists every close code, in the table's order.
var AllCloses = []Close{CloseGoingAway, CloseWebsocketViolation, CloseUnsupportedData, CloseInvalidUTF8, ClosePolicyViolation, CloseMessageTooBig, CloseInternalError, CloseServiceRestart, CloseTryAgainLater, CloseSlowConsumer, ClosePingTimeout, CloseTokenExpired, CloseUnauthenticated, CloseAuthTimeout, CloseProtocolError, CloseSessionLimit}

var infos = map[Code]Info{
	InvalidFrame:         {HTTP: 400, Retryable: false, Title: "Invalid frame", Meaning: "Not one JSON object, or a field is missing, of the wrong type or too long."},
	UnknownFrame:         {HTTP: 400, Retryable: false, Title: "Unknown frame type", Meaning: "The frame's type is not one that a client may send."},
	ValidationFailed:     {HTTP: 422, Retryable: false, Title: "Payload is not valid", Meaning: "The payload does not fit the job type's schema, or has duplicate keys; errors[] names each place."},
	UnknownJobType:       {HTTP: 422, Retryable: false, Title: "Unknown job type", Meaning: "No job type of that name is configured."},
	PayloadTooLarge:      {HTTP: 413, Retryable: false, Title: "Payload too large", Meaning: "The payload or the request's body is above its limit."},
	HeadersTooLarge:      {HTTP: 431, Retryable: false, Title: "Headers too large", Meaning: "The request line is above 48 KiB, which holds an event stream of 1,000 jobs, or the headers are above 20 KiB. The connection is closed."},
	Unauthenticated:      {HTTP: 401, Retryable: false, Title: "Not authenticated", Meaning: "There is no token, or it is malformed, expired or not signed by a configured key."},
	Forbidden:            {HTTP: 403, Retryable: false, Title: "Forbidden", Meaning: "The origin or the identity may not do this."},
	NotFound:             {HTTP: 404, Retryable: false, Title: "Not found", Meaning: "There is no such job (or it is another tenant's), or no such route."},
	MethodNotAllowed:     {HTTP: 405, Retryable: false, Title: "Method not allowed", Meaning: "The route exists, but not with this HTTP method; Allow names those it has."},
	UnsupportedMediaType: {HTTP: 415, Retryable: false, Title: "Unsupported media type", Meaning: "The body's Content-Type is not application/json."},
	UpgradeRequired:      {HTTP: 426, Retryable: false, Title: "Upgrade required", Meaning: "GET /v1/ws is no WebSocket handshake (RFC 6455 section 4.2.1)."},
	InvalidState:         {HTTP: 409, Retryable: false, Title: "Not possible in this state", Meaning: "Cancel of a job that has ended, or retry or erasure of one that has not."},
	CountDiffers:         {HTTP: 409, Retryable: false, Title: "Another number of jobs", Meaning: "Not as many jobs match a bulk action's filter as it expects; count says how many do. Nothing was done."},
	IdempotencyKeyReused: {HTTP: 422, Retryable: false, Title: "Idempotency key reused", Meaning: "The key was used before with another payload."},
	InvalidOffset:        {HTTP: 400, Retryable: false, Title: "Invalid offset", Meaning: "The place in a job's stream cannot be read, or it is within a character or behind the end of a stream that has ended."},
	StreamReset:          {HTTP: 410, Retryable: false, Title: "Stream was reset", Meaning: "The offset belongs to a former run of the job, or to an expired job of the same ID, whose streams do not count any more: begin again at the stream's beginning."},
	StreamGone:           {HTTP: 410, Retryable: false, Title: "Stream is gone", Meaning: "What follows this place of the stream is not kept any more."},
	PayloadGone:          {HTTP: 410, Retryable: false, Title: "Payload is gone", Meaning: "What was submitted is not kept any more: Kafka's retention has removed the job's request, or its blob was removed. The job is still known."},
	RateLimited:          {HTTP: 429, Retryable: true, Title: "Too many requests", Meaning: "A rate limit was hit; retryAfter says when to come back."},
	LimitExceeded:        {HTTP: 429, Retryable: false, Title: "Limit exceeded", Meaning: "A named bound was hit: subscriptions, sessions, submits in flight, open jobs or webhooks to be delivered."},
	Overloaded:           {HTTP: 503, Retryable: true, Title: "Overloaded", Meaning: "Admission was refused; nothing was written."},
	Unavailable:          {HTTP: 503, Retryable: true, Title: "Unavailable", Meaning: "Kafka or the tracker is away; nothing was written."},
	Indeterminate:        {HTTP: 503, Retryable: true, Title: "Outcome not known", Meaning: "The broker did not answer in time: the job may or may not exist. jobId names it; the same idempotency key again is safe."},
	Internal:             {HTTP: 500, Retryable: true, Title: "Internal error", Meaning: "A bug; the cause is in the server's log."},
}

var closes = map[Close]CloseInfo{
	CloseGoingAway:          {Name: "going_away", Reconnect: true, Meaning: "The server stops, or the client leaves."},
	CloseWebsocketViolation: {Name: "websocket_violation", Reconnect: false, Meaning: "A frame that breaks RFC 6455: reserved bits or opcodes, no mask, a broken control frame or close code; or a compressed one that does not inflate (RFC 7692)."},
	CloseUnsupportedData:    {Name: "unsupported_data", Reconnect: false, Meaning: "A binary frame; only text frames are taken."},
	CloseInvalidUTF8:        {Name: "invalid_utf8", Reconnect: false, Meaning: "A text frame that is not UTF-8."},
	ClosePolicyViolation:    {Name: "policy_violation", Reconnect: false, Meaning: "The client breaks a rule that has no code of its own: more frames or pings than it may send, or a message that takes too long to come."},
	CloseMessageTooBig:      {Name: "message_too_big", Reconnect: false, Meaning: "A frame above the frame limit; a compressed one counts inflated."},
	CloseInternalError:      {Name: "internal_error", Reconnect: true, Meaning: "A bug; the cause is in the server's log."},
	CloseServiceRestart:     {Name: "service_restart", Reconnect: true, Meaning: "The gateway drains; goaway said when to come back."},
	CloseTryAgainLater:      {Name: "try_again_later", Reconnect: true, Meaning: "The gateway is overloaded."},
	CloseSlowConsumer:       {Name: "slow_consumer", Reconnect: true, Meaning: "The client did not read what it was sent."},
	ClosePingTimeout:        {Name: "ping_timeout", Reconnect: true, Meaning: "The client did not answer pings."},
	CloseTokenExpired:       {Name: "token_expired", Reconnect: true, Meaning: "The token ran out on an open socket; come back with a new one."},
	CloseUnauthenticated:    {Name: "unauthenticated", Reconnect: false, Meaning: "The token in an auth frame was refused."},
	CloseAuthTimeout:        {Name: "auth_timeout", Reconnect: false, Meaning: "No auth frame came in time."},
	CloseProtocolError:      {Name: "protocol_error", Reconnect: false, Meaning: "The first frame was not auth though the handshake carried no token, or too many broken frames came."},
	CloseSessionLimit:       {Name: "session_limit", Reconnect: false, Meaning: "The subject has as many sessions as it may have."},
}
