package fold

import (
	"fmt"
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/text"
)

// Meta is what the log says of an event beside its value.
type Meta struct {
	Offset int64
	// Time is the record's timestamp. The broker gives it (LogAppendTime), and where it does
	// not, the event's writer: so it may be anything.
	Time time.Time
	// Clock is when the record was appended as far as the partition's owner can tell: what is
	// due later counts from here. It is Time when it is zero.
	Clock time.Time
}

// Result is what an event did.
type Result struct {
	// Job is the job afterwards: the one given in when nothing changed, nil when the job
	// is unknown or was removed.
	Job *Job
	// Changed reports whether the event was taken.
	Changed bool
	// Quiet is for a change that nobody who watches the job need hear of.
	Quiet bool
	// Reason says why not.
	Reason Reason
	// Orders are for workers. They may be lost or doubled: they are repeated whenever the
	// run speaks again.
	Orders []event.Order
}

// Reason is why an event changed nothing.
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
	OldDispatch    Reason = "old_dispatch"    // the job was handed out anew since
	FutureDispatch Reason = "future_dispatch" // above the job's own: the log has lost records
	WrongRequest   Reason = "wrong_request"   // a claim from a request that the job does not name
	StaleRenewal   Reason = "stale_renewal"   // the lease was renewed since
	WrongRound     Reason = "wrong_round"     // an order that saw an earlier round
	NotRequested   Reason = "not_requested"   // cancelForced without a cancelRequested
	NotDue         Reason = "not_due"         // expired before the retention is over
	NotOwed        Reason = "not_owed"        // callbackQueued for a state that was told, or that another one followed
	OtherLife      Reason = "other_life"      // of another life of the job's ID
	// a claim of a job that is not known, of a request whose job may have expired
	StaleRequest Reason = "stale_request"
	// the job could not be written as a document afterwards: the record is a dead letter
	NoDocument Reason = "no_document"
)

// Reasons lists every reason for which an event changes nothing.
var Reasons = []Reason{Old, Duplicate, Conflict, UnknownJob, Ended, NotEnded, NotHeld, WrongRun,
	OldDispatch, FutureDispatch, WrongRequest, StaleRenewal, WrongRound, NotRequested, NotDue, NotOwed,
	OtherLife, StaleRequest, NoDocument}

// step is one event on its way through the fold.
type step struct {
	old  *Job         // what the log said before; nil is unknown
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
		at.Time = j.Doc.UpdatedAt // what comes later in the log did not happen before
	}
	s := step{old: j, e: e, at: at}
	r := s.apply()
	if r.Changed && r.Job != nil && !r.Job.writable() {
		return s.refuse(NoDocument)
	}
	return r
}

// apply is the table of the rules.
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
	case event.RequestLost:
		return s.requestLost()
	}
	panic(fmt.Sprintf("fold: event type %q was not validated", s.e.Type))
}

// sameLife is false for an event of another life of the job's ID: an order, a timer or a request
// of a job that has expired, where another one has its ID since. Rounds and dispatches begin anew
// with each life, so they cannot tell. Who names no life is believed, as is anybody about a job
// that was made before there were lives.
func (s *step) sameLife() bool {
	return s.old == nil || s.e.Life == "" || s.old.Life == "" || s.e.Life == s.old.Life
}

// change returns the copy of the job that the event may write to.
func (s *step) change() *Job {
	c := *s.old
	s.next = &c
	return s.next
}

// took ends a step that changed the job.
func (s *step) took(orders ...event.Order) Result {
	s.next.Version = s.at.Offset + 1
	s.next.Doc.UpdatedAt = s.at.Time
	if (s.old == nil || s.old.Doc.State != s.next.Doc.State) && s.next.calls(s.next.Doc.State) {
		s.next.CallbackState, s.next.CallbackDue = s.next.Doc.State, s.next.Version
	}
	return Result{Job: s.next, Changed: true, Orders: orders}
}

func (s *step) refuse(r Reason, orders ...event.Order) Result {
	return Result{Job: s.old, Reason: r, Orders: orders}
}

