package ackwire

import (
	"testing"

	"go.opentelemetry.io/otel/trace"
)

// TestASubmitIsOfItsContextsTrace: a submit belongs to the trace of its context, unless the Trace option names another.
func TestASubmitIsOfItsContextsTrace(t *testing.T) {
	state, err := trace.ParseTraceState("vendor=1")
	if err != nil {
		t.Fatal(err)
	}
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1, 0xab}, SpanID: trace.SpanID{2, 0xcd}, TraceFlags: trace.FlagsSampled, TraceState: state,
	}))
	cfg := tracedBy(ctx)
	if cfg.traceparent != "00-01ab0000000000000000000000000000-02cd000000000000-01" || cfg.tracestate != "vendor=1" {
		t.Errorf("%q %q", cfg.traceparent, cfg.tracestate)
	}
	if Trace("mine", "")(&cfg); cfg.traceparent != "mine" || cfg.tracestate != "" {
		t.Errorf("%q %q", cfg.traceparent, cfg.tracestate)
	}
	if n := testing.AllocsPerRun(100, func() { cfg = tracedBy(t.Context()) }); n > 0 || cfg.traceparent != "" {
		t.Errorf("without a trace: %q, %.1f allocations", cfg.traceparent, n)
	}
}
