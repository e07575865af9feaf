package fold

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// Job is the state of one job: the public document, and the fields that the rules need beside it. A Job
// is never changed once Fold has returned it.
type Job struct {
	// Doc is encoded by Document, apart from the job's JSON.
	Doc job.Document `json:"-"`

	// Version is 1 + the offset of the last status record folded into the job.
	Version int64 `json:"version"`
	// Life names this life of the job's ID: the one in its first event, or else event.BornAt. It is
	// empty for a job that was made before lives were introduced.
	Life string `json:"life,omitempty"`

	Tenant      string     `json:"tenant"` // subject and lane are in Doc
	PayloadHash string     `json:"payloadHash"`
	Policy      job.Policy `json:"policy"`

	// CallbackURL gets a webhook when one of the states in CallbackEvents begins; without
	// CallbackEvents, when a terminal one begins.
	CallbackURL    string      `json:"callbackUrl,omitempty"`
	CallbackEvents []job.State `json:"callbackEvents,omitempty"`
	// CallbackState is the last state that began and needs a webhook. CallbackDue is the job's
	// version then, and 0 once the webhook is durable.
	CallbackState job.State `json:"callbackState,omitempty"`
	CallbackDue   int64     `json:"callbackDue,omitempty"`
	// Deliveries are the last MaxDeliveries webhooks, the oldest first.
	Deliveries []event.Delivery `json:"deliveries,omitempty"`

	// Source is the position of the first request record, which has the payload for every dispatch.
	Source event.Position `json:"source"`
	// Accepted is false for a job that was born by a claim whose accepted is still to come.
	Accepted bool `json:"accepted"`
	// ByWriter says that the document's updatedAt was set by the event's writer, so that no rule decides by it. It
	// stands beside another bool because every job in memory would have 64 bytes more without.
	ByWriter bool `json:"byWriter,omitempty"`

	// Dispatch rises each time the job is dispatched again. It is the fence: events of runs of an
	// earlier dispatch are refused.
	Dispatch int `json:"dispatch"`
	// Round rises with each explicit retry; RoundAt is when it began.
	Round   int       `json:"round"`
	RoundAt time.Time `json:"roundAt"`
	// Request is the request record of this dispatch; nil while it is not known.
	Request *event.Position `json:"request,omitempty"`

	// Run and Worker are the one execution that holds the lease; empty when none does.
	Run    string `json:"run,omitempty"`
	Worker string `json:"worker,omitempty"`
	// Writer is the run whose streams count: the last one that has held the lease; nil if none has.
	Writer *Writer `json:"writer,omitempty"`
	// Renewal is the offset of the last claimed, beat or progress taken from the run, RenewedAt
	// when it was appended, by the owner's clock.
	Renewal   int64     `json:"renewal,omitempty"`
	RenewedAt time.Time `json:"renewedAt,omitzero"`
	// Skew is how far the timestamp of the record that began the job's state was ahead of the clock of
	// the partition's owner. Timers subtract it. It is 0 where brokers stamp records.
	Skew time.Duration `json:"skew,omitempty"`
	// Ahead is how far the document's updatedAt was ahead of that clock.
	Ahead time.Duration `json:"ahead,omitempty"`
	// CancelAt is when the cancellation of the current run was requested.
	CancelAt *time.Time `json:"cancelAt,omitempty"`

	// Unserved is set while workers hand the job back because they cannot run it.
	Unserved *Unserved `json:"unserved,omitempty"`

	// ResultBlob is the place in the blob store of the result that the document's resultUrl serves.
	ResultBlob *event.Blob `json:"resultBlob,omitempty"`
}

// Writer names a run that writes streams, and the dispatch that it took. It is not changed once a job has it.
type Writer struct {
	Run      string `json:"run"`
	Dispatch int    `json:"dispatch"`
}

// UpdatedAt returns when the job changed last, by the clock of the partition's owner. Where brokers stamp records
// it is the document's updatedAt.
func (j *Job) UpdatedAt() time.Time { return j.Doc.UpdatedAt.Add(-j.Ahead) }

// Ended reports whether the job is in a terminal state, or erased.
func (j *Job) Ended() bool { return j.Doc.State.Terminal() || j.Erased() }

// MaxDeliveries is how many webhooks a job remembers.
const MaxDeliveries = 20

// calls reports whether the callback gets a webhook when state s begins.
func (j *Job) calls(s job.State) bool {
	if j.CallbackURL == "" {
		return false
	}
	if len(j.CallbackEvents) == 0 {
		return s.Terminal()
	}
	return slices.Contains(j.CallbackEvents, s)
}

