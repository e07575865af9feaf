// Package event holds the records of the topic status, which are the events that gateways, workers and trackers append
// to a job's log, and the records of the topic control, which are the orders that trackers send to workers.
//
// Events are JSON with "v":1, keyed by job ID. An event has no time of its own: its time is its record's timestamp,
// which the broker sets (LogAppendTime), so that the clocks of gateways and workers do not matter.
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

	"github.com/ackwire/ackwire/schemas/codec"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/strict"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Version is the value of "v" in every event and order of this package.
const Version = 1

// Type says what happened.
type Type string

// The event types. Each comment names the service that appends the event.
const (
	Accepted         Type = "accepted"         // gateway: the request is durable
	Claimed          Type = "claimed"          // worker: a run takes the job
	Beat             Type = "beat"             // worker: heartbeat; renews the run's lease
	Progress         Type = "progress"         // worker: the run has made progress; renews its lease
	Completed        Type = "completed"        // worker: the run succeeded
	Failed           Type = "failed"           // worker: the run failed
	Released         Type = "released"         // worker: the run hands the job back, which costs no attempt
	LeaseExpired     Type = "leaseExpired"     // tracker: the run did not renew its lease in time
	AttemptTimedOut  Type = "attemptTimedOut"  // tracker: the attempt took too long
	Requeued         Type = "requeued"         // tracker: the next dispatch's request is durable
	CancelRequested  Type = "cancelRequested"  // gateway: the owner wants the job to stop
	CancelForced     Type = "cancelForced"     // tracker: the run did not stop in time
	RetryRequested   Type = "retryRequested"   // gateway: the owner wants an ended job to run again
	DeadlineExceeded Type = "deadlineExceeded" // tracker: the whole job took too long
	Expired          Type = "expired"          // tracker: retention is over
	CallbackQueued   Type = "callbackQueued"   // tracker: a webhook's job is durable
	PayloadLost      Type = "payloadLost"      // tracker: Kafka no longer holds what the next run needs
	Erased           Type = "erased"           // gateway: the owner wants an ended job to be removed
	// operator: no worker will take the request, which is among the dead letters
	RequestLost Type = "requestLost"
)

// Types lists every event type.
var Types = []Type{Accepted, Claimed, Beat, Progress, Completed, Failed, Released, LeaseExpired,
	AttemptTimedOut, Requeued, CancelRequested, CancelForced, RetryRequested, DeadlineExceeded, Expired, CallbackQueued,
	PayloadLost, Erased, RequestLost}

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
	// Life names one life of the job's ID: an idempotency key gives the job that follows an expired one the
	// same ID again, with another life. An event of another life changes nothing. An event without a life
	// counts for any life.
	Life string `json:"life,omitempty"`

	// Identity of the job: in accepted and claimed, so that either event can create it.
	Job         string      `json:"job,omitempty"` // job type
	Tenant      string      `json:"tenant,omitempty"`
	Subject     string      `json:"subject,omitempty"`
	Lane        string      `json:"lane,omitempty"`
	PayloadHash string      `json:"payloadHash,omitempty"` // "sha256:<hex>" over the RFC 8785 form
	Policy      *job.Policy `json:"policy,omitempty"`
	RunAt       *time.Time  `json:"runAt,omitempty"`
	CallbackURL string      `json:"callbackUrl,omitempty"`
	// CallbackEvents are the states for which CallbackURL is called when the job enters them; if empty, the
	// terminal ones.
	CallbackEvents []job.State `json:"callbackEvents,omitempty"`
	Tags           job.Tags    `json:"tags,omitempty"`

	// Request is the request record: in accepted, claimed and requeued, and in payloadLost and
	// requestLost the one that a pending job waits for.
	Request *Position `json:"request,omitempty"`
	// RequestedAt, in claimed, is the broker's timestamp of the request record. It is absent where the
	// timestamp is not the broker's (no LogAppendTime).
	RequestedAt *time.Time `json:"requestedAt,omitempty"`

	// Fencing: in every event of a worker, and in the tracker's where the rules (tracker/fold/RULES.md) say so.
	Dispatch int    `json:"dispatch,omitempty"`
	Run      string `json:"run,omitempty"`
	Worker   string `json:"worker,omitempty"`
	// NoGrant, in claimed, says that the run starts as soon as the claim is durable, and needs no granted
	// order. A run that waits for the order, or does not know whether its claim was written, repeats its
	// claim without NoGrant.
	NoGrant bool `json:"noGrant,omitempty"`
	// Renewal, in leaseExpired, is the offset of the last event of the run (claimed, beat or progress) that
	// the lease's timer has seen. The event counts only if no later one is in the log.
	Renewal *int64 `json:"renewal,omitempty"`
	// Round, in cancelRequested, retryRequested, deadlineExceeded, expired and erased, is the number of
	// explicit retries that the writer has seen: the event counts only in this round. It is 0 for a job that
	// was never retried explicitly.
	Round int `json:"round,omitempty"`
	// Bulk, in cancelRequested, retryRequested and erased, is the ID of the bulk action whose order it is.
	Bulk string `json:"bulk,omitempty"`

	Progress  *job.Progress   `json:"progress,omitempty"`  // in progress
	Streams   job.Streams     `json:"streams,omitempty"`   // in completed, failed and released: what the run has written
	Result    json.RawMessage `json:"result,omitempty"`    // in completed: a result that is small enough for the log
	ResultURL string          `json:"resultUrl,omitempty"` // in completed: the URL of a result in another store
	// ResultBlob, in completed, is a file, or a result that is too large for the log, in the blob store.
	ResultBlob *Blob `json:"resultBlob,omitempty"`
	// Error, in failed, is why the run failed. In released it is why this worker cannot run the
	// job; it is absent when the worker stops.
	Error *Failure `json:"error,omitempty"`

	// Delivery, in callbackQueued, is the webhook that was queued.
	Delivery *Delivery `json:"delivery,omitempty"`
}

