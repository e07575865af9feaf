package processor

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/text"
	"github.com/ackwire/ackwire/schemas/topic"
)

// phase is where a run stands. Each constant says what moves it on.
//
//	claiming ─▶ waiting ─▶ running ─▶ reporting ─▶ ended
//	    └───────────────────▲   │
//	                            └─▶ silent ─▶ ended
type phase int

const (
	// claiming: it is not known whether the claim is durable. The claim's answer moves it on.
	claiming phase = iota
	// waiting: the claim is durable, the handler may not begin yet. An order moves it on.
	waiting
	// running: the handler runs and the lease is renewed. The handler's return, an order or
	// the lease's end moves it on.
	running
	// reporting: the terminal event is said until it is durable. Its answer, or stop, moves it on.
	reporting
	// silent: the run was stopped or lost its lease and says no more. The handler's return
	// moves it on.
	silent
	// ended: the slot is free.
	ended
)

// Pace of a run. Everything timed is looked at once per pulse, for all runs on one ticker.
const (
	pulse      = 50 * time.Millisecond
	retryPause = 250 * time.Millisecond // between two tries to append the same event

	// renewalsPerLease is how often a run renews its lease, or says its claim again.
	renewalsPerLease = 3

	// The lease ends a margin early here, so that the handler's context has ended before the
	// tracker hands the job out again: a tenth of the lease, within these bounds.
	minLeaseMargin = 2 * pulse
	maxLeaseMargin = 2 * time.Second
)

// run is one execution of a job, from the delivery of its request to its durable report:
// the rule book's worker (tracker/fold/RULES.md). It has no goroutine but its handler's; answers from Kafka, orders,
// the pulse and the handler call its methods, and each call leaves it consistent. Events are
// handed to the client under mu, so they reach the job's partition in the order in which
// the run said them: nothing overtakes the terminal event.
type run struct {
	// Set before the first claim, then only read.
	p      *Processor
	lane   *lane
	part   *partition
	offset int64 // of the request record in part
	jobID  string
	id     string // the fencing token
	// dispatch is the fence of the job: worker events carry it.
	dispatch int
	payload  []byte
	blob     string // the key of the payload, when it is not in the record
	policy   job.Policy
	lease    time.Duration // what of the policy's lease the run relies on: margin subtracted
	renewal  time.Duration // how often it renews
	sure     []byte        // the claimed event of a run that starts once it is durable; nil when it must wait
	claim    []byte        // the claimed event of a run that waits for a grant, or is in doubt
	handler  RawHandler
	lacks    error // what this worker lacks to run the job; nil when it can
	job      *Job
	log      *slog.Logger

	mu       sync.Mutex // guards the rest; lane.mu and Processor.mu may be taken under it
	phase    phase
	mustWait bool // the handler may begin only after a grant
	granted  bool
	quit     bool // the owner wants the job to stop
	leaving  bool // the processor stops: what has not begun is given back

	inFlight  bool      // a claim, beat or progress is with the client
	retryAt   time.Time // no event is said before; zero when nothing failed
	saidAt    time.Time // when the last claim, beat or progress was said
	renewedAt time.Time // when the last of them that became durable was said: the lease counts from here

	latest     job.Progress
	unsent     bool // latest was not sent yet
	progressAt time.Time

	handling       bool // the handler has not returned
	beganAt        time.Time
	cancel         context.CancelCauseFunc // ends the handler's context
	spans          spans
	outcome        outcome // set from reporting and silent on
	report         []byte  // the terminal event
	reportOf       event.Type
	reportInFlight bool // the terminal event is with the client
}

