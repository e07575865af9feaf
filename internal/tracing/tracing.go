// Package tracing carries W3C trace contexts over what a job passes through: frames, HTTP
// headers, Kafka records, the environment of a command. What came in is handed on also
// where no spans are made. Where there is no trace, and no provider of spans, nothing here
// allocates.
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

// MaxState is the longest tracestate that is handed on; §3.3.1.5 asks for no less.
const MaxState = 512

// w3c reads and writes both parts. Baggage is nobody's here.
var w3c propagation.TraceContext

// Tracer returns what makes a service's spans; nil when p is, and then none are made. The
// service's name is the spans' scope, which tells services of one process apart.
func Tracer(p trace.TracerProvider, service string) trace.Tracer {
	if p == nil {
		return nil
	}
	return p.Tracer("github.com/ackwire/ackwire/" + service)
}

// pair is a context in its two parts: a carrier without a map.
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

// Parse reads a context. One whose parent is malformed is invalid; a state that is
// malformed or too long is left out.
func Parse(parent, state string) trace.SpanContext {
	if parent == "" {
		return trace.SpanContext{}
	}
	if len(state) > MaxState {
		state = ""
	}
	return trace.SpanContextFromContext(w3c.Extract(context.Background(), &pair{parent, state}))
}

// Format writes a context; both parts are empty when it is invalid.
func Format(sc trace.SpanContext) (parent, state string) {
	if !sc.IsValid() {
		return "", ""
	}
	var p pair
	w3c.Inject(trace.ContextWithSpanContext(context.Background(), sc), &p)
	return p.parent, p.state
}

// With returns ctx with a context that came from elsewhere; ctx itself when it is invalid.
func With(ctx context.Context, sc trace.SpanContext) context.Context {
	if !sc.IsValid() {
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, sc)
}

type fromClient struct{}

// WithClient is With for a context that a client sent: its trace goes on, but whether it is sampled is not the
// client's to say. Who makes spans asks FromClient, and decides.
func WithClient(ctx context.Context, sc trace.SpanContext) context.Context {
	if !sc.IsValid() {
		return ctx
	}
	return context.WithValue(With(ctx, sc.WithTraceFlags(sc.TraceFlags()&^trace.FlagsSampled)), fromClient{}, true)
}

// FromClient reports whether ctx is WithClient's.
func FromClient(ctx context.Context) bool { return ctx.Value(fromClient{}) != nil }

// FromRecord reads the context that a record carries.
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

// Carry gives a record the headers of the sampled trace that ctx, or the record's own
// context, belongs to. What is not sampled is not worth the bytes in each of a job's events.
func Carry(ctx context.Context, rec *kgo.Record) {
	if rec.Context != nil {
		ctx = rec.Context
	}
	if trace.SpanContextFromContext(ctx).IsSampled() {
		w3c.Inject(ctx, kotel.NewRecordCarrier(rec))
	}
}

// SetHeaders gives a request to somebody else's server the headers of ctx's trace.
func SetHeaders(ctx context.Context, h http.Header) { w3c.Inject(ctx, propagation.HeaderCarrier(h)) }

// Environ is ctx's trace as environment variables of a process (OpenTelemetry, "Environment
// Variables as Context Propagation Carriers").
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

// Key is the attribute under which logs tell a trace's ID.
const Key = "trace"

// Log returns log with the trace's ID; log itself when there is no trace.
func Log(log *slog.Logger, sc trace.SpanContext) *slog.Logger {
	if !sc.HasTraceID() {
		return log
	}
	return log.With(Key, sc.TraceID().String())
}

// Produced makes a span of each record that is produced within a sampled trace, and the
// record's headers those of that span. Other records cost it a look.
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

// OnProduceRecordUnbuffered implements kgo.HookProduceRecordUnbuffered. The client calls it
// only for what it has buffered, with the context that the other hook left.
func (p produced) OnProduceRecordUnbuffered(rec *kgo.Record, err error) {
	if trace.SpanContextFromContext(rec.Context).IsSampled() {
		p.spans.OnProduceRecordUnbuffered(rec, err)
	}
}