// Delivery is a webhook, which is a job of its own.
type Delivery struct {
	JobID string `json:"jobId"` // the ID of the webhook's job
	// State is the state that the job has entered, and Version the version of its document then.
	State   job.State `json:"state"`
	Version int64     `json:"version"`
}

func (d *Delivery) valid() bool {
	return d != nil && d.JobID != "" && job.Bounded(d.JobID, job.MaxNameChars) && d.State.Valid() && d.Version > 0
}

// Failure is how a run failed.
type Failure struct {
	job.Error
	// RetryAfter, when set, replaces the policy's backoff; in released it is the least pause before the next
	// dispatch.
	RetryAfter *job.Seconds `json:"retryAfter,omitempty"`
}

// Blob is a result in the blob store, which the gateway serves at the job's resultUrl.
type Blob struct {
	// Key starts with ResultPrefix of the job, so that an event cannot name another job's blob.
	Key         string `json:"key"`
	Size        int64  `json:"size"` // in bytes
	ContentType string `json:"contentType"`
	// Name is the file name that a download is given.
	Name string `json:"name,omitempty"`
}

// ResultPrefix returns the prefix of the keys of a job's results in the blob store.
func ResultPrefix(jobID string) string { return "results/" + jobID + "/" }

// PayloadPrefix returns the prefix of the keys of a job's payloads in the blob store.
func PayloadPrefix(jobID string) string { return "payloads/" + jobID + "/" }

// ResultFolder returns the prefix of the keys of the results of one life of a job's ID, so that lives do not share
// blobs. Without a life it is ResultPrefix.
func ResultFolder(jobID, life string) string { return ResultPrefix(jobID) + folder(life) }

// PayloadFolder returns the prefix of the keys of the payloads of one life of a job's ID, like ResultFolder.
func PayloadFolder(jobID, life string) string { return PayloadPrefix(jobID) + folder(life) }

func folder(life string) string {
	if life == "" {
		return ""
	}
	return life + "/"
}

// BornAt returns the life of a job whose first event has none: it is made from that event's offset.
func BornAt(offset int64) string { return "o" + strconv.FormatInt(offset, 10) }

// NamedByGateway reports whether the gateway has named the life, before the job's first event. Then the job's
// payload, if it is in the blob store, is in the life's folder; a life of BornAt was not known when the payload was
// stored.
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

// events reads and writes events.
var events = codec.New[Event]().Together(origin{})

// origin is what accepted and claimed point to.
type origin struct {
	Policy  job.Policy `json:"policy"`
	Request Position   `json:"request"`
}

// ErrVersion is returned for an event of a version this package does not know.
var ErrVersion = errors.New("unknown event version")

// Decode reads one event and validates it. Unknown fields are ignored, and invalid UTF-8 is replaced with U+FFFD. A
// completed event whose result is not strict JSON becomes a failed event with the code invalid_result. If only Validate
// fails, the event is returned along with the error.
func Decode(value []byte) (Event, error) {
	var e Event
	sound, err := events.Decode(value, &e)
	if err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	if !sound {
		e.refuseResult()
	}
	return e, e.Validate()
}

// refuseResult turns a completed event whose result is not strict JSON, which not every parser could read, into a
// permanent failure.
func (e *Event) refuseResult() {
	if e.Type != Completed || len(e.Result) == 0 {
		return
	}
	if err := strict.Check(e.Result); err != nil {
		e.Type, e.Error = Failed, InvalidResult(err)
		e.Result, e.ResultURL, e.ResultBlob = nil, "", nil
	}
}

// InvalidResult returns the failure of a run whose result is not strict JSON, or breaks its schema; why is the error of
// the check.
func InvalidResult(why error) *Failure {
	return &Failure{Error: job.Error{Code: job.CodeInvalidResult, Message: "the handler's result " + why.Error()}}
}

// Encode sets the version of e, validates it, and returns its JSON encoding.
func Encode(e *Event) ([]byte, error) {
	e.V = Version
	if err := e.Validate(); err != nil {
		return nil, err
	}
	return events.Encode(e)
}

// Validate checks that e has the fields that its type needs, within their bounds. The error names all fields that are
// missing or not valid.
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
		need("tags", e.Tags.Validate() == nil)
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
	case CancelRequested, RetryRequested, DeadlineExceeded, Expired, Erased:
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