// newRun makes the run of a request that was delivered to a lane.
func newRun(
	l *lane, part *partition, offset int64, requestedAt *time.Time, req topic.Request, payload []byte,
) (*run, error) {
	p := l.p
	lease := req.Policy.Lease.Duration()
	margin := min(max(lease/10, minLeaseMargin), maxLeaseMargin, lease/2)
	r := &run{
		p: p, lane: l, part: part, offset: offset,
		jobID: req.JobID, id: newRunID(), dispatch: req.Dispatch,
		// The record's value is a part of what was fetched; a long job must not hold it all.
		payload: bytes.Clone(payload), blob: req.PayloadBlob, policy: req.Policy,
		lease: lease - margin, renewal: lease / renewalsPerLease,
		handler:  p.handler(req.Job),
		lacks:    p.lacks(req.Job, req.PayloadBlob),
		mustWait: p.cfg.ClaimsAlwaysWait || req.Dispatch > 1 || p.met(req.JobID, req.Dispatch),
	}
	r.beginClaim(req)
	r.log = p.log.With("job", r.jobID, "run", r.id, "attempt", req.Attempt)
	if r.spans.ctx != nil {
		r.log = tracing.Log(r.log, trace.SpanContextFromContext(r.spans.ctx))
	}
	r.job = &Job{
		ID: req.JobID, Type: req.Job, Attempt: req.Attempt, MaxAttempts: req.Policy.Attempts,
		Dispatch: req.Dispatch, Run: r.id, Tenant: req.Tenant, Subject: req.Subject,
		Log: r.log, report: r.progress, store: p.storeFile(event.ResultFolder(r.jobID, req.Life) + r.id),
	}
	laneName := req.Lane
	if laneName == "" {
		laneName = l.name
	}
	claimed := event.Event{
		Type: event.Claimed, JobID: r.jobID, Life: req.Life,
		Job: req.Job, Tenant: req.Tenant, Subject: req.Subject, Lane: laneName,
		PayloadHash: req.PayloadHash, Policy: &req.Policy, RunAt: req.RunAt, CallbackURL: req.CallbackURL,
		CallbackEvents: req.CallbackEvents,
		Request:        &event.Position{Topic: l.topic, Partition: part.number, Offset: offset},
		Dispatch:       r.dispatch, Run: r.id, Worker: p.worker, RequestedAt: requestedAt,
	}
	var err error
	if r.claim, err = event.Encode(&claimed); err != nil {
		return r, err
	}
	if !r.mustWait && !l.mayBeRedelivery(part, offset) {
		claimed.NoGrant, claimed.RequestedAt = true, nil // it is delivered for the first time
		r.sure, err = event.Encode(&claimed)
	}
	return r, err
}

// start says the claim for the first time.
func (r *run) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sure != nil {
		r.say(event.Claimed, r.sure, r.spans.ctx)
		return
	}
	r.say(event.Claimed, r.claim, r.spans.ctx)
}

// answered is told how an event fared that was said at saidAt.
func (r *run) answered(kind event.Type, saidAt time.Time, err error) {
	r.p.noteProduce(string(kind), err)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch kind {
	case event.Claimed, event.Beat, event.Progress:
		r.inFlight = false
		switch {
		case err != nil:
			r.saidAt = time.Time{} // due again after the pause, not a third of the lease later
		case saidAt.After(r.renewedAt):
			r.renewedAt = saidAt
		}
	default:
		r.reportInFlight = false
	}
	if err != nil {
		r.retryAt = time.Now().Add(retryPause)
	}
	switch {
	case kind == event.Claimed && r.phase == claiming:
		if err != nil {
			// Refused: nothing was written, so there is no doubt.
			r.mustWait = r.mustWait || !errors.Is(err, kafka.ErrRefused)
			return
		}
		r.lane.mark(r.part, r.offset)
		r.mustWait = r.mustWait || r.lane.mayBeRedelivery(r.part, r.offset)
		r.advance()
	case kind == event.Progress && r.phase == running && err != nil:
		r.unsent = true
	case r.phase == reporting && kind == r.reportOf && err == nil:
		r.finish()
	case r.phase == reporting && kind == event.Completed && errors.Is(err, kerr.MessageTooLarge):
		// The broker takes less than ResultLimit promises: no repetition would be taken either.
		r.conclude(tooLarge("the broker refuses a record with this result"))
	}
}

