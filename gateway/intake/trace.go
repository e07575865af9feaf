package intake

import (
	"context"
	"errors"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/frame"
)

// spans makes the spans of submits.
type spans struct{ *Config }

// begin begins the span of a submit, within the client's trace if there is one, and sets the trace context that
// the worker continues in r. If no spans are made it returns none, and the client's trace is passed on. Whether the
// trace is sampled is decided by the client only with TraceClients; else any client could cause all its spans to be
// recorded.
func (p spans) begin(ctx context.Context, r *frame.SubmitRequest) (context.Context, trace.Span) {
	sc := tracing.Parse(r.Traceparent, r.Tracestate)
	if sc.IsValid() {
		ctx = tracing.Keep(ctx)
	}
	if p.TraceClients {
		ctx = tracing.With(ctx, sc)
	} else {
		ctx = tracing.WithClient(ctx, sc)
		sc = trace.SpanContextFromContext(ctx)
	}
	var span trace.Span
	if p.Tracer != nil {
		ctx, span = p.Tracer.Start(ctx, "submit", trace.WithSpanKind(trace.SpanKindServer))
		sc = span.SpanContext()
	}
	r.Traceparent, r.Tracestate = tracing.Format(sc)
	return ctx, span
}

// end ends the span with the outcome of the submit.
func (p spans) end(span trace.Span, id auth.Identity, jobType string, ack frame.AckFrame, err error) {
	if span == nil {
		return
	}
	defer span.End()
	if !span.IsRecording() {
		return
	}
	attrs := []attribute.KeyValue{tracing.Tenant.String(id.Tenant)}
	if _, known := p.Types[jobType]; known { // an unknown name comes from the client and may be long
		attrs = append(attrs, tracing.JobType.String(jobType))
	}
	switch p := (frame.Problem{}); {
	case err == nil:
		attrs = append(attrs, tracing.JobID.String(ack.JobID), tracing.State.String(ack.State),
			attribute.Bool("ackwire.duplicate", ack.Duplicate))
	case errors.As(err, &p):
		attrs = append(attrs, tracing.Code.String(string(p.Code)))
		if p.JobID != "" {
			attrs = append(attrs, tracing.JobID.String(p.JobID))
		}
		if p.Code.Info().HTTP >= http.StatusInternalServerError { // the others are the client's faults
			tracing.Fail(span, string(p.Code))
		}
	default:
		tracing.Fail(span, err.Error())
	}
	span.SetAttributes(attrs...)
}
