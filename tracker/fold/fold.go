package fold

import (
	"fmt"
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/text"
)

// Meta is an event's position and times in the log.
type Meta struct {
	Offset int64
	// Time is the record's timestamp.
	Time time.Time
	// ByWriter says that Time was set by the event's writer (CreateTime), and not by the broker
	// (LogAppendTime). Documents show such a time, but no rule decides by it, as it may be anything.
	ByWriter bool
	// Clock is when the record was appended, by the clock of the partition's owner. Timers count
	// from it. Rules do not decide by it, as another owner may have read the record later. A zero
	// Clock means Time.
	Clock time.Time
	// ClosedAt is the first offset after the partition's topic.MarkClosed; 0 if it has none.
	ClosedAt int64
}

// Result is the effect of an event.
type Result struct {
	// Job is the job afterwards: the one given in when nothing changed, nil when the job
	// is unknown or was removed.
	Job *Job
	// Changed reports whether the event was taken.
	Changed bool
	// Quiet marks a change that watchers of the job need not be told.
	Quiet bool
	// Reason says why the event was not taken.
	Reason Reason
	// Orders are for workers. They may be lost or doubled: they are repeated with each further
	// event of the run.
	Orders []event.Order
}

// Reason says why an event changed nothing.
type Reason string

// The reasons.
const (
	Taken          Reason = ""
	Old            Reason = "old"             // folded before: the offset is below the job's version
	Duplicate      Reason = "duplicate"       // accepted: the job is known, with the same payload
	Conflict       Reason = "conflict"        // accepted: the job is known, with another payload
	UnknownJob     Reason = "unknown_job"     // no job of that ID
	Ended          Reason = "ended"           // the job is in a terminal state
	NotEnded       Reason = "not_ended"       // the job is not in a terminal state
	NotHeld        Reason = "not_held"        // no run holds the job, or it does not wait for this event
	WrongRun       Reason = "wrong_run"       // another run holds the job
	OldDispatch    Reason = "old_dispatch"    // the job has been handed out again since
	FutureDispatch Reason = "future_dispatch" // above the job's own: the log has lost records
	WrongRequest   Reason = "wrong_request"   // a claim from a request that the job does not name
	StaleRenewal   Reason = "stale_renewal"   // the lease was renewed since
	WrongRound     Reason = "wrong_round"     // a cancel or retry that names an earlier round
	NotRequested   Reason = "not_requested"   // cancelForced without a cancelRequested
	NotDue         Reason = "not_due"         // expired before the retention is over
	NotOwed        Reason = "not_owed"        // callbackQueued for a state whose webhook is queued, or outdated
	OtherLife      Reason = "other_life"      // of another life of the job's ID
	// StaleRequest: a claim for an unknown job, from a request so old that its job may have expired.
	StaleRequest Reason = "stale_request"
	// Moved: the first event of a job with an idempotency key, after the partition was closed. Such jobs are made under
	// another topic prefix.
	Moved Reason = "moved"
	// NoDocument: the job could not be written as a document afterwards. The record is a dead letter.
	NoDocument Reason = "no_document"
)

// Reasons lists every reason for which an event changes nothing.
var Reasons = []Reason{Old, Duplicate, Conflict, UnknownJob, Ended, NotEnded, NotHeld, WrongRun,
	OldDispatch, FutureDispatch, WrongRequest, StaleRenewal, WrongRound, NotRequested, NotDue, NotOwed,
	OtherLife, StaleRequest, Moved, NoDocument}

// step is the folding of one event.
type step struct {
	old  *Job         // the job before the event; nil while it is unknown
	e    *event.Event // valid
	at   Meta
	next *Job // a copy of old, set by change
}

// Fold applies e, which must be valid, to j, which is nil while the job is unknown.
func Fold(j *Job, e *event.Event, at Meta) Result {
	at.Time = at.Time.UTC().Truncate(time.Millisecond)
	if at.Clock = at.Clock.UTC().Truncate(time.Millisecond); at.Clock.IsZero() {
		at.Clock = at.Time
	}
	if j != nil && at.Offset < j.Version {
		return Result{Job: j, Reason: Old}
	}
	if j != nil && at.Time.Before(j.Doc.UpdatedAt) {
		at.Time = j.Doc.UpdatedAt // clocks of writers differ: a later event must not seem to be earlier
		at.ByWriter = at.ByWriter || j.ByWriter
	}
	s := step{old: j, e: e, at: at}
	r := s.apply()
	if r.Changed && r.Job != nil && !r.Job.writable() {
		return s.refuse(NoDocument)
	}
	return r
}

