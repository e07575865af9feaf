package gateway

import (
	"context"
	"net/http"
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
