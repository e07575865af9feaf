package processor

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/text"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Timing of a run. One ticker serves all runs: at each pulse it checks what is due.
const (
	pulse = 50 * time.Millisecond

	// renewalsPerLease is how many times per lease a run renews it, or repeats its claim.
	renewalsPerLease = 3

	// The worker's lease ends a margin before the tracker's, so that the handler's context has ended
	// before the tracker hands the job out again. The margin is a tenth of the lease, within these bounds.
	minLeaseMargin = 2 * pulse
	maxLeaseMargin = 2 * time.Second
)

// run is one execution of a job, from the delivery of its request to its durable report. Its stance decides what it
// does next; the methods here do it. It has no goroutine but its handler's: answers from Kafka, orders, the pulse and
// the handler give it inputs, one at a time under mu. Events are handed to the Kafka client under mu, so they reach the
// job's partition in the order in which the run sent them: no event can overtake the terminal event.
type run struct {
	// Set before the first pulse, then only read.
	p        *Processor
	lane     *lane
	part     *partition
	offset   int64 // of the request record in part
	jobID    string
	id       string // the fencing token
	dispatch int    // the fence of the job: worker events carry it
	payload  []byte
	blob     string // the key of the payload, when it is not in the record
	policy   job.Policy
	handler  RawHandler
	job      *Job
	streams  *streams
	log      *slog.Logger
	claim    []byte // the claimed event

	mu     sync.Mutex // guards the rest; lane.mu and Processor.mu may be taken under it
	stance stance

	// firstClaim is the claimed event, with NoGrant, of a run that may start as soon as the event is durable; nil if the
	// run must wait for a grant. It is sent only once: every repetition sends claim.
	firstClaim []byte
	beganAt    time.Time               // when the handler began
	cancel     context.CancelCauseFunc // ends the handler's context
	spans      spans
	report     []byte // the terminal event
	reportOf   event.Type
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
		handler: p.handler(req.Job),
		stance: stance{
			terms: terms{
				lease: lease - margin, renewal: lease / renewalsPerLease, progress: p.progressPause,
				lacks: p.lacks(req.Job, req.PayloadBlob),
			},
			phase:    claiming,
			mustWait: p.cfg.ClaimsAlwaysWait || req.Dispatch > 1 || p.met(req.JobID, req.Dispatch),
		},
	}
	r.beginClaim(req)
	r.log = p.log.With("job", r.jobID, "run", r.id, "attempt", req.Attempt)
	if r.spans.ctx != nil {
		r.log = tracing.Log(r.log, trace.SpanContextFromContext(r.spans.ctx))
	}
	r.streams = newStreams(identity{r.jobID, r.dispatch, r.id}, p.limitsOf(req.Job), p.metrics.streams, p.storePiece)
	r.job = &Job{
		ID: req.JobID, Type: req.Job, Attempt: req.Attempt, MaxAttempts: req.Policy.Attempts,
		Dispatch: req.Dispatch, Run: r.id, Tenant: req.Tenant, Subject: req.Subject, Tags: req.Tags,
		report: r.progress, store: p.storeFile(event.ResultFolder(r.jobID, req.Life) + r.id),
	}
	r.job.connect(r.log, r.streams)
	laneName := req.Lane
	if laneName == "" {
		laneName = l.name
	}
	claimed := event.Event{
		Type: event.Claimed, JobID: r.jobID, Life: req.Life,
		Job: req.Job, Tenant: req.Tenant, Subject: req.Subject, Lane: laneName,
		PayloadHash: req.PayloadHash, Policy: &req.Policy, RunAt: req.RunAt, CallbackURL: req.CallbackURL,
		CallbackEvents: req.CallbackEvents, Tags: req.Tags,
		Request:  &event.Position{Topic: l.topic, Partition: part.number, Offset: offset},
		Dispatch: r.dispatch, Run: r.id, Worker: p.worker, RequestedAt: requestedAt,
	}
	var err error
	if r.claim, err = event.Encode(&claimed); err != nil {
		return r, err
	}
	if !r.stance.mustWait && !l.mayBeRedelivery(part, offset) {
		claimed.NoGrant, claimed.RequestedAt = true, nil // the request is delivered for the first time
		r.firstClaim, err = event.Encode(&claimed)
	}
	return r, err
}

// take gives an input to the run.
func (r *run) take(in input) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.step(in)
}

// step computes the stance after an input and does what that asks for. It is called with mu held.
func (r *run) step(in input) {
	now, was := time.Now(), r.stance.phase
	next, acts := r.stance.next(in, now)
	r.stance = next
	r.countWaiting(was, next.phase)
	for _, a := range acts {
		r.do(a, now)
	}
}

func (r *run) countWaiting(was, is phase) {
	switch {
	case was != waiting && is == waiting:
		r.p.metrics.waiting.Inc()
	case was == waiting && is != waiting:
		r.p.metrics.waiting.Dec()
	}
}

