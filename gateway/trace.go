package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/frame"
)

// beginSubmit begins the span of a submit, within the client's trace if it sent one. Where
// no spans are made it returns none, and the client's trace is handed on as it is. The
// request carries from now on what the worker is to continue.
func (g *Gateway) beginSubmit(ctx context.Context, r *frame.SubmitRequest) (context.Context, trace.Span) {
	sc := tracing.Parse(r.Traceparent, r.Tracestate)
	ctx = tracing.With(ctx, sc)
	var span trace.Span
	if g.tracer != nil {
		ctx, span = g.tracer.Start(ctx, "submit", trace.WithSpanKind(trace.SpanKindServer))
		sc = span.SpanContext()
	}
	r.Traceparent, r.Tracestate = tracing.Format(sc)
	return ctx, span
}

// endSubmit ends it with what the client is told.
func (g *Gateway) endSubmit(span trace.Span, id auth.Identity, jobType string, ack frame.AckFrame, err error) {
	if span == nil {
		return
	}
	defer span.End()
	if !span.IsRecording() {
		return
	}
	attrs := []attribute.KeyValue{tracing.Tenant.String(id.Tenant)}
	if _, known := g.types[jobType]; known { // any other name is the client's, as long as a frame
		attrs = append(attrs, tracing.JobType.String(jobType))
	}
	switch p := (frame.Problem{}); {
	case err == nil:
		attrs = append(attrs, tracing.JobID.String(ack.JobID), tracing.State.String(ack.State), attribute.Bool("ackwire.duplicate", ack.Duplicate))
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

// logOf is the log with the ID of ctx's trace.
func (g *Gateway) logOf(ctx context.Context) *slog.Logger {
	return tracing.Log(g.log, trace.SpanContextFromContext(ctx))
}
