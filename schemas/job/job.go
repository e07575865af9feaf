// Package job holds what people and services see of a job: its states, its
// document and the policy it was created with. The rules that move a job from
// state to state live in one place only, the tracker's fold.
package job

import (
	"encoding/json"
	"time"
)

// State is where a job stands in its life. Each constant says who moves the job on.
type State string

const (
	// Pending is durable and waits for a worker. The worker that claims it moves it on.
	Pending State = "pending"
	// Scheduled has a start time in the future. The tracker's timer moves it on.
	Scheduled State = "scheduled"
	// Queued is with a worker and waits for a slot. That worker moves it on.
	Queued State = "queued"
	// Processing is held by one run under a lease. The run, or the lease's end, moves it on.
	Processing State = "processing"
	// Retrying waits for its next attempt. The tracker's timer moves it on.
	Retrying State = "retrying"
	// Completed has a result. Terminal: only an explicit retry or its expiry moves it on.
	Completed State = "completed"
	// Failed spent its attempts or failed permanently. Terminal, like Completed.
	Failed State = "failed"
	// Cancelled was stopped by its owner. Terminal, like Completed.
	Cancelled State = "cancelled"
)

// States lists every state, in the order of a job's life.
var States = []State{Pending, Scheduled, Queued, Processing, Retrying, Completed, Failed, Cancelled}

// Terminal reports whether the state absorbs everything but an explicit retry and expiry.
func (s State) Terminal() bool { return s == Completed || s == Failed || s == Cancelled }

// Valid reports whether s is one of States.
func (s State) Valid() bool {
	switch s {
	case Pending, Scheduled, Queued, Processing, Retrying, Completed, Failed, Cancelled:
		return true
	}
	return false
}

// Document is the public face of a job, as it travels to sockets, HTTP, SSE,
// webhooks and the view topic. Unset fields are absent. Times are RFC 3339, UTC.
type Document struct {
	JobID           string          `json:"jobId"`
	Type            string          `json:"type"`
	State           State           `json:"state"`
	Progress        *Progress       `json:"progress,omitempty"`
	Attempt         int             `json:"attempt"`
	MaxAttempts     int             `json:"maxAttempts"`
	CreatedAt       time.Time       `json:"createdAt"`
	UpdatedAt       time.Time       `json:"updatedAt"`
	StartedAt       *time.Time      `json:"startedAt,omitempty"`
	FinishedAt      *time.Time      `json:"finishedAt,omitempty"`
	RetryAt         *time.Time      `json:"retryAt,omitempty"`
	RunAt           *time.Time      `json:"runAt,omitempty"`
	CancelRequested bool            `json:"cancelRequested,omitempty"`
	Result          json.RawMessage `json:"result,omitempty"`
	ResultURL       string          `json:"resultUrl,omitempty"`
	Error           *Error          `json:"error,omitempty"`
}

// Progress is how far the current attempt has come.
type Progress struct {
	// Percent lies in 0..100 and never falls within one attempt.
	Percent float64 `json:"percent"`
	Message string  `json:"message,omitempty"`
	// Current and Total count whatever the handler counts; both or neither are set.
	Current int64 `json:"current,omitempty"`
	Total   int64 `json:"total,omitempty"`
}

// Error is why an attempt, or the whole job, failed. Code is the handler's own
// or one of the Code constants.
type Error struct {
	Code      string `json:"code"`
	Message   string `json:"message,omitempty"`
	Retryable bool   `json:"retryable"`
}

// Codes that Ackwire itself gives to a job's error.
const (
	CodeWorkerLost       = "worker_lost"       // the lease ran out: the worker died, hung or was cut off
	CodeTimeout          = "timeout"           // the attempt took longer than its timeout
	CodeDeadlineExceeded = "deadline_exceeded" // the whole job took longer than its deadline
	CodeHandlerPanic     = "handler_panic"     // the handler panicked; the stack is in the worker's log
	CodeHandlerError     = "handler_error"     // the handler returned an error without a code of its own
	CodeResultTooLarge   = "result_too_large"  // the result is above the inline limit
	CodeCancelled        = "cancelled"         // the handler ended because its job was cancelled
	CodeInvalidPayload   = "invalid_payload"   // the worker could not decode the payload into its type
)

// Policy is the set of rules a job was created with. It is stamped into the job's
// request and its accepted event, so that nobody downstream needs the job types
// file and a job keeps the rules it was made with. Durations are seconds on the wire.
type Policy struct {
	// Attempts is how often the job may be tried in all; at least 1.
	Attempts int     `json:"attempts"`
	Backoff  Backoff `json:"backoff"`
	// Lease is how long a run holds the job after its last sign of life.
	Lease Seconds `json:"lease"`
	// Timeout bounds one attempt; 0 is unbounded.
	Timeout Seconds `json:"timeout,omitempty"`
	// Deadline bounds the whole job from its acceptance on; 0 is unbounded.
	Deadline Seconds `json:"deadline,omitempty"`
	// Grace is how long a cancelled handler may take to end before the state is forced.
	Grace Seconds `json:"grace"`
	// Retention is how long the job stays readable after it has ended.
	Retention Seconds `json:"retention"`
}

// Backoff is the wait before the next attempt: min(Cap, Initial × Factor^(n-1))
// before the n-th retry, with full jitter.
type Backoff struct {
	Initial Seconds `json:"initial"`
	Factor  float64 `json:"factor"`
	Cap     Seconds `json:"cap"`
}

// Seconds is a duration that is a number of seconds on every wire (fractions allowed).
type Seconds time.Duration

// Duration returns s as a time.Duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) }

// MarshalJSON implements json.Marshaler.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(s).Seconds())
}

// UnmarshalJSON implements json.Unmarshaler. It refuses what is not a number and
// what does not fit into a time.Duration.
func (s *Seconds) UnmarshalJSON(b []byte) error {
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	d, err := SecondsOf(f)
	if err != nil {
		return err
	}
	*s = d
	return nil
}
