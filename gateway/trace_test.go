package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/command/export"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

const (
	testTrace = "0af7651916cd43dd8448eb211c80319c"
	sampled   = "00-" + testTrace + "-b7ad6b7169203331-01"
	unsampled = "00-" + testTrace + "-b7ad6b7169203331-00"
)

// inTracedWorld is a world whose gateway makes spans; of the traces that begin here it
// samples the given share.
func inTracedWorld(t *testing.T, ratio float64, f func(*world, *tracetest.SpanRecorder)) {
	t.Helper()
	inTracedWorldWith(t, ratio, func(c *Config) { c.TraceClients = true }, f)
}

func inTracedWorldWith(t *testing.T, ratio float64, configure func(*Config), f func(*world, *tracetest.SpanRecorder)) {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(spans), sdk.WithSampler(export.Sampler(ratio)))
	inWorldWith(t, provider, configure, func(_ *testing.T, w *world) { f(w, spans) })
}

func named(spans *tracetest.SpanRecorder, name string) (found []sdk.ReadOnlySpan) {
	for _, s := range spans.Ended() {
		if s.Name() == name {
			found = append(found, s)
		}
	}
	return found
}

func (w *world) post(body string, h http.Header) answer {
	w.t.Helper()
	if h == nil {
		h = http.Header{}
	}
	h.Set("Content-Type", "application/json")
	return w.http("POST", "/v1/jobs", h, strings.NewReader(body))
}

// TestASubmitIsASpan: of the client's trace, over a socket and over HTTP; what it writes are
// its children, and the records name them.
func TestASubmitIsASpan(t *testing.T) {
	inTracedWorld(t, 0, func(w *world, spans *tracetest.SpanRecorder) {
		c := w.dial("")
		c.send(`{"type":"submit","id":"1","job":"demo.echo","payload":1,"watch":false,"traceparent":"` + sampled +
			`","tracestate":"vendor=1"}`)
		c.want("an ack", frame.Ack)
		if a := w.post(`{"job":"demo.echo","payload":1}`, http.Header{"Traceparent": {sampled},
			"Tracestate": {"vendor=1"}}); a.status != http.StatusAccepted {
			t.Fatal(a)
		}
		w.eventually("both are spans", func() bool { return len(named(spans, "submit")) == 2 })
		for _, s := range named(spans, "submit") {
			attrs := attribute.NewSet(s.Attributes()...)
			id, _ := attrs.Value(tracing.JobID)
			if s.SpanKind() != trace.SpanKindServer || s.Parent().SpanID() != tracing.Parse(sampled, "").SpanID() ||
				s.SpanContext().TraceID().String() != testTrace ||
				s.SpanContext().TraceState().String() != "vendor=1" || !isJobID(id.AsString()) {
				t.Errorf("submit: %+v, parent %+v, %v", s.SpanContext(), s.Parent(), s.Attributes())
			}
		}
		for _, topic := range []string{w.names.Requests("default"), w.names.Status()} {
			wrote := map[trace.SpanID]bool{}
			for _, s := range named(spans, topic+" publish") {
				wrote[s.SpanContext().SpanID()] = true
			}
			records := w.produced(topic)
			for _, rec := range records {
				if sc := tracing.FromRecord(rec); !wrote[sc.SpanID()] || sc.TraceState().String() != "vendor=1" {
					t.Errorf("a record of %s carries %+v", topic, sc)
				}
			}
			if len(wrote) != 2 || len(records) != 2 {
				t.Errorf("%s: %d records, %d spans", topic, len(records), len(wrote))
			}
		}
	})
}

