// Package frame holds the JSON frames of the subprotocol ackwire.v1 and the bodies
// of the HTTP API, which carry the same fields. One JSON object per text frame,
// UTF-8. Durations are numbers of seconds, times RFC 3339, versions numbers.
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

// Limits of the protocol, by default. See the limits in Welcome for what a server applies.
const (
	MaxFrameBytes        = 256 << 10
	MaxInlineResultBytes = 64 << 10
	MaxIDChars           = 64
	MaxKeyChars          = 128
	MaxSubscriptions     = 1000
	MaxInFlightSubmits   = 64
	MaxNesting           = 100
)

// Type is the value of "type" in a frame.
type Type string

// Frames that a client sends.
const (
	Auth        Type = "auth"
	Submit      Type = "submit"
	Subscribe   Type = "subscribe"
	Unsubscribe Type = "unsubscribe"
	Cancel      Type = "cancel"
	Retry       Type = "retry"
	Ping        Type = "ping"
)

// Frames that the server sends.
const (
	Welcome      Type = "welcome"
	Ack          Type = "ack"
	Subscribed   Type = "subscribed"
	Unsubscribed Type = "unsubscribed"
	Status       Type = "status"
	Error        Type = "error"
	Goaway       Type = "goaway"
	Expiring     Type = "expiring"
	Cursor       Type = "cursor"
	Pong         Type = "pong"
)

// ClientTypes and ServerTypes list every frame, by who sends it.
var (
	ClientTypes = []Type{Auth, Submit, Subscribe, Unsubscribe, Cancel, Retry, Ping}
	ServerTypes = []Type{Welcome, Ack, Subscribed, Unsubscribed, Status, Error, Goaway, Expiring, Cursor, Pong}
)

// ClientFrame is any frame that a client sends. Which fields a type carries is fixed
// by the JSON Schema of the same name.
type ClientFrame struct {
	Type Type `json:"type"` // one of ClientTypes
	// ID is the client's correlation ID, echoed in the answer; at most MaxIDChars.
	ID string `json:"id,omitempty"`

	Token string `json:"token,omitempty"` // auth

	SubmitRequest // submit

	// Jobs is a list of JobRef in subscribe and a list of job IDs in unsubscribe.
	Jobs json.RawMessage `json:"jobs,omitempty"`
	Mine bool            `json:"mine,omitempty"` // subscribe, unsubscribe
	// After, with Mine, is the last cursor that the client has: what has changed since is sent.
	After string `json:"after,omitempty"`

	JobID string `json:"jobId,omitempty"` // cancel, retry
}

// SubmitRequest is what a submit frame and the body of POST /v1/jobs carry.
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
	Watch       *bool  `json:"watch,omitempty"`
	CallbackURL string `json:"callbackUrl,omitempty"`
	// CallbackEvents are the states whose beginning is told to CallbackURL; the terminal
	// ones when it is absent.
	CallbackEvents []job.State `json:"callbackEvents,omitempty"`
	// Traceparent is the client's trace (W3C Trace Context §3.2); over HTTP it is the header.
	// One that is malformed is passed over.
	Traceparent string `json:"traceparent,omitempty"`
	// Tracestate is what vendors add to the trace (§3.3); over HTTP it is the header.
	Tracestate string `json:"tracestate,omitempty"`
}

// JobRef names a job to watch. Without After the state now is sent first; with it
// only what is newer.
type JobRef struct {
	JobID string `json:"jobId"`           // the job to watch
	After *int64 `json:"after,omitempty"` // the last version that the client has
}

// WelcomeFrame opens a session.
type WelcomeFrame struct {
	Type       Type   `json:"type"`         // Welcome
	ID         string `json:"id,omitempty"` // empty, or that of the auth frame that it answers
	Connection string `json:"connection"`   // the session's name in the gateway's log
	Protocol   string `json:"protocol"`     // the subprotocol that is spoken
	// PingInterval is how often the server pings, in seconds.
	PingInterval float64 `json:"pingInterval"`
	Limits       Limits  `json:"limits"`
}

// Limits tells a client what this session may do.
type Limits struct {
	FrameBytes      int `json:"frameBytes"`      // largest frame that the client may send
	Subscriptions   int `json:"subscriptions"`   // most jobs that it may watch at a time
	InFlightSubmits int `json:"inFlightSubmits"` // most submits that may wait for their answers
}