// Document encodes the public document. Store, view, gateways and clients all get these bytes.
func (j *Job) Document() []byte {
	doc, err := job.EncodeDocument(&j.Doc)
	if err != nil {
		// Unreachable, see writable. If it happens all the same, one job has a document without
		// times, and its partition goes on.
		d := &j.Doc
		short := job.Document{
			JobID: d.JobID, Type: d.Type, State: d.State, Attempt: d.Attempt, MaxAttempts: d.MaxAttempts,
			Lane: d.Lane, Subject: d.Subject, Tags: d.Tags,
		}
		doc, _ = job.EncodeDocument(&short)
	}
	return doc
}

// holds reports whether e comes from, or is about, the run that holds the lease.
func (j *Job) holds(e *event.Event) bool {
	return j != nil && j.Doc.State == job.Processing && e.Dispatch == j.Dispatch && e.Run == j.Run
}

// born returns a new job from an event that describes one: accepted, or a claim that overtook it.
func born(e *event.Event, at Meta) *Job {
	life := e.Life
	if life == "" {
		life = event.BornAt(at.Offset)
	}
	j := &Job{
		Life: life,
		Doc: job.Document{
			JobID:       e.JobID,
			Type:        e.Job,
			State:       job.Pending,
			Attempt:     1,
			MaxAttempts: e.Policy.Attempts,
			CreatedAt:   at.Time,
			Lane:        e.Lane,
			Subject:     e.Subject,
		},
		Tenant:      e.Tenant,
		PayloadHash: e.PayloadHash,
		Policy:      *e.Policy,
		CallbackURL: e.CallbackURL, CallbackEvents: e.CallbackEvents,
		Source:   *e.Request,
		Request:  e.Request,
		Dispatch: 1,
		RoundAt:  at.Clock,
	}
	if len(e.Tags) > 0 { // the map is nobody else's, and is not changed
		j.Doc.Tags = e.Tags
	}
	if e.RunAt != nil {
		runAt := e.RunAt.UTC()
		j.Doc.RunAt = &runAt
	}
	return j
}

// start gives the job to the run that claims it.
func (j *Job) start(e *event.Event, at Meta) {
	j.begin(job.Processing, at)
	j.Doc.StartedAt = &at.Time
	j.Doc.RetryAt = nil
	j.Doc.Progress = nil
	j.Doc.Error = nil
	j.Doc.Streams = nil
	j.Request = e.Request
	j.Run, j.Worker = e.Run, e.Worker
	j.Writer = &Writer{e.Run, e.Dispatch}
	j.renew(at)
	// The history is shared with the former Job, so it is copied.
	runs := append(slices.Clone(j.Doc.Attempts), job.Attempt{Number: j.Doc.Attempt, Worker: e.Worker, StartedAt: at.Time})
	j.Doc.Attempts = runs[max(0, len(runs)-job.MaxRuns):]
}

// renew notes an event from the run that holds the lease.
func (j *Job) renew(at Meta) { j.Renewal, j.RenewedAt = at.Offset, at.Clock }

// letGo clears the run that held the lease.
func (j *Job) letGo() {
	j.Run = ""
	j.Worker = ""
	j.Renewal = 0
	j.RenewedAt = time.Time{}
	j.CancelAt = nil
}

// endRun notes in the history how the run that holds the lease ended.
func (j *Job) endRun(o job.Outcome, err *job.Error, at time.Time) {
	if j.Doc.State != job.Processing || len(j.Doc.Attempts) == 0 {
		return
	}
	runs := slices.Clone(j.Doc.Attempts)
	last := &runs[len(runs)-1]
	last.EndedAt, last.Outcome, last.Error = &at, o, err
	j.Doc.Attempts = runs
}

// end puts the job into a terminal state.
func (j *Job) end(s job.State, at Meta) {
	j.begin(s, at)
	j.Doc.FinishedAt = &at.Time
	j.Doc.RetryAt = nil
	j.letGo()
}

// Bounds of workers' error codes and messages, in bytes. A document holds those of the last runs.
const (
	maxCode    = 128
	maxMessage = 2048
)

// ResultPath returns the path of the gateway that serves a job's result from the blob store.
func ResultPath(jobID string) string { return "/v1/jobs/" + jobID + "/result" }

// canonical returns a result as it is written in the job's document, with valid UTF-8, so that a job is
// the same after it was stored and read again.
func canonical(result json.RawMessage) json.RawMessage {
	if !utf8.Valid(result) {
		result = bytes.ToValidUTF8(result, []byte("\uFFFD"))
	}
	b, err := plainjson.Marshal(result)
	if len(result) == 0 || err != nil {
		return nil
	}
	return b
}

// begin puts the job into a state that begins with the record.
func (j *Job) begin(s job.State, at Meta) {
	j.Doc.State = s
	j.Skew = at.Time.Sub(at.Clock)
}

// handOut makes the job retrying, with its next dispatch due after a wait. Its request is not known yet.
func (j *Job) handOut(at Meta, wait time.Duration) {
	j.begin(job.Retrying, at)
	due := at.Time.Add(wait)
	j.Doc.RetryAt = &due
	j.Dispatch++
	j.Request = nil
	j.letGo()
}
