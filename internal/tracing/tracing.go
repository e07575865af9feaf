// Package tracing passes W3C trace contexts along with a job: in frames, HTTP headers, Kafka records and the
// environment of commands. A context that came in is passed on even where no spans are made. Without a trace and
// a tracer provider, nothing here allocates.
package tracing

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kotel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Names of the two parts of a context, as headers and as fields (W3C Trace Context §3.2, §3.3).
const (
	parentField = "traceparent"
	stateField  = "tracestate"
)

// MaxState is the longest tracestate that is passed on, in bytes; §3.3.1.5 asks for at least that.
const MaxState = 512

// w3c reads and writes both parts. Baggage is not supported.
var w3c propagation.TraceContext

// Tracer returns a service's tracer; nil when p is nil, and then no spans are made. The service's name is in the
// spans' scope, which tells services of one process apart.
func Tracer(p trace.TracerProvider, service string) trace.Tracer {
	if p == nil {
		return nil
	}
	return p.Tracer("github.com/ackwire/ackwire/" + service)
}

// pair is a carrier of the two parts of a context that, unlike a map, need not allocate.
type pair struct{ parent, state string }

// Get implements propagation.TextMapCarrier.
func (p *pair) Get(key string) string {
	if key == parentField {
		return p.parent
	}
	return p.state
}

// Set implements propagation.TextMapCarrier.
func (p *pair) Set(key, value string) {
	if key == parentField {
		p.parent = value
	} else {
		p.state = value
	}
}

// Keys implements propagation.TextMapCarrier.
func (p *pair) Keys() []string { return w3c.Fields() }

// Parse returns the context of the two headers. It is invalid when parent is malformed; a state that is
// malformed or longer than MaxState is left out.
func Parse(parent, state string) trace.SpanContext {
	if parent == "" {
		return trace.SpanContext{}
	}
	if len(state) > MaxState {
		state = ""
	}
	return trace.SpanContextFromContext(w3c.Extract(context.Background(), &pair{parent, state}))
}

// Format returns a context as the two headers; both are empty when it is invalid.
func Format(sc trace.SpanContext) (parent, state string) {
	if !sc.IsValid() {
		return "", ""
	}
	var p pair
	w3c.Inject(trace.ContextWithSpanContext(context.Background(), sc), &p)
	return p.parent, p.state
}

// With returns ctx with a trace context that came from another process; ctx itself when sc is invalid.
func With(ctx context.Context, sc trace.SpanContext) context.Context {
	if !sc.IsValid() {
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, sc)
}

type fromClient struct{}

// WithClient is With for a context that a client sent. The trace is continued, but its sampled flag is removed,
// for clients must not decide what is sampled: the sampler does, which knows such a context by FromClient.
func WithClient(ctx context.Context, sc trace.SpanContext) context.Context {
	if !sc.IsValid() {
		return ctx
	}
	return context.WithValue(With(ctx, sc.WithTraceFlags(sc.TraceFlags()&^trace.FlagsSampled)), fromClient{}, true)
}

// FromClient reports whether ctx comes from WithClient.
func FromClient(ctx context.Context) bool { return ctx.Value(fromClient{}) != nil }

// FromRecord returns the context in a record's headers.
func FromRecord(rec *kgo.Record) trace.SpanContext {
	var p pair
	for _, h := range rec.Headers {
		switch h.Key {
		case parentField:
			p.parent = string(h.Value)
		case stateField:
			p.state = string(h.Value)
		}
	}
	return Parse(p.parent, p.state)
}

// Carry adds the trace of ctx, or of the record's own context if it has one, to the record's headers. It does so
// only for a sampled trace, to save bytes in every event of a job.
func Carry(ctx context.Context, rec *kgo.Record) {
	if rec.Context != nil {
		ctx = rec.Context
	}
	if trace.SpanContextFromContext(ctx).IsSampled() {
		w3c.Inject(ctx, kotel.NewRecordCarrier(rec))
	}
}

type kept struct{}

// Keep has CarryKept carry the trace of ctx.
func Keep(ctx context.Context) context.Context { return context.WithValue(ctx, kept{}, true) }

// CarryKept adds the trace of a context from Keep to the record's headers though it is not sampled, so that its ID can
// be looked up later; for a sampled one see Carry.
func CarryKept(ctx context.Context, rec *kgo.Record) {
	sc := trace.SpanContextFromContext(ctx)
	if ctx.Value(kept{}) == nil || sc.IsSampled() || !sc.IsValid() {
		return
	}
	parent, _ := Format(sc)
	rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: parentField, Value: []byte(parent)})
}

// SetHeaders adds the headers of ctx's trace to a request.
func SetHeaders(ctx context.Context, h http.Header) { w3c.Inject(ctx, propagation.HeaderCarrier(h)) }

// Environ returns ctx's trace as environment variables for a process (OpenTelemetry, "Environment Variables as
// Context Propagation Carriers").
func Environ(ctx context.Context) []string {
	parent, state := Format(trace.SpanContextFromContext(ctx))
	if parent == "" {
		return nil
	}
	env := []string{"TRACEPARENT=" + parent}
	if state != "" {
		env = append(env, "TRACESTATE="+state)
	}
	return env
}

// Key is the name of the log attribute with a trace's ID.
const Key = "trace"

// Log returns log with the trace's ID; log itself when there is no trace.
func Log(log *slog.Logger, sc trace.SpanContext) *slog.Logger {
	if !sc.HasTraceID() {
		return log
	}
	return log.With(Key, sc.TraceID().String())
}

// Produced returns a hook that makes a span for each record that is produced within a sampled trace, and puts
// that span into the record's headers.
func Produced(p trace.TracerProvider) kgo.Hook {
	return produced{kotel.NewTracer(kotel.TracerProvider(p), kotel.TracerPropagator(w3c))}
}

type produced struct{ spans *kotel.Tracer }

// OnProduceRecordBuffered implements kgo.HookProduceRecordBuffered.
func (p produced) OnProduceRecordBuffered(rec *kgo.Record) {
	if trace.SpanContextFromContext(rec.Context).IsSampled() {
		p.spans.OnProduceRecordBuffered(rec)
	}
}

// OnProduceRecordUnbuffered implements kgo.HookProduceRecordUnbuffered. The client calls it only for a record
// that it has buffered, with the context that the other hook has set.
func (p produced) OnProduceRecordUnbuffered(rec *kgo.Record, err error) {
	if trace.SpanContextFromContext(rec.Context).IsSampled() {
		p.spans.OnProduceRecordUnbuffered(rec, err)
	}
}
