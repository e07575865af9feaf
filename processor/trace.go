package processor

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/topic"
)

// maxTracedProgress bounds how many progress events of one run belong to its trace, so that a job of hours does not
// produce a trace that is too large to read.
const maxTracedProgress = 20

// spans holds the trace context of a run. There is one open span at a time: the claim's until the handler begins, then
// the run's. For a job without a trace, in a processor that makes no spans, all fields are zero.
type spans struct {
	// ctx carries the open span, or the trace context of the request, for the run's records and
	// for its handler. It is never cancelled.
	ctx    context.Context
	open   trace.Span
	traced int // progress events that were sent within the trace
}

// beginClaim begins the claim's span, which lasts from the delivery of the request until it is decided whether the
// handler begins. Its parent is the span that wrote the request.
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

// endClaim ends the claim's span.
func (r *run) endClaim(how claimOutcome) {
	if span := r.spans.open; span != nil {
		span.SetAttributes(tracing.Outcome.String(string(how)))
		span.End()
		r.spans.open = nil
	}
}

// beginRun begins the run's span, which lasts until the run's outcome is durable. It returns ctx with that span: spans
// that the handler makes from it are children.
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

// noteEnding records the failure's code in the run's span.
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
		span.SetAttributes(tracing.Outcome.String(string(r.stance.outcome)))
		if r.stance.outcome == ranStopped || r.stance.outcome == ranLeaseLost {
			tracing.Fail(span, string(r.stance.outcome))
		}
		span.End()
		r.spans.open = nil
	}
}

// progressTrace returns the trace context for a progress event; nil after maxTracedProgress events.
func (r *run) progressTrace() context.Context {
	if r.spans.ctx == nil || r.spans.traced >= maxTracedProgress {
		return nil
	}
	r.spans.traced++
	return r.spans.ctx
}
