package sim

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/command/export"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/schemas/job"
)

// collector is where the spans of all processes go.
type collector struct {
	t     *testing.T
	spans *tracetest.InMemoryExporter
}

// provider is one process's. Of traces that begin here none is sampled.
func (c *collector) provider(host string) trace.TracerProvider {
	return sdk.NewTracerProvider(sdk.WithSyncer(c.spans), sdk.WithSampler(export.Sampler(0)),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", host))))
}

// joined returns, for each span of a trace, the way to it from the trace's root, as
// "host name" steps. A span that no way leads to fails the test.
func (c *collector) joined(id trace.TraceID, root trace.SpanID) []string {
	c.t.Helper()
	all := map[trace.SpanID]tracetest.SpanStub{}
	for _, s := range c.spans.GetSpans() {
		if s.SpanContext.TraceID() == id {
			all[s.SpanContext.SpanID()] = s
		}
	}
	var ways []string
	for _, s := range all {
		var steps []string
		for at, ok := s, true; ok; at, ok = all[at.Parent.SpanID()] {
			host := "?"
			for _, a := range at.Resource.Attributes() {
				host = a.Value.AsString()
			}
			steps = append(steps, host+" "+at.Name)
			if parent := at.Parent.SpanID(); parent != root && all[parent].Name == "" {
				c.t.Errorf("%s hangs in the air", strings.Join(steps, " < "))
			}
		}
		slices.Reverse(steps)
		ways = append(ways, strings.Join(steps, " > "))
	}
	slices.Sort(ways)
	return ways
}

// traced runs a test whose handlers have a span of their own.
func traced(t *testing.T, test func(*World, *collector)) {
	t.Helper()
	c := &collector{t: t, spans: tracetest.NewInMemoryExporter()}
	RunTraced(t, c.provider, func(w *World) {
		w.StartWorker(func(p *processor.Processor) {
			demo.Register(p)
			p.Use(func(next processor.RawHandler) processor.RawHandler {
				return func(ctx context.Context, j *processor.Job, payload []byte) (json.RawMessage, error) {
					ctx, span := trace.SpanFromContext(ctx).TracerProvider().Tracer("the handler's").Start(ctx, "render")
					defer span.End()
					time.Sleep(time.Second) // or statuses would be conflated
					return next(ctx, j, payload)
				}
			})
		})
		test(w, c)
	})
}

// The steps that every job's trace has.
const (
	requested = "gateway submit > gateway ackwire.requests.default publish"
	claim     = requested + " > worker-1 claim"
	run       = claim + " > worker-1 run"
	reported  = " > worker-1 ackwire.status publish > tracker fold"
)

func wantWays(t *testing.T, got []string, want ...string) {
	t.Helper()
	for _, way := range want {
		if !slices.Contains(got, way) {
			t.Errorf("the trace has no %s; it has\n%s", way, strings.Join(got, "\n"))
		}
	}
}

// TestOneTraceOverAllServices: from a client's span over a socket to the handler's own spans
// and back to the push, whatever there is between them.
func TestOneTraceOverAllServices(t *testing.T) {
	traced(t, func(w *World, c *collector) {
		client := sdk.NewTracerProvider(sdk.WithSyncer(tracetest.NewInMemoryExporter())).Tracer("client")
		ctx, span := client.Start(w.ctx(), "order something")
		conn := w.Dial()
		j, err := conn.Submit(ctx, "demo.echo", 1, ackwire.NoKey())
		if err != nil {
			t.Fatal(err)
		}
		w.WantEnd("traced", conn, j.ID, job.Completed, 1)
		time.Sleep(time.Second)
		got := c.joined(span.SpanContext().TraceID(), span.SpanContext().SpanID())
		wantWays(t, got,
			"gateway submit", requested, claim, run, run+" > worker-1 render",
			"gateway submit > gateway ackwire.status publish > tracker fold",
			claim+reported, // its push may be conflated with the one before
			run+reported, run+reported+" > gateway push")
	})
}

// TestATraceOverHTTP: the answer that a client waits for is the push span; a trace that is not sampled
// has no spans, but its jobs run.
func TestATraceOverHTTP(t *testing.T) {
	traced(t, func(w *World, c *collector) {
		for parent, sampled := range map[string]bool{
			"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01": true,
			"00-0af7651916cd43dd8448eb211c803190-b7ad6b7169203331-00": false,
		} {
			status, _, body := w.HTTP("POST", "/v1/jobs", http.Header{"Content-Type": {"application/json"},
				"Prefer": {"wait=10"}, "Traceparent": {parent}}, []byte(`{"job":"demo.echo","payload":1}`))
			if status != http.StatusOK {
				t.Fatalf("%d %s", status, body)
			}
			time.Sleep(time.Second)
			sc := tracing.Parse(parent, "")
			got := c.joined(sc.TraceID(), sc.SpanID())
			if !sampled {
				if len(got) > 0 {
					t.Errorf("not sampled, and yet: %v", got)
				}
				continue
			}
			wantWays(t, got, run+" > worker-1 render", run+reported+" > gateway push")
		}
		if n := len(c.spans.GetSpans()); n == 0 {
			t.Error("nothing was collected")
		}
	})
}

// TestAttemptsAreOfOneTrace: what makes the next attempt due leads to it, also across a
// tracker that does not remember.
func TestAttemptsAreOfOneTrace(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	next := " > tracker hand out > tracker ackwire.requests.default publish > worker-1 claim > worker-1 run"
	submit := func(w *World, payload string) string {
		_, _, body := w.HTTP("POST", "/v1/jobs", http.Header{"Content-Type": {"application/json"}, "Traceparent": {parent}},
			[]byte(payload))
		var ack struct{ JobID string }
		if err := json.Unmarshal(body, &ack); err != nil || ack.JobID == "" {
			t.Fatalf("%s: %v", body, err)
		}
		return ack.JobID
	}
	sc := tracing.Parse(parent, "")
	t.Run("remembered", func(t *testing.T) {
		traced(t, func(w *World, c *collector) {
			w.WantEnd("flaky", w.Dial(), submit(w, `{"job":"demo.flaky","payload":{"failures":2}}`), job.Completed, 3)
			time.Sleep(time.Second)
			wantWays(t, c.joined(sc.TraceID(), sc.SpanID()), run+reported+next, run+reported+next+reported+next)
		})
	})
	t.Run("forgotten", func(t *testing.T) {
		traced(t, func(w *World, c *collector) {
			id := submit(w, `{"job":"demo.echo","payload":1,"runAt":"`+time.Now().Add(2*time.Minute).UTC().Format(time.RFC3339)+
				`"}`)
			time.Sleep(10 * time.Second)
			w.Stop(w.tracker)
			w.StartTracker()
			w.WantEnd("later", w.Dial(), id, job.Completed, 1)
			time.Sleep(time.Second)
			wantWays(t, c.joined(sc.TraceID(), sc.SpanID()), "gateway submit > gateway ackwire.deferred publish"+next+
				" > worker-1 render")
		})
	})
}
