// Package frame holds the JSON frames of the WebSocket subprotocol ackwire.v1, and the bodies of the HTTP API, which
// have the same fields. A text frame is one JSON object in UTF-8. Durations are numbers of seconds, times are in RFC
// 3339, and versions are numbers.
package frame

import (
	"encoding/json"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
)

// Protocol is the WebSocket subprotocol (RFC 6455 §1.9).
const Protocol = "ackwire.v1"

// BearerProtocolPrefix starts a subprotocol that carries a token, for browsers,
// which cannot set headers on a WebSocket. The server never echoes it.
const BearerProtocolPrefix = "ackwire.bearer."

// Default limits of the protocol. WelcomeFrame.Limits tells a client the limits that its server applies.
const (
	MaxFrameBytes        = 256 << 10
	MaxInlineResultBytes = 64 << 10
	MaxIDChars           = 64   // of a correlation ID
	MaxKeyChars          = 128  // of an idempotency key
	MaxSubscriptions     = 1000 // per session
	MaxInFlightSubmits   = 64   // per session
	MaxNesting           = 100  // of objects and arrays in a payload
)

// Type is the value of "type" in a frame.
type Type string

// Frames that a client sends.
const (
	Auth        Type = "auth"
	Submit      Type = "submit"
	SubmitBatch Type = "submitBatch"
	Subscribe   Type = "subscribe"
	Unsubscribe Type = "unsubscribe"
	Cancel      Type = "cancel"
	Retry       Type = "retry"
	WatchList   Type = "watchList"
	UnwatchList Type = "unwatchList"
	Ping        Type = "ping"
)

// Frames that the server sends.
const (
	Welcome      Type = "welcome"
	Ack          Type = "ack"
	Acks         Type = "acks"
	Subscribed   Type = "subscribed"
	Unsubscribed Type = "unsubscribed"
	Status       Type = "status"
	Chunk        Type = "chunk"
	Error        Type = "error"
	Goaway       Type = "goaway"
	Expiring     Type = "expiring"
	Cursor       Type = "cursor"
	Pong         Type = "pong"

	ListWatched   Type = "listWatched"
	ListUnwatched Type = "listUnwatched"
	ListChanged   Type = "listChanged"
)

// ClientTypes lists the frames that a client sends, ServerTypes those that the server sends.
var (
	ClientTypes = []Type{
		Auth, Submit, SubmitBatch, Subscribe, Unsubscribe, Cancel, Retry, WatchList, UnwatchList, Ping,
	}
	ServerTypes = []Type{
		Welcome, Ack, Acks, Subscribed, Unsubscribed, Status, Chunk, Error, Goaway, Expiring, Cursor, Pong,
		ListWatched, ListUnwatched, ListChanged,
	}
)

// ClientFrame is any frame that a client sends. Which fields a type carries is fixed
// by the JSON Schema of the same name.
type ClientFrame struct {
	Type Type `json:"type"` // one of ClientTypes
	// ID is the client's correlation ID, echoed in the answer; at most MaxIDChars.
	ID string `json:"id,omitempty"`

	Token string `json:"token,omitempty"` // auth

	SubmitRequest // submit

	// Jobs is a list of JobRef in subscribe, a list of job IDs in unsubscribe, and a list of SubmitRequest in submitBatch.
	Jobs json.RawMessage `json:"jobs,omitempty"`
	Mine bool            `json:"mine,omitempty"` // subscribe, unsubscribe
	// After, with Mine, is the last cursor that the client has: the jobs that have changed since are sent.
	After string `json:"after,omitempty"`

	JobID string `json:"jobId,omitempty"` // cancel, retry

	// List, in watchList and unwatchList, is the client's own name for a list; at most MaxIDChars.
	List string `json:"list,omitempty"`
	// Filter, in watchList, is a ListFilter; without it the list has all jobs that the client may see.
	Filter json.RawMessage `json:"filter,omitempty"`
}

