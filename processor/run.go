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

// phase is the state of a run. The comment of each constant says what moves the run on.
//
//	claiming ─▶ waiting ─▶ running ─▶ reporting ─▶ ended
//	    └───────────────────▲   │
//	                            └─▶ silent ─▶ ended
type phase int

const (
	// claiming: it is not known whether the claim is durable. The claim's answer moves it on.
	claiming phase = iota
	// waiting: the claim is durable, and the handler needs a grant to begin. An order moves it on.
	waiting
	// running: the handler runs and the lease is renewed. The handler's return, an order or
	// the lease's end moves it on.
	running
	// reporting: the terminal event is sent until it is durable. Its answer, or a stop order, moves it on.
	reporting
	// silent: the run was stopped or lost its lease, and appends no more events. The handler's return
	// moves it on.
	silent
	// ended: the slot is free.
	ended
)

// Timing of a run. One ticker serves all runs: at each pulse it checks what is due.
const (
	pulse      = 50 * time.Millisecond
	retryPause = 250 * time.Millisecond // between two tries to append the same event

	// renewalsPerLease is how many times per lease a run renews it, or repeats its claim.
	renewalsPerLease = 3

	// The worker's lease ends a margin before the tracker's, so that the handler's context has ended
	// before the tracker hands the job out again. The margin is a tenth of the lease, within these bounds.
	minLeaseMargin = 2 * pulse
	maxLeaseMargin = 2 * time.Second
)

// run is one execution of a job, from the delivery of its request to its durable report. It follows the rules for
// workers in tracker/fold/RULES.md. It has no goroutine but its handler's: answers from Kafka, orders, the pulse and
// the handler call its methods, each of which locks mu. Events are handed to the Kafka client under mu, so they reach
// the job's partition in the order in which the run sent them: no event can overtake the terminal event.
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
	lease    time.Duration // the policy's lease minus the margin
	renewal  time.Duration // interval between renewals
	handler  RawHandler
	lacks    error // what this worker lacks to run the job; nil when it can
	job      *Job
	log      *slog.Logger

	// claim is the claimed event. firstClaim is the one, with NoGrant, of a run that may start as soon as the event is
	// durable; nil if the run must wait for a grant. It is sent only once: every repetition sends claim.
	claim, firstClaim []byte

	mu       sync.Mutex // guards the rest; lane.mu and Processor.mu may be taken under it
	phase    phase
	mustWait bool // the handler may begin only after a grant
	granted  bool
	quit     bool // the job was cancelled
	leaving  bool // the processor stops: a job whose handler has not begun is handed back

	inFlight  bool      // a claim, beat or progress was handed to the client and not answered
	retryAt   time.Time // no event is sent before; zero when nothing failed
	sentAt    time.Time // when the last claim, beat or progress was sent
	renewedAt time.Time // when the last of these that became durable was sent: the lease counts from here

	latest     job.Progress
	unsent     bool      // latest was not sent yet
	progressAt time.Time // when progress was last sent

	handling       bool // the handler has not returned
	beganAt        time.Time
	cancel         context.CancelCauseFunc // ends the handler's context
	spans          spans
	outcome        outcome // set from reporting and silent on
	report         []byte  // the terminal event
	reportOf       event.Type
	reportInFlight bool // the terminal event was handed to the client and not answered
}

// newRun makes the run of a request that was delivered to a lane. A run must wait for a grant if the request may have
// been delivered before, to this worker or another: then another run may hold the job.
func newRun(
	l *lane, part *partition, offset int64, requestedAt *time.Time, req topic.Request, payload []byte,
) (*run, error) {
	p := l.p
	lease := req.Policy.Lease.Duration()
	margin := min(max(lease/10, minLeaseMargin), maxLeaseMargin, lease/2)
	r := &run{
		p: p, lane: l, part: part, offset: offset,
		jobID: req.JobID, id: newRunID(), dispatch: req.Dispatch,
		// The record's value is a part of the whole fetch, which a long job must not keep in memory.
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
		claimed.NoGrant, claimed.RequestedAt = true, nil // the request is delivered for the first time
		r.firstClaim, err = event.Encode(&claimed)
	}
	return r, err
}

// start sends the claim for the first time.
func (r *run) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.firstClaim != nil {
		r.send(event.Claimed, r.firstClaim, r.spans.ctx)
		return
	}
	r.send(event.Claimed, r.claim, r.spans.ctx)
}

