package ackwire

import (
	"context"
	"encoding/hex"

	"go.opentelemetry.io/otel/trace"
)

// tracedBy returns the settings of a submit within the trace of ctx (W3C Trace Context §3.2, version 00). It needs only
// OpenTelemetry's API, not its SDK.
func tracedBy(ctx context.Context) (cfg submitConfig) {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return cfg
	}
	traceID, spanID := sc.TraceID(), sc.SpanID()
	b := append(make([]byte, 0, 55), "00-"...)
	b = append(hex.AppendEncode(b, traceID[:]), '-')
	b = append(hex.AppendEncode(b, spanID[:]), '-')
	b = hex.AppendEncode(b, []byte{byte(sc.TraceFlags() & trace.FlagsSampled)})
	cfg.traceparent, cfg.tracestate = string(b), sc.TraceState().String()
	return cfg
}