// AckFrame says that a submit (or cancel, retry) is durable. It is the first frame
// that a client sees about a job. Over HTTP it is the body of 202, without type and id.
type AckFrame struct {
	Type      Type   `json:"type,omitempty"`      // Ack; absent over HTTP
	ID        string `json:"id,omitempty"`        // the client's, of the frame that it answers
	JobID     string `json:"jobId"`               // the job that was made, or found
	State     string `json:"state"`               // where the job stands
	StatusURL string `json:"statusUrl"`           // where it can be read, relative to the gateway's URL
	Duplicate bool   `json:"duplicate,omitempty"` // the idempotency key had this job before
}

// SubscribedFrame answers subscribe: per job its version now, or why not.
type SubscribedFrame struct {
	Type Type            `json:"type"`           // Subscribed
	ID   string          `json:"id,omitempty"`   // the client's, of its subscribe
	Jobs []SubscribedJob `json:"jobs"`           // an answer for each job that was asked for
	Mine bool            `json:"mine,omitempty"` // all jobs of the subject are watched
	// Reset, with Mine: the client's cursor is none of this log's. Jobs are told of from now on, and
	// the versions that the client has count as none.
	Reset bool `json:"reset,omitempty"`
}

// CursorFrame says up to where a socket that follows all jobs of its subject was told of them: with
// this cursor it goes on from there.
type CursorFrame struct {
	Type   Type   `json:"type"`   // Cursor
	Cursor string `json:"cursor"` // what a later subscribe gives as After
}

// SubscribedJob carries either a version or an error.
type SubscribedJob struct {
	JobID   string `json:"jobId"`             // the job that was asked for
	Version int64  `json:"version,omitempty"` // the document's version now
	// Reset: versions above this one, which the client has or was sent, are not in the log: it was
	// restored from a backup, or has lost its end. The status follows, with a version that may be
	// lower. A frame without ID says so of a job that was subscribed before.
	Reset bool      `json:"reset,omitempty"`
	Error code.Code `json:"error,omitempty"`
}

// UnsubscribedFrame answers unsubscribe.
type UnsubscribedFrame struct {
	Type Type     `json:"type"`           // Unsubscribed
	ID   string   `json:"id,omitempty"`   // the client's, of its unsubscribe
	Jobs []string `json:"jobs"`           // the jobs that are watched no more
	Mine bool     `json:"mine,omitempty"` // the jobs of the subject are watched no more
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

// ExpiringFrame warns that the session's token is about to end: an auth frame with a newer one
// renews it, else the server closes with token_expired after ClosesAfter seconds. It comes
// once per token. An event stream has it as an event; there only coming back helps.
type ExpiringFrame struct {
	Type Type `json:"type"` // Expiring
	// ExpiresAt is the token's own end (exp), by the server's clock.
	ExpiresAt   time.Time `json:"expiresAt"`
	ClosesAfter float64   `json:"closesAfter"`
}

// NewExpiring makes the warning before a token's end.
func NewExpiring(expires time.Time, closesAfter time.Duration) ExpiringFrame {
	return ExpiringFrame{Type: Expiring, ExpiresAt: expires.UTC(), ClosesAfter: max(0, closesAfter).Seconds()}
}

// PongFrame answers ping.
type PongFrame struct {
	Type Type   `json:"type"`         // Pong
	ID   string `json:"id,omitempty"` // the client's, of its ping
}

// ErrorFrame tells what went wrong; over HTTP the same members are an RFC 9457
// problem (application/problem+json), with "status" and without "type" and "id".
type ErrorFrame struct {
	Type Type   `json:"type,omitempty"` // Error; absent over HTTP
	ID   string `json:"id,omitempty"`   // the client's, of the frame that it answers; empty when it answers none
	Problem
}

// Problem is the body of every error. Title is the code's own; Detail is for people.
type Problem struct {
	Code      code.Code `json:"code"`             // for programs
	Title     string    `json:"title"`            // what the code means
	Status    int       `json:"status,omitempty"` // HTTP only
	Detail    string    `json:"detail,omitempty"` // what was wrong this time
	Retryable bool      `json:"retryable"`        // the same again may go better
	// RetryAfter is in seconds.
	RetryAfter float64 `json:"retryAfter,omitempty"`
	// JobID is set when the problem concerns a job that may exist (indeterminate).
	JobID  string       `json:"jobId,omitempty"`
	Errors []FieldError `json:"errors,omitempty"`
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
