package shard

import (
	"context"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/fold"
)

// traced is the trace of a job's last event that had a sampled one. It is no part of the job
// and lives in memory only: after a restart a job's next traced event brings it back.
type traced struct {
	within  trace.SpanContext
	version int64 // what the event made the job's
}

// join takes the trace that a record carries, before what it has changed is told on. The
// fold's span is the child of whatever wrote the record; what is folded a second time, while
// catching up, gets none. A record without headers costs a look.
func (s *Shard) join(entry *entry, rec *kgo.Record, e *event.Event, r fold.Result, began time.Time) {
	if len(rec.Headers) == 0 {
		return
	}
	sc := tracing.FromRecord(rec)
	if !sc.IsSampled() {
		return
	}
	if s.tracer != nil && s.catching.ready.Load() {
		_, span := s.tracer.Start(tracing.With(context.Background(), sc), "fold",
			trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(began))
		if span.IsRecording() {
			span.SetAttributes(tracing.JobID.String(e.JobID), tracing.Event.String(string(e.Type)))
			if r.Job != nil {
				span.SetAttributes(tracing.State.String(string(r.Job.Doc.State)), tracing.Version.Int64(r.Job.Version))
			}
			if !r.Changed {
				span.SetAttributes(tracing.Outcome.String(string(r.Reason)))
			}
		}
		sc = span.SpanContext()
		span.End()
	}
	if r.Changed && r.Job != nil {
		entry.traced = &traced{within: sc, version: r.Job.Version}
	}
}

// told is the trace of the version that the entry's job has, as it travels; nil when the
// event that made it had none.
func (e *entry) told() *trackerpb.Trace {
	if e.traced == nil || e.traced.version != e.job.Version {
		return nil
	}
	parent, state := tracing.Format(e.traced.within)
	return &trackerpb.Trace{Traceparent: parent, Tracestate: state}
}

// context is one for the records that the tracker itself writes about a job; nil when no
// sampled trace is known.
func (t *traced) context() context.Context {
	if t == nil {
		return nil
	}
	return tracing.With(context.Background(), t.within)
}

// log is log with the trace's ID, if one is known.
func (t *traced) log(log *slog.Logger) *slog.Logger {
	if t == nil {
		return log
	}
	return tracing.Log(log, t.within)
}

// beginSpan begins the span of a hand-out, after which the next attempt comes: the child
// of the event that made it due or, when that is not known, of what wrote the job's first
// request. Without a sampled trace it returns nil twice, and the request carries what the
// first one did.
func (h *handOuts) beginSpan(source *kgo.Record, t *traced, j *fold.Job) (context.Context, trace.Span) {
	first := tracing.FromRecord(source)
	ctx := t.context()
	switch {
	case first.IsValid() && (t == nil || t.within.TraceID() != first.TraceID()):
		if !first.IsSampled() {
			return nil, nil
		}
		ctx = tracing.With(context.Background(), first)
	case ctx == nil:
		return nil, nil
	}
	if h.tracer == nil {
		return ctx, nil
	}
	ctx, span := h.tracer.Start(ctx, "hand out")
	span.SetAttributes(tracing.JobID.String(j.Doc.JobID), tracing.Attempt.Int(j.Doc.Attempt),
		tracing.Dispatch.Int(j.Dispatch))
	return ctx, span
}

func endSpan(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil {
		tracing.Fail(span, err.Error())
	}
	span.End()
}