// TestSampling: a trace that comes in is sampled as it says; the ratio decides on the others,
// and the worker is told what was decided. The history of a job tells of its client's trace, sampled or not.
func TestSampling(t *testing.T) {
	for _, c := range []struct {
		what    string
		ratio   float64
		parent  string
		spans   int
		request bool // the request carries a trace
		status  bool // so does accepted
		sampled bool
	}{
		{"sampled by the client", 0, sampled, 1, true, true, true},
		{"not sampled by the client", 1, unsampled, 0, true, true, false},
		{"begun here and sampled", 1, "", 1, true, true, true},
		{"begun here and not sampled", 0, "", 0, true, false, false},
		{"a broken one is none", 1, "nonsense", 1, true, true, true},
	} {
		inTracedWorld(t, c.ratio, func(w *world, spans *tracetest.SpanRecorder) {
			if a := w.post(`{"job":"demo.echo","payload":1}`,
				http.Header{"Traceparent": {c.parent}}); a.status != http.StatusAccepted {
				t.Fatal(a)
			}
			carried := func(records []*kgo.Record) trace.SpanContext {
				if len(records) != 1 {
					t.Fatalf("%d records", len(records))
				}
				return tracing.FromRecord(records[0])
			}
			request, accepted := carried(w.produced(w.names.Requests("default"))), carried(w.produced(w.names.Status()))
			if request.IsValid() != c.request || request.IsSampled() != c.sampled || accepted.IsValid() != c.status ||
				accepted.IsSampled() != c.sampled ||
				len(named(spans, "submit")) != c.spans {
				t.Errorf("%s: request %+v, accepted %+v, %d spans", c.what, request, accepted, len(spans.Ended()))
			}
			if strings.Contains(c.parent, testTrace) && request.TraceID().String() != testTrace {
				t.Errorf("%s: the request is of trace %s", c.what, request.TraceID())
			}
		})
	}
}

// TestClientsDoNotForceSampling: their trace goes on, and the ratio decides whether it is sampled.
func TestClientsDoNotForceSampling(t *testing.T) {
	for _, c := range []struct {
		parent  string
		ratio   float64
		sampled bool
	}{{sampled, 0, false}, {unsampled, 1, true}, {sampled, 1,
		true}, {"00-0af7651916cd43dd0000000000000000-b7ad6b7169203331-01", 1e-9, false}} {
		inTracedWorldWith(t, c.ratio, nil, func(w *world, spans *tracetest.SpanRecorder) {
			if a := w.post(`{"job":"demo.echo","payload":1}`,
				http.Header{"Traceparent": {c.parent}}); a.status != http.StatusAccepted {
				t.Fatal(a)
			}
			request, accepted := tracing.FromRecord(w.produced(w.names.Requests("default"))[0]),
				tracing.FromRecord(w.produced(w.names.Status())[0])
			if request.TraceID() != tracing.Parse(c.parent, "").TraceID() || request.IsSampled() != c.sampled ||
				accepted.TraceID() != request.TraceID() || accepted.IsSampled() != c.sampled ||
				(len(spans.Ended()) > 0) != c.sampled {
				t.Errorf("%s at %v: request %+v, accepted %+v, %d spans", c.parent, c.ratio, request, accepted, len(spans.Ended()))
			}
		})
	}
	inWorld(t, nil, func(t *testing.T, w *world) { // where no spans are made
		w.post(`{"job":"demo.echo","payload":1}`, http.Header{"Traceparent": {sampled}})
		if sc := tracing.FromRecord(w.produced(w.names.Requests("default"))[0]); sc.TraceID().String() != testTrace ||
			sc.IsSampled() {
			t.Errorf("the request carries %+v", sc)
		}
	})
}

// TestASubmitsFailure: what is the client's fault is none of the span's.
func TestASubmitsFailure(t *testing.T) {
	inTracedWorld(t, 1, func(w *world, spans *tracetest.SpanRecorder) {
		w.post(`{"job":"no.such","payload":1}`, nil)
		w.net.Host("broker").Cut()
		w.post(`{"job":"demo.echo","payload":1}`, nil)
		w.net.Host("broker").Heal()
		got := named(spans, "submit")
		if len(got) != 2 || got[0].Status().Code != codes.Unset || got[1].Status().Code != codes.Error {
			t.Fatalf("%d spans: %v", len(got), got)
		}
		for i, want := range []string{"unknown_job_type", "indeterminate"} {
			attrs := attribute.NewSet(got[i].Attributes()...)
			if v, _ := attrs.Value(tracing.Code); v.AsString() != want {
				t.Errorf("%v, want %s", got[i].Attributes(), want)
			}
			if attrs.HasValue(tracing.JobType) != (i == 1) {
				t.Errorf("the name of a job type that does not exist is the client's: %v", got[i].Attributes())
			}
		}
	})
}

func isJobID(text string) bool {
	id, ok := job.ParseID(text)
	return ok && id == text
}