// apply calls the rule of the event's type; see the table in RULES.md.
func (s *step) apply() Result {
	switch s.e.Type {
	case event.Accepted:
		return s.accepted()
	case event.Claimed:
		return s.claimed()
	}
	if !s.sameLife() {
		return s.refuse(OtherLife)
	}
	switch s.e.Type {
	case event.Beat, event.Progress:
		return s.renewed()
	case event.Completed:
		return s.completed()
	case event.Failed:
		return s.failed(job.OutcomeFailed, s.e.Error)
	case event.Released:
		return s.released()
	case event.LeaseExpired:
		return s.leaseExpired()
	case event.AttemptTimedOut:
		return s.attemptTimedOut()
	case event.Requeued:
		return s.requeued()
	case event.CancelRequested:
		return s.cancelRequested()
	case event.CancelForced:
		return s.cancelForced()
	case event.RetryRequested:
		return s.retryRequested()
	case event.DeadlineExceeded:
		return s.deadlineExceeded()
	case event.Expired:
		return s.expired()
	case event.CallbackQueued:
		return s.callbackQueued()
	case event.PayloadLost:
		return s.payloadLost()
	case event.Erased:
		return s.erased()
	case event.RequestLost:
		return s.requestLost()
	}
	panic(fmt.Sprintf("fold: event type %q was not validated", s.e.Type))
}

// sameLife is false for an event of another life of the job's ID: a cancel, a timer or a request of a
// job that has expired, while a new job has its ID. Rounds and dispatches start again with each life, so
// they cannot tell the two apart. An event that names no life is accepted, and so is any event for a job
// that was made before lives were introduced.
func (s *step) sameLife() bool {
	return s.old == nil || s.e.Life == "" || s.old.Life == "" || s.e.Life == s.old.Life
}

// change returns the copy of the job that the event may write to.
func (s *step) change() *Job {
	c := *s.old
	s.next = &c
	return s.next
}

// took returns the result of a step that changed the job.
func (s *step) took(orders ...event.Order) Result {
	s.next.Version = s.at.Offset + 1
	s.next.Doc.UpdatedAt = s.at.Time
	s.next.ByWriter = s.at.ByWriter
	s.next.Ahead = s.at.Time.Sub(s.at.Clock)
	if (s.old == nil || s.old.Doc.State != s.next.Doc.State) && s.next.calls(s.next.Doc.State) {
		s.next.CallbackState, s.next.CallbackDue = s.next.Doc.State, s.next.Version
	}
	return Result{Job: s.next, Changed: true, Orders: orders}
}

func (s *step) refuse(r Reason, orders ...event.Order) Result {
	return Result{Job: s.old, Reason: r, Orders: orders}
}

// order returns an order for the run that wrote the event.
func (s *step) order(t event.OrderType, r Reason) event.Order {
	return event.Order{
		Type: t, JobID: s.e.JobID, Dispatch: s.e.Dispatch, Run: s.e.Run, Worker: s.e.Worker, Reason: string(r),
	}
}

// orderHolder returns an order for the run that held the lease before the event; its reason is the
// event's type.
func (s *step) orderHolder(t event.OrderType) []event.Order {
	if s.old.Run == "" {
		return nil
	}
	return []event.Order{
		{Type: t, JobID: s.e.JobID, Dispatch: s.old.Dispatch, Run: s.old.Run, Worker: s.old.Worker, Reason: string(s.e.Type)},
	}
}

// accepted: the job's request is durable.
func (s *step) accepted() Result {
	switch {
	case s.old == nil && s.moved():
		return s.refuse(Moved)
	case s.old == nil:
		s.next = born(s.e, s.at)
		s.next.Accepted = true
		if s.e.RunAt != nil {
			// Its request is in the topic deferred, which no worker reads: the tracker must dispatch
			// it, even if the start time has passed by the log's clock. Dispatch 1 is the record in
			// deferred, so no record in a lane with dispatch 1 and this ID is ever this job's.
			s.next.Doc.State = job.Scheduled
			s.next.Dispatch = 2
			s.next.Request = nil
		}
		return s.took()
	case !s.old.Accepted && !s.old.Ended() && s.old.Source == *s.e.Request:
		// The job was born by a claim from this very request. Claims carry everything else, so only
		// the flag is missing, and the tags if the claim's worker does not know of them. An ended job
		// ignores the event.
		j := s.change()
		j.Accepted = true
		if len(j.Doc.Tags) == 0 && len(s.e.Tags) > 0 {
			j.Doc.Tags = s.e.Tags
		}
		return s.took()
	case s.old.PayloadHash == s.e.PayloadHash:
		return s.refuse(Duplicate)
	default:
		return s.refuse(Conflict)
	}
}

