package processor

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/topic"
)

// maxTracedProgress bounds how many progress events of one run belong to its trace: a job of
// hours must not make one that nobody can read.
const maxTracedProgress = 20

// spans is what a run has to do with its job's trace: the claim's span until the handler
// begins, then the run's. Of a job without a trace, where no spans are made, all of it is nil.
type spans struct {
	// ctx carries the span, or what the request's record brought, for the run's records and
	// for its handler. It never ends.
	ctx    context.Context
	open   trace.Span
	traced int // progress events that were said in the trace
}

// beginClaim begins the first span, from the delivery of the request until the run may begin
// or will not: the child of whatever wrote the request.
func (r *run) beginClaim(req topic.Request) {
	sc := tracing.Parse(req.Traceparent, req.Tracestate)
	if sc.IsValid() {
		r.spans.ctx = tracing.With(context.Background(), sc)
	}
	if r.p.tracer == nil {
		return
	}
	ctx := tracing.With(context.Background(), sc)
	r.spans.ctx, r.spans.open = r.p.tracer.Start(ctx, "claim", trace.WithSpanKind(trace.SpanKindConsumer))
	if span := r.spans.open; span.IsRecording() {
		span.SetAttributes(tracing.JobID.String(req.JobID), tracing.JobType.String(req.Job),
			tracing.Tenant.String(req.Tenant),
			tracing.Lane.String(r.lane.name), tracing.Attempt.Int(req.Attempt), tracing.Dispatch.Int(req.Dispatch),
			tracing.Run.String(r.id), tracing.Worker.String(r.p.worker))
	}
}

// endClaim ends it.
func (r *run) endClaim(how claimOutcome) {
	if span := r.spans.open; span != nil {
		span.SetAttributes(tracing.Outcome.String(string(how)))
		span.End()
		r.spans.open = nil
	}
}

// beginRun begins the span that lasts until the run's outcome is durable, and gives it to the
// handler: spans that a handler makes of ctx are its children.
func (r *run) beginRun(ctx context.Context) context.Context {
	if r.spans.ctx == nil {
		return ctx
	}
	if r.p.tracer != nil {
		r.spans.ctx, r.spans.open = r.p.tracer.Start(r.spans.ctx, "run")
		if span := r.spans.open; span.IsRecording() {
			span.SetAttributes(tracing.JobID.String(r.jobID), tracing.JobType.String(r.job.Type),
				tracing.Tenant.String(r.job.Tenant),
				tracing.Attempt.Int(r.job.Attempt), tracing.Dispatch.Int(r.dispatch), tracing.Run.String(r.id))
		}
	}
	return trace.ContextWithSpan(ctx, trace.SpanFromContext(r.spans.ctx))
}

// noteEnding tells what the handler's return meant.
func (r *run) noteEnding(e ending) {
	if span := r.spans.open; span != nil && e.failure != nil {
		span.SetAttributes(tracing.Code.String(e.failure.Code))
		if e.outcome == ranFailed {
			tracing.Fail(span, e.failure.Code)
		}
	}
}

// endRun ends the run's span.
func (r *run) endRun() {
	if span := r.spans.open; span != nil {
		span.SetAttributes(tracing.Outcome.String(string(r.outcome)))
		if r.outcome == ranStopped || r.outcome == ranLeaseLost {
			tracing.Fail(span, string(r.outcome))
		}
		span.End()
		r.spans.open = nil
	}
}

// progressTrace is the trace of a progress event, nil once there were enough of them.
func (r *run) progressTrace() context.Context {
	if r.spans.ctx == nil || r.spans.traced >= maxTracedProgress {
		return nil
	}
	r.spans.traced++
	return r.spans.ctx
}
