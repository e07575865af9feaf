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
	JobID           string          `json:"jobId"`                     // chosen by the server, unique in its tenant
	Type            string          `json:"type"`                      // the job type, such as "mail.send"
	State           State           `json:"state"`                     // where it stands now
	Progress        *Progress       `json:"progress,omitempty"`        // of the current attempt; absent before any
	Attempt         int             `json:"attempt"`                   // the current one, the next one or the last; from 1
	MaxAttempts     int             `json:"maxAttempts"`               // how many there may be
	CreatedAt       time.Time       `json:"createdAt"`                 // when it was accepted
	UpdatedAt       time.Time       `json:"updatedAt"`                 // when the document last changed
	StartedAt       *time.Time      `json:"startedAt,omitempty"`       // when its first attempt began
	FinishedAt      *time.Time      `json:"finishedAt,omitempty"`      // when it ended
	RetryAt         *time.Time      `json:"retryAt,omitempty"`         // when the next attempt is due
	RunAt           *time.Time      `json:"runAt,omitempty"`           // when it may begin, if that was asked for
	CancelRequested bool            `json:"cancelRequested,omitempty"` // its owner wants it to stop, and it has not ended
	Result          json.RawMessage `json:"result,omitempty"`          // what the handler returned, unless it is large
	ResultURL       string          `json:"resultUrl,omitempty"`       // where a file or a large result can be downloaded
	Error           *Error          `json:"error,omitempty"`           // why the job, or its last attempt, failed
	// Attempts is the history of runs, oldest first: the last MaxRuns of them. A released
	// attempt goes on in another run, under the same number; one with an error was handed back
	// by a worker that could not run it, the last of those in a row that said the same.
	Attempts []Attempt `json:"attempts,omitempty"`
}

// MaxRuns bounds a document's Attempts.
const MaxRuns = 20

// MaxSubmit bounds how long a gateway may take for a submit: so long after its request a job's
// accepted may come.
const MaxSubmit = 20 * time.Second

// Attempt is one run of the job, by one worker.
type Attempt struct {
	// Number is the attempt that people count.
	Number    int       `json:"number"`
	Worker    string    `json:"worker"`
	StartedAt time.Time `json:"startedAt"`
	// EndedAt and Outcome are absent while it runs.
	EndedAt *time.Time `json:"endedAt,omitempty"`
	Outcome Outcome    `json:"outcome,omitempty"`
	Error   *Error     `json:"error,omitempty"`
}

// Outcome is how an attempt ended.
type Outcome string

// The outcomes.
const (
	OutcomeCompleted Outcome = "completed"
	OutcomeFailed    Outcome = "failed"    // by the handler, or the job's deadline passed
	OutcomeReleased  Outcome = "released"  // the worker stopped, or with an error could not run the job, and gave it back
	OutcomeLost      Outcome = "lost"      // the lease ran out
	OutcomeTimedOut  Outcome = "timedOut"  // the attempt's timeout passed
	OutcomeCancelled Outcome = "cancelled" // the job's owner had it stopped
)

// Outcomes lists every outcome.
var Outcomes = []Outcome{
	OutcomeCompleted, OutcomeFailed, OutcomeReleased, OutcomeLost, OutcomeTimedOut, OutcomeCancelled,
}

// Progress is how far the current attempt has come.
type Progress struct {
	// Percent lies in 0..100 and never falls within one attempt.
	Percent float64 `json:"percent"`
	Message string  `json:"message,omitempty"`
	// Current and Total count whatever the handler counts; an absent Current beside a
	// Total is 0.
	Current int64 `json:"current,omitempty"`
	Total   int64 `json:"total,omitempty"`
}

// Error is why an attempt, or the whole job, failed. Code is the handler's own
// or one of the Code constants.
type Error struct {
	Code      string `json:"code"`              // for programs
	Message   string `json:"message,omitempty"` // for people
	Retryable bool   `json:"retryable"`         // another attempt may go better
}

// Codes that Ackwire itself gives to a job's error.
const (
	CodeWorkerLost       = "worker_lost"       // the lease ran out: the worker died, hung or was cut off
	CodeTimeout          = "timeout"           // the attempt took longer than its timeout
	CodeDeadlineExceeded = "deadline_exceeded" // the whole job took longer than its deadline
	CodeHandlerPanic     = "handler_panic"     // the handler panicked; the stack is in the worker's log
	CodeHandlerError     = "handler_error"     // the handler returned an error without a code of its own
	CodeResultTooLarge   = "result_too_large"  // the result is above its limit
	CodeResultNotStored  = "result_not_stored" // the blob store did not take the result
	CodePayloadMissing   = "payload_missing"   // the blob store did not give the payload
	CodeCancelled        = "cancelled"         // the handler ended because its job was cancelled
	CodeInvalidPayload   = "invalid_payload"   // the worker could not decode the payload into its type
	CodeInvalidResult    = "invalid_result"    // the result is not strict JSON (RFC 7493)
	CodeUnserved         = "unserved"          // no worker that took the job could run it, for MaxUnserved
)

// MaxUnserved is how long a job is handed out again and again to workers that cannot run it,
// counted from the first of them, before it fails with CodeUnserved.
const MaxUnserved = 24 * time.Hour

// Codes lists every code that Ackwire itself gives to a job's error.
var Codes = []string{CodeWorkerLost, CodeTimeout, CodeDeadlineExceeded, CodeHandlerPanic, CodeHandlerError,
	CodeResultTooLarge,
	CodeResultNotStored, CodePayloadMissing, CodeCancelled, CodeInvalidPayload, CodeInvalidResult, CodeUnserved}