// claimed: a run takes the job. At most one run ever wins a dispatch. A claim that is not taken is
// answered with a stop order.
func (s *step) claimed() Result {
	var granted []event.Order
	if !s.e.NoGrant {
		granted = []event.Order{s.order(event.Granted, Taken)}
	}
	j := s.old
	switch {
	case j == nil && s.moved():
		return s.refuse(Moved, s.order(event.Stop, Moved))
	case j == nil && s.e.Dispatch == 1:
		if s.stale() {
			return s.refuse(StaleRequest, s.order(event.Stop, StaleRequest))
		}
		// The claim overtook accepted, which is late or lost.
		s.next = born(s.e, s.at)
		s.next.start(s.e, s.at)
		return s.took(granted...)
	case j == nil:
		// A later dispatch of a job that has expired, or of a log that has lost records.
		return s.refuse(UnknownJob, s.order(event.Stop, UnknownJob))
	case j.holds(s.e):
		// The same run claims again: its ack was lost, or it waits for granted.
		s.change().renew(s.at)
		if j.Doc.CancelRequested {
			return s.took(append(granted, s.order(event.Quit, Taken))...)
		}
		return s.took(granted...)
	}
	// A scheduled job too: once it is dispatched, the claim may overtake requeued, as it may while the
	// job is retrying.
	waiting := j.Doc.State == job.Pending || j.Doc.State == job.Queued || j.Doc.State == job.Retrying ||
		j.Doc.State == job.Scheduled
	// While the job names no request, only the life tells its own request from a former life's.
	own := j.Request != nil || s.sameLife()
	if waiting && s.e.Dispatch == j.Dispatch && (j.Request == nil || *j.Request == *s.e.Request) && own {
		s.change().start(s.e, s.at)
		return s.took(granted...)
	}
	r := s.notHeld()
	switch {
	case waiting && s.e.Dispatch == j.Dispatch && !own:
		r = OtherLife
	case waiting && s.e.Dispatch == j.Dispatch:
		r = WrongRequest
	}
	return s.refuse(r, s.order(event.Stop, r))
}

// renewed: the run that holds the lease is alive, and may report progress.
func (s *step) renewed() Result {
	if !s.old.holds(s.e) {
		return s.stray()
	}
	j := s.change()
	j.renew(s.at)
	if p := s.e.Progress; p != nil {
		j.Doc.Progress = progressed(j.Doc.Progress, *p)
	}
	if j.Doc.CancelRequested {
		return s.took(s.order(event.Quit, Taken))
	}
	return s.took()
}

// completed: the run has finished with a result. A result that is too large for the document fails the
// job instead.
func (s *step) completed() Result {
	if !s.old.holds(s.e) {
		return s.stray()
	}
	j := s.change()
	j.endRun(job.OutcomeCompleted, nil, s.at.Time)
	j.end(job.Completed, s.at)
	j.Doc.Result, j.Doc.ResultURL, j.ResultBlob = canonical(s.e.Result), s.e.ResultURL, s.e.ResultBlob
	j.Doc.Streams = s.e.Streams
	if j.ResultBlob != nil {
		j.Doc.ResultURL = ResultPath(j.Doc.JobID)
	}
	j.Doc.Error = nil
	if j.tooLarge() {
		return s.failed(job.OutcomeFailed, resultTooLarge()) // starts again from s.old
	}
	return s.took()
}