// advance moves on a run whose claim is durable and whose handler has not begun. It is
// called with mu held.
func (r *run) advance() {
	switch {
	case r.quit:
		r.leaveQueue(claimQuit)
		r.conclude(ending{event: event.Failed, outcome: ranCancelled, failure: cancelled("cancelled before it began")})
	case r.lacks != nil:
		r.giveBack()
	case r.leaving:
		r.leaveQueue(claimReleased)
		r.conclude(ending{event: event.Released, outcome: ranReleased})
	case r.mustWait && !r.granted:
		r.enqueue()
	case time.Since(r.renewedAt) >= r.lease:
		// The claim took longer than the lease that it opens: a tracker that grants it now
		// may find that it has expired. Say it again, and ask anew.
		r.mustWait, r.granted = true, false
		r.enqueue()
		r.saidAt = time.Time{}
	default:
		how := claimStarted
		if r.mustWait {
			how = claimGranted
		}
		r.leaveQueue(how)
		r.begin()
	}
}

func (r *run) enqueue() {
	if r.phase != waiting {
		r.phase = waiting
		r.p.metrics.waiting.Inc()
	}
}

// leaveQueue ends the time before the handler's.
func (r *run) leaveQueue(how claimOutcome) {
	if r.phase == waiting {
		r.p.metrics.waiting.Dec()
	}
	r.p.metrics.claims.WithLabelValues(string(how)).Inc()
	r.endClaim(how)
}

// begin starts the handler.
func (r *run) begin() {
	r.phase, r.handling, r.beganAt = running, true, time.Now()
	ctx, cancel := context.WithCancelCause(r.p.handlersCtx)
	r.cancel = cancel
	if d := r.policy.Timeout.Duration(); d > 0 {
		// The tracker ends the attempt too, should the handler not heed this.
		timed, stop := context.WithTimeoutCause(ctx, d, ErrTimeout)
		ctx, r.cancel = timed, func(cause error) { cancel(cause); stop() }
	}
	ctx = r.beginRun(ctx)
	r.p.metrics.running.Inc()
	r.p.handlersDone.Go(func() { r.handle(ctx) })
}

// handle is the handler's goroutine.
func (r *run) handle(ctx context.Context) {
	// A handler that ends its goroutine (runtime.Goexit) skips the assignment below.
	var result []byte
	err := errPanicked
	defer func() { r.returned(ctx, result, err) }()
	result, err = r.work(ctx)
}

// work is the handler, and what it needs before and after.
func (r *run) work(ctx context.Context) ([]byte, error) {
	if r.blob != "" {
		var err error
		if r.payload, err = r.p.fetchPayload(ctx, r.blob); err != nil {
			return nil, err
		}
	}
	result, err := r.handler.call(ctx, r.job, r.payload)
	if err != nil {
		return nil, err
	}
	return r.job.spill(ctx, result, r.p.cfg.ResultLimit)
}

// returned takes what the handler returned.
func (r *run) returned(ctx context.Context, result []byte, err error) {
	cause := context.Cause(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handling = false
	r.cancel(nil)
	r.p.metrics.running.Dec()
	took := time.Since(r.beganAt)
	r.p.metrics.handlerSeconds.WithLabelValues(r.lane.name).Observe(took.Seconds())
	switch r.phase {
	case running:
		e := end(result, err, cause, r.p.cfg.ResultLimit)
		if e.event == event.Completed {
			e.file = r.job.attached()
		}
		r.conclude(e)
		attrs := []any{"type", r.job.Type, "outcome", string(e.outcome), "seconds", took.Seconds()}
		if e.failure != nil {
			attrs = append(attrs, "code", e.failure.Code, "err", err)
		}
		r.log.Info("attempt ended", attrs...)
	case silent:
		r.log.Warn("attempt ended without a report", "type", r.job.Type, "outcome", string(r.outcome),
			"seconds", took.Seconds())
		r.finish()
	}
}

// conclude makes the terminal event and says it for the first time, after whatever progress
// was not sent yet. It is called with mu held.
func (r *run) conclude(e ending) {
	if r.unsent && r.phase == running {
		r.sayProgress()
	}
	r.phase, r.outcome, r.reportOf = reporting, e.outcome, e.event
	r.noteEnding(e)
	if e.outcome == ranUnable {
		r.p.metrics.noteUnable(e.failure)
	}
	r.retryAt = time.Time{}
	r.report = r.encode(event.Event{Type: e.event, Result: e.result, ResultBlob: e.file, Error: e.failure})
	r.sayReport()
}

// finish frees the slot. It is called with mu held, when the handler does not run.
func (r *run) finish() {
	if r.phase == waiting {
		r.p.metrics.waiting.Dec()
	}
	if !r.beganAt.IsZero() {
		r.p.metrics.ended.WithLabelValues(string(r.outcome)).Inc()
	}
	r.endRun()
	r.phase = ended
	r.p.remove(r)
	r.lane.free()
}

// order takes an order from the tracker.
func (r *run) order(o event.Order) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch o.Type {
	case event.Granted:
		if r.phase == claiming || r.phase == waiting {
			r.granted = true
		}
		if r.phase == waiting {
			r.advance()
		}
	case event.Quit:
		switch r.phase {
		case claiming:
			r.quit = true
		case waiting:
			r.quit = true
			r.advance()
		case running:
			r.cancel(ErrCancelled)
		}
	case event.Stop:
		r.log.Info("run stopped by the tracker", "reason", text.Clip(o.Reason, maxErrorCode))
		r.stopped()
	}
}

