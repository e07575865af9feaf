// Package event holds the records of the topic status: the facts that gateways,
// workers and the tracker's timers append to a job's one log, and the orders that
// the tracker sends to workers over the topic control.
//
// Events are JSON with "v":1, keyed by job ID. An event carries no time of its own:
// its time is its record's timestamp, which the broker gives (LogAppendTime), so
// that clocks of clients and workers do not matter.
package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/strict"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Version is the value of "v" in every event and order of this package.
const Version = 1

// Type says what happened.
type Type string

// The events. The comment names who appends each.
const (
	Accepted         Type = "accepted"         // gateway: the request is durable
	Claimed          Type = "claimed"          // worker: a run takes the job
	Beat             Type = "beat"             // worker: the run lives
	Progress         Type = "progress"         // worker: the run came further
	Completed        Type = "completed"        // worker: the run succeeded
	Failed           Type = "failed"           // worker: the run failed
	Released         Type = "released"         // worker: the run gives the job back, at no cost
	LeaseExpired     Type = "leaseExpired"     // tracker: the run was not heard of for a lease
	AttemptTimedOut  Type = "attemptTimedOut"  // tracker: the attempt took too long
	Requeued         Type = "requeued"         // tracker: the next dispatch's request is durable
	CancelRequested  Type = "cancelRequested"  // gateway: the owner wants the job to stop
	CancelForced     Type = "cancelForced"     // tracker: the run did not stop in time
	RetryRequested   Type = "retryRequested"   // gateway: the owner wants an ended job to run again
	DeadlineExceeded Type = "deadlineExceeded" // tracker: the whole job took too long
	Expired          Type = "expired"          // tracker: retention is over
	CallbackQueued   Type = "callbackQueued"   // tracker: a webhook's job is durable
	PayloadLost      Type = "payloadLost"      // tracker: Kafka no longer holds what the next run needs
	// operator: no worker will take the request, which is among the dead letters
	RequestLost Type = "requestLost"
)

// Types lists every event type.
var Types = []Type{Accepted, Claimed, Beat, Progress, Completed, Failed, Released, LeaseExpired,
	AttemptTimedOut, Requeued, CancelRequested, CancelForced, RetryRequested, DeadlineExceeded, Expired, CallbackQueued,
	PayloadLost, RequestLost}

// maxCount bounds dispatches and rounds.
const maxCount = math.MaxInt32

// Position is where a record lies in Kafka.
type Position struct {
	Topic     string `json:"topic"`     // with its prefix
	Partition int32  `json:"partition"` // of the topic
	Offset    int64  `json:"offset"`    // of the record
}

func (p *Position) valid() bool {
	return p != nil && p.Topic != "" && job.Bounded(p.Topic, job.MaxNameChars) && p.Partition >= 0 && p.Offset >= 0
}