// do does what the stance asks for. It is called with mu held.
func (r *run) do(a act, now time.Time) {
	switch a.deed {
	case sendClaim:
		r.sendClaim(now)
	case askAgain:
		r.append(event.Claimed, r.claim, nil, now)
	case sendBeat:
		r.append(event.Beat, r.encode(event.Event{Type: event.Beat}), nil, now)
	case sendProgress:
		r.sendProgress(now)
	case makeReport:
		r.makeReport(a.ending)
		r.sendReport(now)
	case repeatReport:
		r.sendReport(now)
	case markRequest:
		r.lane.mark(r.part, r.offset)
	case settleClaim:
		r.settle(a.how)
	case beginHandler:
		r.begin(now)
	case endContext:
		r.endContext(a.cause)
	case finishRun:
		r.finish()
	case noteLeaseLost:
		r.p.metrics.leasesLost.Inc()
		r.log.Warn("lease lost", "since", now.Sub(r.stance.renewedAt))
	case noteConflated:
		r.p.metrics.conflated.Inc()
	case noteStuck:
		r.log.Error("handler does not return", "type", r.job.Type)
	}
}

// settle ends the time before the handler begins: it counts the claim's outcome and ends its span.
func (r *run) settle(how claimOutcome) {
	r.p.metrics.claims.WithLabelValues(string(how)).Inc()
	r.endClaim(how)
	if how == claimUnable {
		lacks := r.stance.terms.lacks
		r.log.Warn("job handed back: this worker cannot run it", "type", r.job.Type, "code", failureOf(lacks, nil).Code,
			"err", lacks)
	}
}

// begin starts the handler.
func (r *run) begin(now time.Time) {
	r.beganAt = now
	ctx, cancel := context.WithCancelCause(r.p.handlersCtx)
	r.cancel = cancel
	if d := r.policy.Timeout.Duration(); d > 0 {
		// If the handler ignores this, the tracker ends the attempt too.
		timed, stop := context.WithTimeoutCause(ctx, d, ErrTimeout)
		ctx, r.cancel = timed, func(cause error) { cancel(cause); stop() }
	}
	ctx = r.beginRun(ctx)
	r.streams.ctx = ctx
	r.p.metrics.running.Inc()
	r.p.handlersDone.Go(func() { r.handle(ctx) })
}

// handle is the handler's goroutine.
func (r *run) handle(ctx context.Context) {
	// This stays the error if the handler ends its goroutine (runtime.Goexit), which skips the assignment below.
	var result []byte
	err := errPanicked
	defer func() {
		// While the streams are being stored, the run is still running and renews its lease.
		if unsaved := r.streams.shut(r.p.bounds.Delivery); err == nil {
			err = unsaved
		}
		r.returned(ctx, result, err)
	}()
	result, err = r.work(ctx)
}

// endContext ends the handler's context. A run that may not hold the job any more writes nothing to its streams.
func (r *run) endContext(cause error) {
	if errors.Is(cause, ErrStopped) || errors.Is(cause, ErrLeaseLost) {
		r.streams.abandon(cause)
	}
	r.cancel(cause)
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
	e := end(result, err, context.Cause(ctx), r.p.cfg.ResultLimit)
	if e.event == event.Completed {
		e.file = r.job.attached()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cancel(nil)
	r.p.metrics.running.Dec()
	took := time.Since(r.beganAt)
	r.p.metrics.handlerSeconds.WithLabelValues(r.lane.name).Observe(took.Seconds())
	was := r.stance.phase
	r.step(input{kind: onReturn, ending: e})
	attrs := []any{"type", r.job.Type, "outcome", string(r.stance.outcome), "seconds", took.Seconds()}
	switch was {
	case running:
		if e.failure != nil {
			attrs = append(attrs, "code", e.failure.Code, "err", err)
		}
		r.log.Info("attempt ended", attrs...)
	case silent:
		r.log.Warn("attempt ended without a report", attrs...)
	}
}

// makeReport makes the terminal event.
func (r *run) makeReport(e ending) {
	r.noteEnding(e)
	if e.outcome == ranUnable {
		r.p.metrics.noteUnable(e.failure)
	}
	r.reportOf = e.event
	r.report = r.encode(event.Event{Type: e.event, Result: e.result, ResultBlob: e.file, Error: e.failure,
		Streams: r.streams.seal()})
}

// finish ends the run and frees its slot.
func (r *run) finish() {
	if !r.beganAt.IsZero() {
		r.p.metrics.ended.WithLabelValues(string(r.stance.outcome)).Inc()
	}
	r.endRun()
	r.p.remove(r)
	r.lane.free()
}

// order handles an order from the tracker.
func (r *run) order(o event.Order) {
	switch o.Type {
	case event.Granted:
		r.take(input{kind: onGrant})
	case event.Quit:
		r.take(input{kind: onQuit})
	case event.Stop:
		r.log.Info("run stopped by the tracker", "reason", text.Clip(o.Reason, maxErrorCode))
		r.take(input{kind: onStop})
	}
}

// pulse lets the run do what is due. The first pulse sends the claim.
func (r *run) pulse() { r.take(input{kind: onPulse}) }

// progress takes the handler's progress.
func (r *run) progress(latest job.Progress) { r.take(input{kind: onProgress, progress: latest}) }