// stopped ends the run without another word. The tracker refuses only what it has read, so
// the claim is durable. It is called with mu held.
func (r *run) stopped() {
	switch r.phase {
	case claiming:
		r.lane.mark(r.part, r.offset)
		fallthrough
	case waiting:
		r.p.metrics.claims.WithLabelValues(string(claimRefused)).Inc()
		r.endClaim(claimRefused)
		r.finish()
	case running:
		r.hush(ErrStopped, ranStopped)
	case reporting:
		r.outcome = ranStopped
		if r.handling {
			r.phase = silent
			return
		}
		r.finish()
	}
}

// hush ends the handler's context and every report of the run.
func (r *run) hush(cause error, how outcome) {
	r.phase, r.outcome = silent, how
	r.cancel(cause)
}

// tick does what is due at now.
func (r *run) tick(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase == running && now.Sub(r.renewedAt) >= r.lease {
		r.p.metrics.leasesLost.Inc()
		r.log.Warn("lease lost", "since", now.Sub(r.renewedAt))
		r.hush(ErrLeaseLost, ranLeaseLost)
	}
	if now.Before(r.retryAt) {
		return
	}
	renewalDue := !r.inFlight && now.Sub(r.saidAt) >= r.renewal
	switch r.phase {
	case claiming:
		if !r.inFlight {
			r.say(event.Claimed, r.claim, r.spans.ctx)
		}
	case waiting:
		// Not a beat: it would renew the lease and never be answered with a grant.
		if renewalDue {
			r.say(event.Claimed, r.claim, nil)
		}
	case running:
		switch {
		case r.unsent && !r.inFlight && now.Sub(r.progressAt) >= r.p.progressPause:
			r.sayProgress()
		case renewalDue:
			r.say(event.Beat, r.encode(event.Event{Type: event.Beat}), nil)
		}
	case reporting:
		if !r.reportInFlight {
			r.sayReport()
		}
	}
}

// progress takes what the handler says about itself.
func (r *run) progress(latest job.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase != running {
		return
	}
	latest.Percent = max(latest.Percent, r.latest.Percent)
	if r.unsent {
		r.p.metrics.conflated.Inc()
	}
	r.latest, r.unsent = latest, true
	now := time.Now()
	if !r.inFlight && !now.Before(r.retryAt) && now.Sub(r.progressAt) >= r.p.progressPause {
		r.sayProgress()
	}
}

// leave gives the job back if its handler has not begun: the processor stops.
func (r *run) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaving = true
	if r.phase == waiting {
		r.advance()
	}
}

// cut ends the handler's context: the grace is over.
func (r *run) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase == running {
		r.cancel(ErrShutdown)
	}
}

// giveUp releases a job whose handler did not return after its context had ended.
func (r *run) giveUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase == running {
		r.log.Error("handler does not return", "type", r.job.Type)
		r.conclude(ending{event: event.Released, outcome: ranReleased})
	}
}
