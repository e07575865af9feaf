// Package job holds the public view of a job: its states, its document and the policy with which it was created. The
// rules that move a job from state to state are in one place only, the tracker's fold (package tracker/fold).
package job

import (
	"encoding/json"
	"time"
)

// State is a job's state. The comment of each constant says which part moves the job on to the next state.
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
	// Completed has succeeded and may have a result. Terminal: only an explicit retry or its expiry moves it on.
	Completed State = "completed"
	// Failed has used up its attempts or failed permanently. Terminal, like Completed.
	Failed State = "failed"
	// Cancelled was stopped at its owner's request. Terminal, like Completed.
	Cancelled State = "cancelled"
)

// States lists every state, in the order of a job's life.
var States = []State{Pending, Scheduled, Queued, Processing, Retrying, Completed, Failed, Cancelled}

// Terminal reports whether a job in this state has ended: only an explicit retry or its expiry changes it.
func (s State) Terminal() bool { return s == Completed || s == Failed || s == Cancelled }

// Valid reports whether s is one of States.
func (s State) Valid() bool {
	switch s {
	case Pending, Scheduled, Queued, Processing, Retrying, Completed, Failed, Cancelled:
		return true
	}
	return false
}

// Document is the public document of a job, as it is sent over WebSockets, HTTP, event streams (SSE), webhooks and the
// topic view. Fields that are not set are absent. Times are RFC 3339 in UTC.
type Document struct {
	JobID           string          `json:"jobId"`                     // chosen by the server, unique in its tenant
	Type            string          `json:"type"`                      // the job type, such as "mail.send"
	State           State           `json:"state"`                     // the current state
	Progress        *Progress       `json:"progress,omitempty"`        // of the current attempt; absent before any
	Attempt         int             `json:"attempt"`                   // the current one, the next one or the last; from 1
	MaxAttempts     int             `json:"maxAttempts"`               // the highest number that Attempt may reach
	CreatedAt       time.Time       `json:"createdAt"`                 // when it was accepted
	UpdatedAt       time.Time       `json:"updatedAt"`                 // when the document last changed
	StartedAt       *time.Time      `json:"startedAt,omitempty"`       // when its first attempt began
	FinishedAt      *time.Time      `json:"finishedAt,omitempty"`      // when it ended
	RetryAt         *time.Time      `json:"retryAt,omitempty"`         // when the next attempt is due
	RunAt           *time.Time      `json:"runAt,omitempty"`           // the start time that the submit asked for
	CancelRequested bool            `json:"cancelRequested,omitempty"` // a cancel was requested, and it has not ended
	Result          json.RawMessage `json:"result,omitempty"`          // what the handler returned, unless it is large
	ResultURL       string          `json:"resultUrl,omitempty"`       // where a file or a large result can be downloaded
	// Streams are the totals of what the last run has written to the job's streams. They are absent while a run holds the
	// job, and when a run was lost.
	Streams Streams `json:"streams,omitempty"`
	Error   *Error  `json:"error,omitempty"` // why the job, or its last attempt, failed
	// Attempts is the history of runs, oldest first: the last MaxRuns of them. A released
	// attempt goes on in another run, under the same number. A released one with an error was
	// handed back by a worker that could not run it; of several in a row with the same error only
	// the last is kept.
	Attempts []Attempt `json:"attempts,omitempty"`
	Lane     string    `json:"lane,omitempty"` // where it runs
	// Subject is the token's with which the job was submitted. It is absent if that had none, and for a reader with a
	// grant for others' jobs.
	Subject string `json:"subject,omitempty"`
	Tags    Tags   `json:"tags,omitempty"` // what its submitter has attached to it
}

// MaxRuns bounds a document's Attempts.
const MaxRuns = 20

// MaxSubmit bounds how long a gateway may take for a submit: a job's accepted event may be written up to this long
// after its request.
const MaxSubmit = 20 * time.Second

// Attempt is one run of the job, by one worker.
type Attempt struct {
	// Number is the number of the attempt, from 1. Several runs of one attempt share it.
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
	OutcomeFailed    Outcome = "failed"    // the handler failed, or the job's deadline passed
	OutcomeReleased  Outcome = "released"  // handed back: the worker stopped or, with an error, could not run the job
	OutcomeLost      Outcome = "lost"      // the lease ran out
	OutcomeTimedOut  Outcome = "timedOut"  // the attempt's timeout passed
	OutcomeCancelled Outcome = "cancelled" // the job was cancelled
)

// Outcomes lists every outcome.
var Outcomes = []Outcome{
	OutcomeCompleted, OutcomeFailed, OutcomeReleased, OutcomeLost, OutcomeTimedOut, OutcomeCancelled,
}

// Error is why an attempt, or the whole job, failed. Code is the handler's own
// or one of the Code constants.
type Error struct {
	Code      string `json:"code"`              // for programs
	Message   string `json:"message,omitempty"` // for people
	Retryable bool   `json:"retryable"`         // another attempt may succeed
}

// Codes that Ackwire itself gives to a job's error.
const (
	CodeWorkerLost       = "worker_lost"       // the lease ran out: the worker died, hung or was cut off
	CodeTimeout          = "timeout"           // the attempt took longer than its timeout
	CodeDeadlineExceeded = "deadline_exceeded" // the whole job took longer than its deadline
	CodeHandlerPanic     = "handler_panic"     // the handler panicked; the stack is in the worker's log
	CodeHandlerError     = "handler_error"     // the handler returned an error without a code of its own
	CodeResultTooLarge   = "result_too_large"  // the result is above its limit
	CodeResultNotStored  = "result_not_stored" // the result could not be written to the blob store
	CodePayloadMissing   = "payload_missing"   // the payload could not be read from the blob store, or is lost
	CodeCancelled        = "cancelled"         // the handler ended because its job was cancelled
	CodeInvalidPayload   = "invalid_payload"   // the worker could not decode the payload into its type
	CodeInvalidResult    = "invalid_result"    // the result is not strict JSON (RFC 7493), or breaks its type's schema
	CodeInvalidProgress  = "invalid_progress"  // a handler gave a stage or data that progress cannot have
	CodeInvalidStream    = "invalid_stream"    // a stream's name or kind is not possible, or an item is not strict JSON
	CodeStreamTooLarge   = "stream_too_large"  // the streams of a run, or an item, are above their limit
	CodeStreamNotStored  = "stream_not_stored" // Kafka did not confirm a piece of a stream
	CodeUnserved         = "unserved"          // for MaxUnserved every worker that took the job was unable to run it
)

// MaxUnserved is how long a job is handed out again and again to workers that cannot run it, counted from the first
// such worker, before it fails with CodeUnserved.
const MaxUnserved = 24 * time.Hour

// Codes lists every code that Ackwire itself gives to a job's error.
var Codes = []string{CodeWorkerLost, CodeTimeout, CodeDeadlineExceeded, CodeHandlerPanic, CodeHandlerError,
	CodeResultTooLarge, CodeResultNotStored, CodePayloadMissing, CodeCancelled, CodeInvalidPayload, CodeInvalidResult,
	CodeInvalidProgress, CodeInvalidStream, CodeStreamTooLarge, CodeStreamNotStored, CodeUnserved}