// Event is one record of the topic status. Which fields a type carries is fixed by
// Validate and by the JSON Schema of the same name.
type Event struct {
	V     int    `json:"v"`     // Version
	Type  Type   `json:"type"`  // what has happened
	JobID string `json:"jobId"` // the record's key
	// Life names one life of the job's ID, for an idempotency key gives a job that has expired the
	// same ID again: see Life. An event of another life changes nothing. Absent is taken for any.
	Life string `json:"life,omitempty"`

	// Identity of the job: in accepted and claimed, so that either can create it.
	Job         string      `json:"job,omitempty"` // job type
	Tenant      string      `json:"tenant,omitempty"`
	Subject     string      `json:"subject,omitempty"`
	Lane        string      `json:"lane,omitempty"`
	PayloadHash string      `json:"payloadHash,omitempty"` // "sha256:<hex>" over the RFC 8785 form
	Policy      *job.Policy `json:"policy,omitempty"`
	RunAt       *time.Time  `json:"runAt,omitempty"`
	CallbackURL string      `json:"callbackUrl,omitempty"`
	// CallbackEvents are the states whose beginning is told to CallbackURL; the terminal
	// ones when it is empty.
	CallbackEvents []job.State `json:"callbackEvents,omitempty"`

	// Request is the request record: in accepted, claimed and requeued, and in payloadLost and
	// requestLost the one that a pending job waits for.
	Request *Position `json:"request,omitempty"`
	// RequestedAt, in claimed, is when the broker took the request record, by the log's clock. It
	// is absent where that is not known.
	RequestedAt *time.Time `json:"requestedAt,omitempty"`

	// Fencing: in every worker event and, as far as the rules (tracker/fold/RULES.md) ask, in the tracker's.
	Dispatch int    `json:"dispatch,omitempty"`
	Run      string `json:"run,omitempty"`
	Worker   string `json:"worker,omitempty"`
	// NoGrant, in claimed, says that the run starts as soon as the claim is durable: no
	// granted is sent. A run that waits, or is in doubt, says its claim without it.
	NoGrant bool `json:"noGrant,omitempty"`
	// Renewal is the offset of the renewal that a lease timer has seen: in leaseExpired.
	Renewal *int64 `json:"renewal,omitempty"`
	// Round names the round that an order of the owner, or a deadline, saw. It is 0 for
	// a job that was never retried explicitly.
	Round int `json:"round,omitempty"`

	Progress  *job.Progress   `json:"progress,omitempty"`  // in progress
	Result    json.RawMessage `json:"result,omitempty"`    // in completed: a result that is small enough for the log
	ResultURL string          `json:"resultUrl,omitempty"` // in completed: where another store serves the result
	// ResultBlob is where a result lies that is too large for the log, or a file.
	ResultBlob *Blob `json:"resultBlob,omitempty"`
	// Error is why the run failed: in failed. In released it is why this worker cannot run the
	// job, and absent when the worker stops.
	Error *Failure `json:"error,omitempty"`

	// Delivery is the webhook that was queued: in callbackQueued.
	Delivery *Delivery `json:"delivery,omitempty"`
}

// Delivery is a webhook: a job of its own.
type Delivery struct {
	JobID string `json:"jobId"` // the webhook's own ID
	// State is the one whose beginning it tells, Version the job's at that moment.
	State   job.State `json:"state"`
	Version int64     `json:"version"`
}

func (d *Delivery) valid() bool {
	return d != nil && d.JobID != "" && job.Bounded(d.JobID, job.MaxNameChars) && d.State.Valid() && d.Version > 0
}

// Failure is how a run failed.
type Failure struct {
	job.Error
	// RetryAfter, when set, replaces the policy's backoff; in released it is the least pause.
	RetryAfter *job.Seconds `json:"retryAfter,omitempty"`
}

// Blob is a result in the blob store, which the gateway serves at the job's resultUrl.
type Blob struct {
	// Key begins with ResultPrefix of the job, so that no job can name another's.
	Key         string `json:"key"`
	Size        int64  `json:"size"`
	ContentType string `json:"contentType"`
	// Name is the file's, for those who download it.
	Name string `json:"name,omitempty"`
}

// ResultPrefix starts the keys of the blobs of a job's results.
func ResultPrefix(jobID string) string { return "results/" + jobID + "/" }

// PayloadPrefix starts the keys of the blobs of a job's payloads.
func PayloadPrefix(jobID string) string { return "payloads/" + jobID + "/" }

// ResultFolder starts the keys of the results of one life of a job's ID, so that what one life
// leaves is never another's. Without a life it is ResultPrefix.
func ResultFolder(jobID, life string) string { return ResultPrefix(jobID) + folder(life) }

// PayloadFolder is to payloads what ResultFolder is to results.
func PayloadFolder(jobID, life string) string { return PayloadPrefix(jobID) + folder(life) }

func folder(life string) string {
	if life == "" {
		return ""
	}
	return life + "/"
}

// BornAt is the life of a job whose first event names none: that event's offset.
func BornAt(offset int64) string { return "o" + strconv.FormatInt(offset, 10) }

// NamedByGateway reports whether the life was named before the job's first event: its payload, if
// that is in the blob store, is in the life's folder.
func NamedByGateway(life string) bool {
	offset, isOffset := strings.CutPrefix(life, "o")
	_, err := strconv.ParseInt(offset, 10, 64)
	return life != "" && !(isOffset && err == nil)
}

func (b *Blob) valid(jobID string) bool {
	return b == nil || strings.HasPrefix(b.Key, ResultPrefix(jobID)) && b.Size >= 0 && b.ContentType != "" &&
		!strings.Contains(b.Key, "..") &&
		job.Bounded(b.Key, MaxBlobChars) && job.Bounded(b.ContentType, job.MaxNameChars) && job.Bounded(b.Name, MaxBlobChars)
}