// answered handles Kafka's answer to an event that was sent at sentAt. err is nil if the event is durable.
func (r *run) answered(kind event.Type, sentAt time.Time, err error) {
	r.p.noteProduce(string(kind), err)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch kind {
	case event.Claimed, event.Beat, event.Progress:
		r.inFlight = false
		switch {
		case err != nil:
			r.sentAt = time.Time{} // due again after the pause, not a third of the lease later
		case sentAt.After(r.renewedAt):
			r.renewedAt = sentAt
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
			// Unless the broker refused it, the claim may have been written: the run is in doubt.
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
		// The broker's limit is below ResultLimit: it would refuse every repetition too.
		r.conclude(tooLarge("the broker refuses a record with this result"))
	}
}

// advance moves on a run whose claim is durable and whose handler has not begun: it starts the handler, waits for a
// grant, or ends the run. It is called with mu held.
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
		// The claim took longer than its own lease: the tracker may let the lease expire right
		// after the handler has begun. Send the claim again, and wait for a new grant.
		r.mustWait, r.granted = true, false
		r.enqueue()
		r.sentAt = time.Time{}
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

// leaveQueue ends the time before the handler begins: it counts the claim's outcome and ends its span.
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
		// If the handler ignores this, the tracker ends the attempt too.
		timed, stop := context.WithTimeoutCause(ctx, d, ErrTimeout)
		ctx, r.cancel = timed, func(cause error) { cancel(cause); stop() }
	}
	ctx = r.beginRun(ctx)
	r.p.metrics.running.Inc()
	r.p.handlersDone.Go(func() { r.handle(ctx) })
}

// handle is the handler's goroutine.
func (r *run) handle(ctx context.Context) {
	// This stays the error if the handler ends its goroutine (runtime.Goexit), which skips the assignment below.
	var result []byte
	err := errPanicked
	defer func() { r.returned(ctx, result, err) }()
	result, err = r.work(ctx)
}

// work fetches the payload if it is in the blob store, runs the handler, and stores a result that is too large.
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

// returned handles the handler's return. A silent run ends here; any other reports what the handler returned.
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

// conclude makes the terminal event and sends it for the first time, after the last progress if that was not sent yet.
// It is called with mu held.
func (r *run) conclude(e ending) {
	if r.unsent && r.phase == running {
		r.sendProgress()
	}
	r.phase, r.outcome, r.reportOf = reporting, e.outcome, e.event
	r.noteEnding(e)
	if e.outcome == ranUnable {
		r.p.metrics.noteUnable(e.failure)
	}
	r.retryAt = time.Time{}
	r.report = r.encode(event.Event{Type: e.event, Result: e.result, ResultBlob: e.file, Error: e.failure})
	r.sendReport()
}

// finish ends the run and frees its slot. It is called with mu held, when the handler does not run.
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

// order handles an order from the tracker.
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

// stopped ends the run without a report. The tracker refuses only claims that it has read, so the claim is durable. It
// is called with mu held.
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
		r.silence(ErrStopped, ranStopped)
	case reporting:
		r.outcome = ranStopped
		if r.handling {
			r.phase = silent
			return
		}
		r.finish()
	}
}

// silence ends the handler's context; from then on the run appends no events.
func (r *run) silence(cause error, how outcome) {
	r.phase, r.outcome = silent, how
	r.cancel(cause)
}

// tick does what is due at now: it sends an event again that failed, renews the lease, sends conflated progress, and
// notices that the lease was lost.
func (r *run) tick(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase == running && now.Sub(r.renewedAt) >= r.lease {
		r.p.metrics.leasesLost.Inc()
		r.log.Warn("lease lost", "since", now.Sub(r.renewedAt))
		r.silence(ErrLeaseLost, ranLeaseLost)
	}
	if now.Before(r.retryAt) {
		return
	}
	renewalDue := !r.inFlight && now.Sub(r.sentAt) >= r.renewal
	switch r.phase {
	case claiming:
		if !r.inFlight {
			r.send(event.Claimed, r.claim, r.spans.ctx)
		}
	case waiting:
		// The claim and not a beat: the tracker answers a claim with a grant, and a beat with nothing.
		if renewalDue {
			r.send(event.Claimed, r.claim, nil)
		}
	case running:
		switch {
		case r.unsent && !r.inFlight && now.Sub(r.progressAt) >= r.p.progressPause:
			r.sendProgress()
		case renewalDue:
			r.send(event.Beat, r.encode(event.Event{Type: event.Beat}), nil)
		}
	case reporting:
		if !r.reportInFlight {
			r.sendReport()
		}
	}
}

// progress records the handler's progress, and sends it unless progress was sent just before: then the pulse sends the
// latest one later.
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
		r.sendProgress()
	}
}