// WatchRequest is the body of POST /v1/events: the fields of subscribe frames.
type WatchRequest struct {
	Jobs  json.RawMessage `json:"jobs,omitempty"`  // a list of JobRef
	Mine  bool            `json:"mine,omitempty"`  // all jobs of the client's subject, too
	After string          `json:"after,omitempty"` // as in ClientFrame
	// Known is a list of JobRef, for Mine: the versions that the client has. Without it the changes of the last
	// minute before After are told again.
	Known json.RawMessage `json:"known,omitempty"`
}

// SubmitRequest holds the fields of a submit frame and of the body of POST /v1/jobs.
type SubmitRequest struct {
	// Job is the job type.
	Job     string          `json:"job,omitempty"`
	Payload json.RawMessage `json:"payload,omitempty"`
	// Key is the idempotency key; at most MaxKeyChars.
	Key   string     `json:"key,omitempty"`
	RunAt *time.Time `json:"runAt,omitempty"`
	// Timeout bounds one attempt, Deadline the whole job; seconds.
	Timeout  *float64 `json:"timeout,omitempty"`
	Deadline *float64 `json:"deadline,omitempty"`
	// Watch, unless false, subscribes the socket to the job.
	Watch *bool `json:"watch,omitempty"`
	// Streams, unless Watch is false, are the job's streams that the socket follows from then on: see ParseStreams.
	Streams     json.RawMessage `json:"streams,omitempty"`
	CallbackURL string          `json:"callbackUrl,omitempty"`
	// CallbackEvents are the states for which CallbackURL is called when the job enters them; if absent, the
	// terminal ones.
	CallbackEvents []job.State `json:"callbackEvents,omitempty"`
	// Tags are attached to the job, which can be found by them: see job.Tags.
	Tags job.Tags `json:"tags,omitempty"`
	// Traceparent is the client's trace (W3C Trace Context §3.2); over HTTP it is the header of this name.
	// A malformed one is ignored.
	Traceparent string `json:"traceparent,omitempty"`
	// Tracestate is the vendors' part of the trace (W3C Trace Context §3.3); over HTTP it is the header of this name.
	Tracestate string `json:"tracestate,omitempty"`
	// Grant asks for a grant for the job, which the ack then has.
	Grant *GrantOptions `json:"grant,omitempty"`
	// Strict refuses the submit if it has fields that a submit does not have; over HTTP it may be the query parameter
	// of this name. Without it such fields are named in the ack's Warning.
	Strict bool `json:"strict,omitempty"`
	// Unknown are the names of such fields, as the server has read them.
	Unknown []string `json:"-"`
}

// GrantOptions says how long a grant is valid and what it permits.
type GrantOptions struct {
	TTL float64 `json:"ttl"` // in seconds, 1 to 86400
	// Permissions are the words of tokens' permissions, such as read; if absent, read.
	Permissions []string `json:"permissions,omitempty"`
}

// GrantRequest is the body of POST /v1/grants. Jobs and Types say what the grant opens: these jobs, jobs of these
// types, or with both the jobs that are of one of the types. There must be one of them, and at most 100 of each.
type GrantRequest struct {
	GrantOptions
	Jobs  []string `json:"jobs,omitempty"`  // job IDs
	Types []string `json:"types,omitempty"` // job types
}

// Grant is the body of the answer to POST /v1/grants.
type Grant struct {
	Token     string    `json:"token"`     // a secret
	ExpiresAt time.Time `json:"expiresAt"` // its exp claim
}

// JobRef names a job to watch. Without After the current document is sent first; with After only newer versions are.
type JobRef struct {
	JobID string `json:"jobId"`           // the job to watch
	After *int64 `json:"after,omitempty"` // the last version that the client has
	// Streams, in subscribe frames, are the job's streams that the socket follows from then on, in place of those that
	// it follows: see ParseStreams. An empty list ends them; without a list they stay as they are.
	Streams json.RawMessage `json:"streams,omitempty"`
}