func (f *Failure) valid() bool {
	return f != nil && f.Code != "" && (f.RetryAfter == nil || f.RetryAfter.Validate() == nil)
}

func validProgress(p *job.Progress) bool {
	return p != nil && p.Percent >= 0 && p.Percent <= 100 && p.Current >= 0 && p.Total >= 0
}

// ErrVersion is returned for an event of a version this package does not know.
var ErrVersion = errors.New("unknown event version")

// Decode reads one event and validates it. Unknown fields are ignored. With an error that
// Validate found, what could be read comes with it. Text that is not Unicode is repaired with
// U+FFFD; a completed whose result is not strict JSON is read as the failure that it is.
func Decode(value []byte) (Event, error) {
	var e Event
	if err := strict.Unmarshal(value, &e); err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	e.refuseResult()
	return e, e.Validate()
}

// refuseResult makes a completed whose result not every parser could read a permanent failure.
func (e *Event) refuseResult() {
	if e.Type != Completed || len(e.Result) == 0 {
		return
	}
	if err := strict.Check(e.Result); err != nil {
		e.Type, e.Error = Failed, InvalidResult(err)
		e.Result, e.ResultURL, e.ResultBlob = nil, "", nil
	}
}

// InvalidResult is the failure of a run whose result is not strict JSON, and why.
func InvalidResult(why error) *Failure {
	return &Failure{Error: job.Error{Code: job.CodeInvalidResult, Message: "the handler's result " + why.Error()}}
}

// Encode sets the version of e and gives its bytes, which Decode takes.
func Encode(e *Event) ([]byte, error) {
	e.V = Version
	if err := e.Validate(); err != nil {
		return nil, err
	}
	return plainjson.Marshal(e)
}

// Validate checks that e carries what its type needs, each in its bounds.
func (e *Event) Validate() error {
	if e.V != Version {
		return fmt.Errorf("%w %d", ErrVersion, e.V)
	}
	if e.JobID == "" {
		return errors.New("event without jobId")
	}
	if e.Life != "" && !topic.ValidLife(e.Life) {
		return fmt.Errorf("event %s without valid [life]", e.Type)
	}
	var bad []string
	need := func(name string, ok bool) {
		if !ok {
			bad = append(bad, name)
		}
	}
	e.bounds(need)
	dispatch := func() { need("dispatch", e.Dispatch > 0 && e.Dispatch <= maxCount) }
	run := func() {
		dispatch()
		need("run", e.Run != "")
	}
	round := func() { need("round", e.Round >= 0 && e.Round <= maxCount) }
	birth := func() {
		need("job", e.Job != "")
		need("tenant", e.Tenant != "")
		need("lane", e.Lane == "" || topic.ValidLane(e.Lane))
		need("payloadHash", e.PayloadHash != "")
		need("policy", e.Policy != nil && e.Policy.Validate() == nil)
		need("request", e.Request.valid())
		need("callbackEvents", len(e.CallbackEvents) <= len(job.States) &&
			!slices.ContainsFunc(e.CallbackEvents, func(s job.State) bool { return !s.Valid() }))
	}
	switch e.Type {
	case Accepted:
		birth()
	case Claimed:
		birth()
		run()
		need("worker", e.Worker != "")
	case Beat, AttemptTimedOut:
		run()
	case Released:
		run()
		need("error", e.Error == nil || e.Error.valid())
	case Completed:
		run()
		need("resultBlob", e.ResultBlob.valid(e.JobID))
	case Progress:
		run()
		need("progress", validProgress(e.Progress))
	case Failed:
		run()
		need("error", e.Error.valid())
	case LeaseExpired:
		run()
		need("renewal", e.Renewal != nil)
	case Requeued:
		dispatch()
		need("request", e.Request.valid())
	case CancelForced:
		dispatch()
	case PayloadLost:
		dispatch()
		need("request", e.Request == nil || e.Request.valid())
	case RequestLost:
		need("request", e.Request.valid())
	case CancelRequested, RetryRequested, DeadlineExceeded, Expired:
		round()
	case CallbackQueued:
		need("delivery", e.Delivery.valid())
	default:
		return fmt.Errorf("unknown event type %.64q", e.Type)
	}
	if len(bad) > 0 {
		return fmt.Errorf("event %s without valid %v", e.Type, bad)
	}
	return nil
}
