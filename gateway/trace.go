package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// beginSubmit begins the span of a submit, within the client's trace if there is one, and sets the trace context that
// the worker continues in r. If no spans are made it returns none, and the client's trace is passed on. Whether the
// trace is sampled is decided by the client only with TraceClients; else any client could cause all its spans to be
// recorded.
func (g *Gateway) beginSubmit(ctx context.Context, r *frame.SubmitRequest) (context.Context, trace.Span) {
	sc := tracing.Parse(r.Traceparent, r.Tracestate)
	if g.cfg.TraceClients {
		ctx = tracing.With(ctx, sc)
	} else {
		ctx = tracing.WithClient(ctx, sc)
		sc = trace.SpanContextFromContext(ctx)
	}
	var span trace.Span
	if g.tracer != nil {
		ctx, span = g.tracer.Start(ctx, "submit", trace.WithSpanKind(trace.SpanKindServer))
		sc = span.SpanContext()
	}
	r.Traceparent, r.Tracestate = tracing.Format(sc)
	return ctx, span
}

// endSubmit ends the span with the outcome of the submit.
func (g *Gateway) endSubmit(span trace.Span, id auth.Identity, jobType string, ack frame.AckFrame, err error) {
	if span == nil {
		return
	}
	defer span.End()
	if !span.IsRecording() {
		return
	}
	attrs := []attribute.KeyValue{tracing.Tenant.String(id.Tenant)}
	if _, known := g.types[jobType]; known { // an unknown name comes from the client and may be long
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

// Bounds of the spans for the delivery of one status: however many clients watch a job, its trace has only a few of
// them, and none for clients that asked later.
const (
	maxPushSpans = 8
	maxPushAfter = 30 * time.Second
)

// pushed returns a function that makes a span when a status is written to a client; the span begins when the status
// arrived from the tracker. It returns nil if the status does not belong to a sampled trace.
func (g *Gateway) pushed(j *trackerpb.Job) (written func()) {
	if g.tracer == nil || j.Trace == nil {
		return nil
	}
	sc := tracing.Parse(j.Trace.Traceparent, j.Trace.Tracestate)
	if !sc.IsSampled() {
		return nil
	}
	began, jobID, version := time.Now(), j.JobId, j.Version
	var spans atomic.Int32
	return func() {
		if time.Since(began) > maxPushAfter || spans.Add(1) > maxPushSpans {
			return
		}
		_, span := g.tracer.Start(tracing.With(context.Background(), sc), "push", trace.WithSpanKind(trace.SpanKindProducer),
			trace.WithTimestamp(began),
			trace.WithAttributes(tracing.JobID.String(jobID), tracing.Version.Int64(version)))
		span.End()
	}
}

// pushJob is writeJob for a client that has waited for the job. It counts as the delivery of a status.
func (g *Gateway) pushJob(w http.ResponseWriter, j *trackerpb.Job) {
	written := g.pushed(j)
	writeJob(w, j)
	if written != nil {
		written()
	}
}

// logOf returns the logger with the trace ID of ctx.
func (g *Gateway) logOf(ctx context.Context) *slog.Logger {
	return tracing.Log(g.log, trace.SpanContextFromContext(ctx))
}
