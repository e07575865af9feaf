package processor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/event"
)

const (
	traceID   = "0af7651916cd43dd8448eb211c80319c"
	sampled   = "00-" + traceID + "-b7ad6b7169203331-01"
	unsampled = "00-" + traceID + "-b7ad6b7169203331-00"
)

// startTraced runs a worker that makes spans, and logs into a buffer that is to be read once
// it has ended.
func (w *world) startTraced(spans *tracetest.SpanRecorder, log *bytes.Buffer, register func(*Processor)) *worker {
	w.t.Helper()
	env := w.env()
	if spans != nil {
		env.Traces = sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))
	}
	env.Log = slog.New(slog.NewTextHandler(log, nil))
	wk := w.launch(Config{}, env, register)
	for wk.Ready() != nil {
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(2 * moment)
	return wk
}

// span finds the one ended span of a name.
func span(t *testing.T, spans *tracetest.SpanRecorder, name string) sdk.ReadOnlySpan {
	t.Helper()
	var found []sdk.ReadOnlySpan
	for _, s := range spans.Ended() {
		if s.Name() == name {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans %q", len(found), name)
	}
	return found[0]
}

// TestARunIsAPartOfItsJobsTrace: the spans are request → claim → run → the handler's own, and the run's
// events are part of the trace, except for beats, and for progress beyond a limit.
func TestARunIsAPartOfItsJobsTrace(t *testing.T) {
	inWorld(t, func(w *world) {
		spans, log := tracetest.NewSpanRecorder(), &bytes.Buffer{}
		own := sdk.NewTracerProvider(sdk.WithSpanProcessor(spans)).Tracer("the handler's")
		wk := w.startTraced(spans, log,
			handlers(map[string]RawHandler{"long": func(ctx context.Context, j *Job, _ []byte) (json.RawMessage, error) {
				_, span := own.Start(ctx, "render")
				defer span.End()
				time.Sleep(testLease / 2) // silent, but for beats
				for i := range maxTracedProgress * 2 {
					j.Progress(float64(i), "")
					time.Sleep(300 * time.Millisecond)
				}
				return nil, Permanent(errors.New("no"))
			}}))
		req := request(id(1), "long")
		req.Traceparent, req.Tracestate = sampled, "vendor=1"
		w.submit(req, `1`)
		w.last(id(1))
		time.Sleep(moment)
		claim, run, render := span(t, spans, "claim"), span(t, spans, "run"), span(t, spans, "render")
		for _, c := range []struct {
			what        string
			span        sdk.ReadOnlySpan
			parent      trace.SpanID
			kind        trace.SpanKind
			status      codes.Code
			description string
		}{
			{"claim", claim, tracing.Parse(sampled, "").SpanID(), trace.SpanKindConsumer, codes.Unset, ""},
			{"run", run, claim.SpanContext().SpanID(), trace.SpanKindInternal, codes.Error, "handler_error"},
			{"the handler's", render, run.SpanContext().SpanID(), trace.SpanKindInternal, codes.Unset, ""},
		} {
			if s := c.span; s.SpanContext().TraceID().String() != traceID || s.Parent().SpanID() != c.parent ||
				s.SpanKind() != c.kind || s.Status().Code != c.status || s.Status().Description != c.description {
				t.Errorf("%s: %+v, parent %v, %v, %v", c.what, s.SpanContext(), s.Parent().SpanID(), s.SpanKind(), s.Status())
			}
		}
		if got := render.SpanContext().TraceState().String(); got != "vendor=1" {
			t.Errorf("state %q", got)
		}
		said := map[event.Type]int{}
		for _, e := range w.events(id(1)) {
			if !e.trace.IsValid() {
				continue
			}
			said[e.Type]++
			if e.trace.TraceID().String() != traceID {
				t.Errorf("%s carries %v", e.Type, e.trace)
			}
		}
		if said[event.Claimed] != 1 || said[event.Failed] != 1 || said[event.Beat] != 0 ||
			said[event.Progress] != maxTracedProgress {
			t.Errorf("carried by %v", said)
		}
		if err := wk.halt(); err != nil {
			t.Error(err)
		}
		if !strings.Contains(log.String(), "attempt ended") || !strings.Contains(log.String(), "trace="+traceID) {
			t.Errorf("logged %s", log)
		}
	})
}

// TestATraceIsHandedOn: even if no spans are made, or the trace is not sampled.
func TestATraceIsHandedOn(t *testing.T) {
	inWorld(t, func(w *world) {
		contexts := map[string]trace.SpanContext{}
		wk := w.startTraced(nil, &bytes.Buffer{},
			handlers(map[string]RawHandler{"echo": func(ctx context.Context, j *Job, payload []byte) (json.RawMessage, error) {
				contexts[j.ID] = trace.SpanContextFromContext(ctx)
				return payload, nil
			}}))
		for i, c := range []struct {
			parent string
			events int
		}{{"", 0}, {"nonsense", 0}, {unsampled, 0}, {sampled, 2}} {
			req := request(id(i), "echo")
			req.Traceparent = c.parent
			w.submit(req, `1`)
			w.last(id(i))
			carried := 0
			for _, e := range w.events(id(i)) {
				if e.trace.IsValid() {
					carried++
				}
			}
			want := tracing.Parse(c.parent, "")
			if got := contexts[id(i)]; !got.Equal(want) || carried != c.events {
				t.Errorf("%q: the handler has %+v, %d events", c.parent, got, carried)
			}
		}
		if err := wk.halt(); err != nil {
			t.Error(err)
		}
	})
}

// TestARefusedClaimEndsItsSpan: a run that never began leaves no span open.
func TestARefusedClaimEndsItsSpan(t *testing.T) {
	inWorld(t, func(w *world) {
		spans := tracetest.NewSpanRecorder()
		w.answers(func(e event.Event) []event.OrderType { return []event.OrderType{event.Stop} })
		wk := w.startTraced(spans, &bytes.Buffer{}, handlers(map[string]RawHandler{"echo": echo}))
		req := request(id(1), "echo")
		req.Traceparent, req.Dispatch = sampled, 2 // it must wait
		w.submit(req, `1`)
		w.want("refused", id(1), event.Claimed)
		span(t, spans, "claim")
		if err := wk.halt(); err != nil {
			t.Error(err)
		}
		if started, ended := len(spans.Started()), len(spans.Ended()); started != ended {
			t.Errorf("%d spans began and %d ended", started, ended)
		}
	})
}
