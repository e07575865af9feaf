package shard

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/fold"
)

const (
	sampled   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
)

// traced writes an event that says that it is of a trace.
func (w *world) traced(id, parent string, e *event.Event) {
	w.t.Helper()
	e.JobID = id
	value, err := event.Encode(e)
	if err != nil {
		w.t.Fatal(err)
	}
	w.set(func() {
		w.appendLocked(&kgo.Record{
			Topic: names.Status(), Key: []byte(id), Value: value,
			Headers: []kgo.RecordHeader{{Key: topic.HeaderTraceparent, Value: []byte(parent)}},
		})
	})
	synctest.Wait()
}

func accepted(pos event.Position) *event.Event {
	p := policy()
	return &event.Event{
		Type: event.Accepted, Job: "demo.echo", Tenant: tenant, Lane: "default", PayloadHash: "sha256:1",
		Policy: &p, Request: &pos,
	}
}

// carried is the trace of a record that the shard wrote: the context that it was produced in.
func carried(rec *kgo.Record) string {
	if rec.Context == nil {
		return ""
	}
	parent, _ := tracing.Format(trace.SpanContextFromContext(rec.Context))
	return parent
}

// TestATraceGoesThroughAJob: what its events carry is told to those who watch it, and is what
// the tracker itself writes about it; and it changes no document.
func TestATraceGoesThroughAJob(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(2)
		plain, id := ids[0], ids[1]
		w.submit(plain)
		told := func(id string) string {
			s, err := w.get(Query{JobID: id, Scope: Scope{Tenant: tenant}})
			if err != nil {
				t.Fatal(err)
			}
			return s.Job.Trace.GetTraceparent()
		}
		at := w.request(names.Requests("default"), id)
		w.traced(id, unsampled, accepted(at))
		if a, b := told(plain), told(id); a != "" || b != "" {
			t.Errorf("without a sampled trace %q and %q are told", a, b)
		}
		claim := accepted(at)
		claim.Type = event.Claimed
		claim.Dispatch = 1
		claim.Run = "r1"
		claim.Worker = "w"
		w.traced(id, sampled, claim)
		if got := told(id); got != sampled {
			t.Errorf("%q is told", got)
		}
		w.append(id, event.Progress)
		if got := told(id); got != "" {
			t.Errorf("%q is told of an event that carried nothing", got)
		}
		w.pass(lease + 10*time.Second)
		w.wantState("its lease is over", id, job.Pending)
		for _, rec := range w.log(names.Status()) {
			e, err := event.Decode(rec.Value)
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			if e.JobID == id && (e.Type == event.LeaseExpired || e.Type == event.Requeued) {
				want = sampled
			}
			if got := carried(rec); got != want {
				t.Errorf("%s of %s carries %q, want %q", e.Type, e.JobID, got, want)
			}
		}
		requests := w.log(names.Requests("default"))
		if last := requests[len(requests)-1]; len(requests) != 3 || carried(last) != sampled {
			t.Errorf("%d requests, the last carries %q", len(requests), carried(last))
		}
	})
}

// TestFoldsAreSpans: of what is news and of nothing else, also of what is refused.
func TestFoldsAreSpans(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tracer = tracing.Tracer(sdk.NewTracerProvider(sdk.WithSpanProcessor(spans)), "tracker")
		w.start()
		synctest.Wait()
		id := jobIDs(1)[0]
		w.traced(id, sampled, accepted(w.request(names.Requests("default"), id)))
		w.append(id, event.Claimed)
		w.traced(id, unsampled, &event.Event{
			Type: event.Progress, Dispatch: 1, Run: "r1", Worker: "w", Progress: &job.Progress{Percent: 1},
		})
		w.traced(id, sampled, &event.Event{Type: event.Completed, Dispatch: 1, Run: "stranger", Worker: "w"})
		w.crash(0, nil)
		synctest.Wait()
		w.end()
	})
	var got []string
	for _, s := range spans.Ended() {
		text := s.Name()
		for _, a := range s.Attributes() {
			if a.Key == tracing.Event || a.Key == tracing.Outcome {
				text += " " + a.Value.AsString()
			}
		}
		if s.Parent().SpanID() != tracing.Parse(sampled, "").SpanID() {
			t.Errorf("%s is a child of %v", text, s.Parent())
		}
		got = append(got, text)
	}
	if len(got) != 2 || got[0] != "fold accepted" || got[1] == "fold completed" {
		t.Errorf("spans %q", got)
	}
}

// TestAWebhookIsOfItsJobsTrace: its request carries what its worker hands on to the endpoint.
func TestAWebhookIsOfItsJobsTrace(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		e := accepted(w.request(names.Requests("default"), id))
		e.CallbackURL = "https://example.com/hook"
		w.traced(id, sampled, e)
		w.append(id, event.Claimed)
		w.traced(id, sampled, &event.Event{Type: event.Completed, Dispatch: 1, Run: "r1", Worker: "w"})
		w.pass(time.Second)
		requests := w.log(names.Requests(topic.WebhookLane))
		if len(requests) != 1 {
			t.Fatalf("%d webhooks", len(requests))
		}
		if got := parse(t, requests[0]).Traceparent; got != sampled {
			t.Errorf("its request carries %q", got)
		}
	})
}

// TestJoiningCostsNothing: a record without headers is not looked at.
func TestJoiningCostsNothing(t *testing.T) {
	s := &Shard{}
	e, rec, ev := &entry{}, &kgo.Record{}, &event.Event{}
	if n := testing.AllocsPerRun(100, func() { s.join(e, rec, ev, fold.Result{}, time.Time{}) }); n > 0 {
		t.Errorf("%.1f allocations", n)
	}
}