// order is for the run that wrote the event.
func (s *step) order(t event.OrderType, r Reason) event.Order {
	return event.Order{
		Type: t, JobID: s.e.JobID, Dispatch: s.e.Dispatch, Run: s.e.Run, Worker: s.e.Worker, Reason: string(r),
	}
}

// orderHolder is for the run that holds, or held, the lease; its reason is the event.
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
	case s.old == nil:
		s.next = born(s.e, s.at)
		s.next.Accepted = true
		if s.e.RunAt != nil {
			// Its request waits in deferred, which no worker reads: it must be handed out even
			// if the start lies in the past by the log's clock. Dispatch 1 is that record, so no
			// request that lies in a lane under the same ID is ever this job's.
			s.next.Doc.State = job.Scheduled
			s.next.Dispatch = 2
			s.next.Request = nil
		}
		return s.took()
	case !s.old.Accepted && !s.old.Ended() && s.old.Source == *s.e.Request:
		// Born by a claim from this very request: only the knowledge that it was accepted
		// was missing, for claims carry all else. An ended job absorbs this too.
		s.change().Accepted = true
		return s.took()
	case s.old.PayloadHash == s.e.PayloadHash:
		return s.refuse(Duplicate)
	default:
		return s.refuse(Conflict)
	}
}

// claimed: a run takes the job. One run at most ever wins a dispatch.
func (s *step) claimed() Result {
	var granted []event.Order
	if !s.e.NoGrant {
		granted = []event.Order{s.order(event.Granted, Taken)}
	}
	j := s.old
	switch {
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
		// The same run says it again: its ack was lost, or it waits for granted.
		s.change().renew(s.at)
		if j.Doc.CancelRequested {
			return s.took(append(granted, s.order(event.Quit, Taken))...)
		}
		return s.took(granted...)
	}
	// A scheduled job can be claimed only once it was handed out: the claim overtook requeued,
	// as it may while the job is retrying.
	waiting := j.Doc.State == job.Pending || j.Doc.State == job.Queued || j.Doc.State == job.Retrying ||
		j.Doc.State == job.Scheduled
	// While the job names no request, only its life tells its own from one of a former life.
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

// renewed: the run that holds the lease lives, and may have come further.
func (s *step) renewed() Result {
	if !s.old.holds(s.e) {
		return s.stray()
	}
	j := s.change()
	j.renew(s.at)
	if p := s.e.Progress; p != nil {
		was := j.Doc.Progress
		now := *p
		now.Message = text.Clip(now.Message, maxMessage)
		if was != nil {
			now.Percent = max(now.Percent, was.Percent)
		}
		j.Doc.Progress = &now
	}
	if j.Doc.CancelRequested {
		return s.took(s.order(event.Quit, Taken))
	}
	return s.took()
}

func (s *step) completed() Result {
	if !s.old.holds(s.e) {
		return s.stray()
	}
	j := s.change()
	j.endRun(job.OutcomeCompleted, nil, s.at.Time)
	j.end(job.Completed, s.at)
	j.Doc.Result, j.Doc.ResultURL, j.ResultBlob = canonical(s.e.Result), s.e.ResultURL, s.e.ResultBlob
	if j.ResultBlob != nil {
		j.Doc.ResultURL = ResultPath(j.Doc.JobID)
	}
	j.Doc.Error = nil
	if j.tooLarge() {
		return s.failed(job.OutcomeFailed, resultTooLarge()) // begins with the job as it was
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

// released: the run gives the job back, at no cost. The next dispatch is due at once, unless the
// worker says why it cannot run the job.
func (s *step) released() Result {
	switch {
	case !s.old.holds(s.e):
		return s.stray()
	case s.e.Error != nil:
		return s.handBack(s.e.Error)
	}
	j := s.change()
	j.endRun(job.OutcomeReleased, nil, s.at.Time)
	if j.Doc.CancelRequested {
		j.end(job.Cancelled, s.at)
	} else {
		j.handOut(s.at, 0)
	}
	return s.took()
}

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

// callbackQueued: the webhook of a state that the job owes is durable. Nothing that the
// owner sees has changed but the version.
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

// notHeld says why the event's dispatch and run are not the job's.
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
