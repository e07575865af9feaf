package frame

import (
	"encoding/base64"
	"time"
	"unicode/utf8"
)

// Bounds of one page of dead letters.
const (
	DefaultDeadLimit = 50
	MaxDeadLimit     = 100
)

// DeadLetters is the body of GET /v1/dead: a page of dead letters, the newest first.
type DeadLetters struct {
	Letters []DeadLetter `json:"letters"` // at most as many as were asked for
	// NextCursor is the cursor of the next page; absent on the last one. A page may have fewer letters than the limit.
	NextCursor string `json:"nextCursor,omitempty"`
}

// DeadLetter is a record that a service could not read and has set aside.
type DeadLetter struct {
	ID     string    `json:"id"`     // its place in the topic dead
	At     time.Time `json:"at"`     // when it was set aside
	Reason string    `json:"reason"` // one word
	Detail string    `json:"detail"` // for people
	By     string    `json:"by"`     // the service
	// Topic, Partition and Offset are where the record lay, as its headers have them: any may be malformed.
	Topic     string `json:"topic"`
	Partition string `json:"partition"`
	Offset    string `json:"offset"`
	JobID     string `json:"jobId,omitempty"` // the job that the record names
	Request   bool   `json:"request"`         // it is the request of that job
	Bytes     int64  `json:"bytes"`           // length of its value
}

// DeadRecord is the body of GET /v1/dead/{id}: a dead letter and the record itself.
type DeadRecord struct {
	DeadLetter
	// Withheld is true for a client that may not read what was submitted: key, headers and value are absent then.
	Withheld bool         `json:"withheld,omitempty"`
	Key      *Raw         `json:"key,omitempty"`
	Headers  []DeadHeader `json:"headers,omitempty"`
	Value    *Raw         `json:"value,omitempty"`
}

// DeadHeader is a header of a record.
type DeadHeader struct {
	Name string `json:"name"` // need not be unique
	Raw
}

// Raw is bytes: as text if they are valid UTF-8, else in base64 (RFC 4648 section 4).
type Raw struct {
	Text   *string `json:"text,omitempty"`   // nil if Base64 is set
	Base64 string  `json:"base64,omitempty"` // of bytes that are no text
}

// RawOf returns bytes as they are written in JSON.
func RawOf(b []byte) Raw {
	if utf8.Valid(b) {
		s := string(b)
		return Raw{Text: &s}
	}
	return Raw{Base64: base64.StdEncoding.EncodeToString(b)}
}

// RequeueOutcome is what a requeue has done.
type RequeueOutcome string

// The outcomes.
const (
	RequeueDispatched RequeueOutcome = "dispatched" // the job gets a new request, which costs no attempt
	RequeueWritten    RequeueOutcome = "written"    // the record is in its topic again
)

// DeadRequeued is the body of the answer to POST /v1/dead/{id}/requeue.
type DeadRequeued struct {
	Outcome RequeueOutcome `json:"outcome"`         // what was done
	JobID   string         `json:"jobId,omitempty"` // of dispatched
	// Topic, Partition and Offset are where the record was written; absent for dispatched.
	Topic     string `json:"topic,omitempty"`
	Partition *int32 `json:"partition,omitempty"`
	Offset    *int64 `json:"offset,omitempty"`
}