// failed ends the attempt: a worker's failure, a lease that ran out or a timeout.
func (s *step) failed(o job.Outcome, f *event.Failure, orders ...event.Order) Result {
	if !s.old.holds(s.e) {
		return s.stray()
	}
	j := s.change()
	j.Doc.Error = &job.Error{
		Code: text.Clip(f.Code, maxCode), Message: text.Clip(f.Message, maxMessage), Retryable: f.Retryable,
	}
	if j.Doc.CancelRequested && o == job.OutcomeFailed {
		o = job.OutcomeCancelled
	}
	j.endRun(o, j.Doc.Error, s.at.Time)
	j.Doc.Streams = s.e.Streams
	j.Unserved = nil
	switch {
	case j.Doc.CancelRequested:
		j.end(job.Cancelled, s.at)
	case !f.Retryable || j.Doc.Attempt >= j.Doc.MaxAttempts:
		j.end(job.Failed, s.at)
	default:
		wait := backoff(j)
		if f.RetryAfter != nil {
			wait = min(f.RetryAfter.Duration(), job.MaxRetryAfter)
		}
		j.handOut(s.at, wait)
		j.Doc.Attempt++
	}
	return s.took(orders...)
}

// released: the run gives the job back, which does not count as an attempt. The next dispatch is due at
// once, or after a pause if the worker could not run the job, which it says by an error.
func (s *step) released() Result {
	switch {
	case !s.old.holds(s.e):
		return s.stray()
	case s.e.Error != nil:
		return s.handBack(s.e.Error)
	}
	j := s.change()
	j.endRun(job.OutcomeReleased, nil, s.at.Time)
	j.Doc.Streams = s.e.Streams
	if j.Doc.CancelRequested {
		j.end(job.Cancelled, s.at)
	} else {
		j.handOut(s.at, 0)
	}
	return s.took()
}

// leaseExpired: the run that holds the lease has not renewed it in time. The event names the renewal that
// the timer saw, so that a later renewal saves the attempt.
func (s *step) leaseExpired() Result {
	switch {
	case !s.old.holds(s.e):
		return s.refuse(s.notHeld())
	case *s.e.Renewal != s.old.Renewal:
		return s.refuse(StaleRenewal)
	}
	lost := &event.Failure{Error: job.Error{Code: job.CodeWorkerLost, Retryable: true,
		Message: "the worker was not heard of for a lease"}}
	return s.failed(job.OutcomeLost, lost, s.orderHolder(event.Stop)...)
}

// attemptTimedOut differs from leaseExpired in that a renewal does not save the attempt.
func (s *step) attemptTimedOut() Result {
	if !s.old.holds(s.e) {
		return s.refuse(s.notHeld())
	}
	late := &event.Failure{Error: job.Error{Code: job.CodeTimeout, Retryable: true,
		Message: "the attempt took longer than its timeout"}}
	return s.failed(job.OutcomeTimedOut, late, s.orderHolder(event.Stop)...)
}

// requeued: the request of this dispatch is durable.
func (s *step) requeued() Result {
	j := s.old
	waits := j != nil && (j.Doc.State == job.Retrying || j.Doc.State == job.Scheduled)
	if !waits || s.e.Dispatch != j.Dispatch {
		return s.refuse(s.notHeld())
	}
	j = s.change()
	j.Doc.State = job.Pending
	j.Doc.RetryAt = nil
	j.Request = s.e.Request
	return s.took()
}

// callbackQueued: the webhook for a state of the job is written to its topic. Only the version of the
// document changes.
func (s *step) callbackQueued() Result {
	switch j := s.old; {
	case j == nil:
		return s.refuse(UnknownJob)
	case j.CallbackDue != s.e.Delivery.Version:
		return s.refuse(NotOwed)
	}
	j := s.change()
	j.CallbackDue = 0
	deliveries := append(slices.Clone(j.Deliveries), *s.e.Delivery)
	j.Deliveries = deliveries[max(0, len(deliveries)-MaxDeliveries):]
	j.Version = s.at.Offset + 1
	return Result{Job: j, Changed: true, Quiet: true}
}

// stray refuses an event of a run that does not hold the job, and stops that run.
func (s *step) stray() Result {
	r := s.notHeld()
	return s.refuse(r, s.order(event.Stop, r))
}

// notHeld returns the reason why the event's dispatch and run are not the job's.
func (s *step) notHeld() Reason {
	j := s.old
	switch {
	case j == nil:
		return UnknownJob
	case s.e.Dispatch > j.Dispatch:
		return FutureDispatch
	case j.Ended():
		return Ended
	case s.e.Dispatch < j.Dispatch:
		return OldDispatch
	case j.Doc.State == job.Processing && s.e.Run != "" && s.e.Run != j.Run:
		return WrongRun
	default:
		return NotHeld
	}
}
