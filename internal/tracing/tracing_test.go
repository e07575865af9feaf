package tracing

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

const (
	sampled   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
)

// TestContexts: a good one is handed on, a malformed one is passed over (W3C Trace Context §3.2).
func TestContexts(t *testing.T) {
	for parent, want := range map[string]string{
		sampled: sampled, unsampled: unsampled, "": "", "nonsense": "", "ff" + sampled[2:]: "", strings.ToUpper(sampled): "",
		"00-" + strings.Repeat("0", 32) + sampled[35:]: "", sampled[:36] + strings.Repeat("0", 16) + "-01": "", sampled +
			"-more": "",
		"cc" + sampled[2:] + "-what-comes-later": sampled, sampled + "\r\nx: y": "",
	} {
		if got, _ := Format(Parse(parent, "")); got != want {
			t.Errorf("%q became %q, want %q", parent, got, want)
		}
	}
	for state, want := range map[string]string{"vendor=1,other=2": "vendor=1,other=2", "=": "",
		"a=" + strings.Repeat("x", MaxState): ""} {
		if parent, got := Format(Parse(sampled, state)); parent != sampled || got != want {
			t.Errorf("state %q became %q beside %q", state, got, parent)
		}
	}
}

// TestRecords: only a sampled trace costs a record's bytes, and the record's own context wins.
func TestRecords(t *testing.T) {
	in := func(parent string) context.Context { return With(t.Context(), Parse(parent, "vendor=1")) }
	for _, c := range []struct {
		what string
		ctx  context.Context
		rec  kgo.Record
		want string
	}{
		{"no trace", t.Context(), kgo.Record{}, ""},
		{"not sampled", in(unsampled), kgo.Record{}, ""},
		{"sampled", in(sampled), kgo.Record{}, sampled},
		{"the record's own", in(unsampled), kgo.Record{Context: in(sampled)}, sampled},
	} {
		Carry(c.ctx, &c.rec)
		parent, state := Format(FromRecord(&c.rec))
		if parent != c.want || (state == "vendor=1") != (c.want != "") {
			t.Errorf("%s: %q, %q", c.what, parent, state)
		}
	}
	h := http.Header{}
	if SetHeaders(in(unsampled), h); h.Get("Traceparent") != unsampled || h.Get("Tracestate") != "vendor=1" {
		t.Errorf("HTTP headers %v", h)
	}
	if env := Environ(in(sampled)); !slices.Equal(env, []string{"TRACEPARENT=" + sampled, "TRACESTATE=vendor=1"}) {
		t.Errorf("environment %v", env)
	}
	if env := Environ(t.Context()); env != nil {
		t.Errorf("environment without a trace: %v", env)
	}
}

// TestProduced: a record within a sampled trace has a span, which its headers name; any other
// has none, not even as the beginning of a trace.
func TestProduced(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	p := sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))
	hook := Produced(p)
	for _, parent := range []string{"", unsampled, sampled} {
		rec := &kgo.Record{Topic: "status", Context: With(t.Context(), Parse(parent, ""))}
		hook.(kgo.HookProduceRecordBuffered).OnProduceRecordBuffered(rec)
		hook.(kgo.HookProduceRecordUnbuffered).OnProduceRecordUnbuffered(rec, nil)
		if parent != sampled && len(rec.Headers)+len(spans.Ended()) != 0 {
			t.Errorf("%q: %d headers, %d spans", parent, len(rec.Headers), len(spans.Ended()))
		}
		if parent == sampled {
			ended := spans.Ended()
			if len(ended) != 1 || ended[0].Parent().SpanID() != Parse(sampled, "").SpanID() ||
				FromRecord(rec).SpanID() != ended[0].SpanContext().SpanID() {
				t.Errorf("spans %v, headers %v", ended, rec.Headers)
			}
		}
	}
	if _, fetches := hook.(kgo.HookFetchRecordBuffered); fetches {
		t.Error("records that are read get spans, too: most are of no trace and would begin one")
	}
}

// TestNothingCostsNothing: without a trace and a provider nothing allocates.
func TestNothingCostsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	rec := &kgo.Record{Topic: "status", Headers: []kgo.RecordHeader{{Key: "ackwire-attempt", Value: []byte("1")}}}
	log, h := slog.New(slog.DiscardHandler), http.Header{}
	if n := testing.AllocsPerRun(1000, func() {
		sc := Parse("", "")
		_, _ = Format(sc)
		_ = With(ctx, sc)
		Carry(ctx, rec)
		_ = FromRecord(rec)
		SetHeaders(ctx, h)
		_ = Environ(ctx)
		_ = Log(log, trace.SpanContextFromContext(ctx))
		_ = Tracer(nil, "gateway")
	}); n > 0 {
		t.Errorf("%.1f allocations", n)
	}
}
