package gateway

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Bounds of the spans for the delivery of one status: however many clients watch a job, its trace has only a few of
// them, and none for clients that asked later.
const (
	maxPushSpans = 8
	maxPushAfter = 30 * time.Second
)

// pushes makes spans of the delivery of statuses.
type pushes struct{ tracer trace.Tracer }

// pushed returns a function that makes a span when a status is written to a client; the span begins when the status
// arrived from the tracker. It returns nil if the status does not belong to a sampled trace.
func (p pushes) pushed(j *trackerpb.Job) (written func()) {
	if p.tracer == nil || j.Trace == nil {
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
		_, span := p.tracer.Start(tracing.With(context.Background(), sc), "push", trace.WithSpanKind(trace.SpanKindProducer),
			trace.WithTimestamp(began),
			trace.WithAttributes(tracing.JobID.String(jobID), tracing.Version.Int64(version)))
		span.End()
	}
}