// WelcomeFrame opens a session.
type WelcomeFrame struct {
	Type       Type   `json:"type"`         // Welcome
	ID         string `json:"id,omitempty"` // the ID of the auth frame that it answers, or empty
	Connection string `json:"connection"`   // the session's name in the gateway's log
	Protocol   string `json:"protocol"`     // the subprotocol in use
	// PingInterval is how often the server pings, in seconds.
	PingInterval float64 `json:"pingInterval"`
	Limits       Limits  `json:"limits"`
}

// Limits are the limits of a session.
type Limits struct {
	FrameBytes      int `json:"frameBytes"`      // size of a frame from the client, in bytes
	Subscriptions   int `json:"subscriptions"`   // jobs that it may watch at a time
	InFlightSubmits int `json:"inFlightSubmits"` // submits that may wait for their answers
}

// AckFrame says that a submit (or cancel, retry) is durable. It is the first frame
// that a client sees about a job. Over HTTP it is the body of 202, without type and id.
type AckFrame struct {
	Type      Type   `json:"type,omitempty"`      // Ack; absent over HTTP
	ID        string `json:"id,omitempty"`        // the ID of the frame that it answers
	JobID     string `json:"jobId"`               // the job that was made, or found
	State     string `json:"state"`               // the job's state
	StatusURL string `json:"statusUrl"`           // the path of its document, relative to the gateway's URL
	Duplicate bool   `json:"duplicate,omitempty"` // an earlier submit with the same idempotency key made the job
	Grant     *Grant `json:"grant,omitempty"`     // the grant that the submit asked for
	// Warning names fields of the submit that a submit does not have, and that were passed over. It is ASCII.
	Warning string `json:"warning,omitempty"`
	// Ahead is how many jobs, of all tenants, wait before the job in its lane. It is absent if the server does not know,
	// for a job that existed or starts later, and in answers to cancel and retry.
	Ahead *int64 `json:"ahead,omitempty"`
	// Estimate is about how many seconds it takes until the job starts, at the pace of its lane. It is absent if that
	// is not known.
	Estimate *float64 `json:"estimate,omitempty"`
}

// SubscribedFrame answers subscribe with the current version of each job, or the reason why it cannot be watched.
type SubscribedFrame struct {
	Type Type            `json:"type"`           // Subscribed
	ID   string          `json:"id,omitempty"`   // the ID of the subscribe frame
	Jobs []SubscribedJob `json:"jobs"`           // one for each job of the subscribe frame
	Mine bool            `json:"mine,omitempty"` // all jobs of the subject are watched
	// Reset, with Mine, says that the client's cursor does not belong to this log. Statuses are sent from
	// now on, and the client must forget the versions that it has.
	Reset bool `json:"reset,omitempty"`
}

// CursorFrame gives a socket that watches all jobs of its subject a cursor: all changes before it were sent. A later
// subscribe with this cursor goes on from there.
type CursorFrame struct {
	Type   Type   `json:"type"`   // Cursor
	Cursor string `json:"cursor"` // for After of a later subscribe; opaque
}

// SubscribedJob carries either a version or an error.
type SubscribedJob struct {
	JobID   string `json:"jobId"`             // the job of the subscribe frame
	Version int64  `json:"version,omitempty"` // the document's current version
	// Reset says that the client must forget the versions above this one: they are not in the log, which was
	// restored from a backup or has lost its end. A status follows, whose version may be lower than the
	// client's. A frame without ID resets a job that was subscribed before.
	Reset bool `json:"reset,omitempty"`
	// Error says why the job is not watched. In a frame without ID a watch ends: the client has renewed its token, and
	// the new one does not cover the job.
	Error code.Code `json:"error,omitempty"`
}

// UnsubscribedFrame answers unsubscribe. Without ID it tells a client that has renewed its token that the new one does
// not permit to watch all jobs of the subject.
type UnsubscribedFrame struct {
	Type Type     `json:"type"`           // Unsubscribed
	ID   string   `json:"id,omitempty"`   // the ID of the unsubscribe frame
	Jobs []string `json:"jobs"`           // the IDs of jobs that are no longer watched
	Mine bool     `json:"mine,omitempty"` // all jobs of the subject are no longer watched
	// Error, without ID, says why the watch has ended.
	Error code.Code `json:"error,omitempty"`
}

// StatusFrame carries a job's document. Versions of one job strictly rise on a subscription.
type StatusFrame struct {
	Type    Type  `json:"type"`    // Status
	Version int64 `json:"version"` // rises with each change of the document
	// Mine is set when the status belongs to the subscription to all jobs of the subject.
	Mine bool            `json:"mine,omitempty"`
	Job  json.RawMessage `json:"job"`
}

// GoawayFrame asks the client to reconnect, after ReconnectAfter seconds.
type GoawayFrame struct {
	Type           Type    `json:"type"`           // Goaway
	Reason         string  `json:"reason"`         // for people
	ReconnectAfter float64 `json:"reconnectAfter"` // in seconds
}

// ExpiringFrame warns that the session's token is about to expire. An auth frame with a newer token renews the session;
// else the server closes with token_expired after ClosesAfter seconds. It is sent once per token. In an event stream it
// is an event; there the client must open a new stream with a new token.
type ExpiringFrame struct {
	Type Type `json:"type"` // Expiring
	// ExpiresAt is the token's expiry (its exp claim), by the server's clock.
	ExpiresAt   time.Time `json:"expiresAt"`
	ClosesAfter float64   `json:"closesAfter"` // in seconds
}

// NewExpiring makes the warning for a token that expires at expires, on a session that closes after closesAfter.
func NewExpiring(expires time.Time, closesAfter time.Duration) ExpiringFrame {
	return ExpiringFrame{Type: Expiring, ExpiresAt: expires.UTC(), ClosesAfter: max(0, closesAfter).Seconds()}
}

// PongFrame answers ping.
type PongFrame struct {
	Type Type   `json:"type"`         // Pong
	ID   string `json:"id,omitempty"` // the ID of the ping frame
}

// ErrorFrame reports an error; over HTTP the same members are an RFC 9457
// problem (application/problem+json), with "status" and without "type" and "id".
type ErrorFrame struct {
	Type Type   `json:"type,omitempty"` // Error; absent over HTTP
	ID   string `json:"id,omitempty"`   // the ID of the frame that it answers; empty if it answers none
	Problem
}

// Problem is the body of every error. It implements error.
type Problem struct {
	Code      code.Code `json:"code"`             // for programs
	Title     string    `json:"title"`            // what the code means
	Status    int       `json:"status,omitempty"` // HTTP only
	Detail    string    `json:"detail,omitempty"` // what was wrong this time, for people
	Retryable bool      `json:"retryable"`        // sending the same again may succeed
	// RetryAfter is in seconds.
	RetryAfter float64 `json:"retryAfter,omitempty"`
	// JobID is set when the problem concerns a job that may exist (indeterminate).
	JobID  string       `json:"jobId,omitempty"`
	Errors []FieldError `json:"errors,omitempty"`
	// Count is how many jobs match the filter of a bulk action (count_differs).
	Count *int64 `json:"count,omitempty"`
}

// FieldError names one place of a payload that breaks its schema. Pointer is a JSON
// Pointer (RFC 6901) into the payload.
type FieldError struct {
	Pointer string `json:"pointer"` // empty for the payload as a whole
	Detail  string `json:"detail"`  // what is wrong there
}

// NewProblem makes a problem of code c with its title and retryability.
func NewProblem(c code.Code, detail string) Problem {
	info := c.Info()
	return Problem{Code: c, Title: info.Title, Detail: detail, Retryable: info.Retryable}
}

// Error implements error.
func (p Problem) Error() string {
	if p.Detail == "" {
		return string(p.Code)
	}
	return string(p.Code) + ": " + p.Detail
}
