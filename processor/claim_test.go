package processor

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/schemas/event"
)

func TestNewJobStartsAtOnceAndCompletes(t *testing.T) {
	inWorld(t, func(w *world) {
		wk := w.start(Config{}, func(p *Processor) {
			Handle(p, "sum", func(_ context.Context, j *Job, in []int) (map[string]int, error) {
				sum := 0
				for _, n := range in {
					sum += n
				}
				j.Progress(50, "half way")
				return map[string]int{"sum": sum}, nil
			})
		})
		rec := w.submit(request("a", "sum"), `[1,2,3]`)
		events := w.want("without a tracker", "a", event.Claimed, event.Progress, event.Completed)

		c := events[0]
		if c.Job != "sum" || c.Tenant != "acme" || c.Subject != "alice" || c.Lane != "default" ||
			c.PayloadHash != "sha256:00" || c.Policy.Attempts != 3 || c.Dispatch != 1 || c.Worker != wk.WorkerID() {
			t.Errorf("claimed says %+v", c.Event)
		}
		if !c.NoGrant {
			t.Error("the claim asks for a grant that nobody waits for")
		}
		if want := (event.Position{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset}); *c.Request != want {
			t.Errorf("claimed names request %+v, want %+v", *c.Request, want)
		}
		for _, e := range events {
			if e.Run != c.Run || e.Dispatch != 1 {
				t.Errorf("%s is of run %q, dispatch %d", e.Type, e.Run, e.Dispatch)
			}
		}
		if p := events[1].Progress; p.Percent != 50 || p.Message != "half way" {
			t.Errorf("progress is %+v", p)
		}
		if string(events[2].Result) != `{"sum":6}` {
			t.Errorf("result is %s", events[2].Result)
		}
		if got := w.committed(); got != 1 {
			t.Errorf("committed %d, want 1", got)
		}
		wk.wantFree()
	})
}

// wantClaims checks that a run waits: it repeats its claim every third of the lease and sends no other event.
func (w *world) wantClaims(jobID string) event.Event {
	w.t.Helper()
	time.Sleep(2 * testLease)
	events := w.events(jobID)
	if len(events) < 6 || len(events) > 8 {
		w.t.Fatalf("%d events in two leases, want a claim every third of a lease: %v", len(events), events)
	}
	for i, e := range events {
		if e.Type != event.Claimed || e.Run != events[0].Run || e.NoGrant {
			w.t.Fatalf("event %d is %s of run %s", i, e.Type, e.Run)
		}
		if i > 0 {
			if gap := e.at.Sub(events[i-1].at); gap < testLease/3 || gap > testLease/3+2*pulse {
				w.t.Errorf("%v between claims %d and %d", gap, i-1, i)
			}
		}
	}
	return events[0].Event
}

func TestBacklogWaitsForGrant(t *testing.T) {
	inWorld(t, func(w *world) {
		w.submit(request("a", "echo"), `1`)
		wk := w.start(Config{}, handlers(map[string]RawHandler{"echo": echo}))
		claim := w.wantClaims("a")
		if got := w.committed(); got != 1 {
			t.Errorf("committed %d: a durable claim moves the offset, taken or not", got)
		}
		w.order(claim, event.Granted)
		time.Sleep(moment)
		if e := w.last("a"); e.Type != event.Completed || e.Run != claim.Run {
			t.Errorf("got %+v", e)
		}
		wk.wantFree()
	})
}

func TestLaterDispatchWaitsForGrant(t *testing.T) {
	inWorld(t, func(w *world) {
		w.start(Config{}, handlers(map[string]RawHandler{"echo": echo}))
		req := request("a", "echo")
		req.Dispatch = 2
		w.submit(req, `1`)
		claim := w.wantClaims("a")
		w.order(claim, event.Granted)
		w.last("a")
	})
}

func TestEveryClaimWaitsWhenToldTo(t *testing.T) {
	inWorld(t, func(w *world) {
		w.start(Config{ClaimsAlwaysWait: true}, handlers(map[string]RawHandler{"echo": echo}))
		w.submit(request("a", "echo"), `1`)
		w.want("before the grant", "a", event.Claimed)
		w.answers(grantAll)
		time.Sleep(testLease / 3)
		w.want("after the next claim", "a", event.Claimed, event.Claimed, event.Completed)
	})
}

func TestDispatchMetBeforeWaits(t *testing.T) {
	inWorld(t, func(w *world) {
		wk := w.start(Config{}, handlers(map[string]RawHandler{"echo": echo}))
		w.submit(request("a", "echo"), `1`)
		w.want("the first delivery", "a", event.Claimed, event.Completed)
		w.submit(request("a", "echo"), `1`)
		events := w.want("the second delivery", "a", event.Claimed, event.Completed, event.Claimed)
		if events[2].Run == events[0].Run {
			t.Error("two deliveries have the same run")
		}
		w.order(events[2].Event, event.Stop)
		w.want("the second run was refused", "a", event.Claimed, event.Completed, event.Claimed)
		wk.wantFree()
	})
}

func TestStopEndsWaitingRunSilently(t *testing.T) {
	inWorld(t, func(w *world) {
		w.submit(request("a", "echo"), `1`)
		wk := w.start(Config{}, handlers(map[string]RawHandler{"echo": echo}))
		events := w.want("waiting", "a", event.Claimed)
		w.order(events[0].Event, event.Stop)
		time.Sleep(2 * testLease)
		w.want("stopped", "a", event.Claimed)
		wk.wantFree()
	})
}

func TestStopEndsRunningRunSilently(t *testing.T) {
	inWorld(t, func(w *world) {
		causes := make(chan error, 1)
		wk := w.start(Config{}, handlers(map[string]RawHandler{"block": func(ctx context.Context, j *Job,
			_ []byte) (json.RawMessage, error) {
			<-ctx.Done()
			j.Progress(99, "too late")
			causes <- context.Cause(ctx)
			return json.RawMessage(`1`), nil
		}}))
		w.submit(request("a", "block"), `1`)
		events := w.want("running", "a", event.Claimed)
		w.order(events[0].Event, event.Stop)
		if cause := <-causes; cause != ErrStopped {
			t.Errorf("cause %v", cause)
		}
		time.Sleep(2 * testLease)
		w.want("stopped", "a", event.Claimed)
		wk.wantFree()
	})
}

func TestQuitBeforeTheStart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.submit(request("a", "echo"), `1`)
		wk := w.start(Config{}, handlers(map[string]RawHandler{"echo": echo}))
		events := w.want("waiting", "a", event.Claimed)
		w.order(events[0].Event, event.Quit)
		events = w.want("quit", "a", event.Claimed, event.Failed)
		if f := events[1].Error; f.Code != "cancelled" || f.Retryable {
			t.Errorf("failure %+v", f)
		}
		wk.wantFree()
	})
}

func TestQuitEndsHandler(t *testing.T) {
	inWorld(t, func(w *world) {
		for name, h := range map[string]RawHandler{
			"cause":  block,
			"result": func(ctx context.Context, _ *Job, _ []byte) (json.RawMessage, error) { <-ctx.Done(); return nil, nil },
			"panic":  func(ctx context.Context, _ *Job, _ []byte) (json.RawMessage, error) { <-ctx.Done(); panic("x") },
		} {
			wk := w.start(Config{}, handlers(map[string]RawHandler{name: h}))
			w.submit(request(name, name), `1`)
			events := w.want("running", name, event.Claimed)
			w.order(events[0].Event, event.Quit)
			events = w.want("quit", name, event.Claimed, event.Failed)
			if f := events[1].Error; f.Code != "cancelled" || f.Retryable {
				t.Errorf("%s: failure %+v", name, f)
			}
			wk.wantFree()
			if err := wk.halt(); err != nil {
				t.Error(err)
			}
		}
	})
}

// The broker appends the claim, but its answers leave that open: the run repeats its claim
// until it is known to be durable, and then waits for its grant.
func TestClaimInDoubtIsSaidAgainAndWaits(t *testing.T) {
	inWorld(t, func(w *world) {
		wk := w.start(Config{}, handlers(map[string]RawHandler{"echo": echo}))
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: w.names.Status(),
			Err: kerr.RequestTimedOut, Count: -1})
		w.submit(request("a", "echo"), `1`)
		time.Sleep(6 * time.Second) // one delivery timeout and a new try
		if got := w.committed(); got != 0 {
			t.Errorf("committed %d while the claim is in doubt", got)
		}
		fault.Remove()
		time.Sleep(2 * time.Second)
		events := w.events("a")
		if len(events) < 2 {
			t.Fatalf("said %v", events)
		}
		for _, e := range events {
			if e.Type != event.Claimed || e.Run != events[0].Run {
				t.Fatalf("%s of run %s after run %s", e.Type, e.Run, events[0].Run)
			}
		}
		if got := w.committed(); got != 1 {
			t.Errorf("committed %d once the claim is durable", got)
		}
		w.order(events[0].Event, event.Granted)
		if e := w.last("a"); e.Type != event.Completed {
			t.Errorf("got %+v", e)
		}
		wk.wantFree()
	})
}

func TestStopWhileTheClaimIsInDoubt(t *testing.T) {
	inWorld(t, func(w *world) {
		wk := w.start(Config{}, handlers(map[string]RawHandler{"echo": echo}))
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: w.names.Status(),
			Err: kerr.RequestTimedOut, Count: -1})
		w.answers(func(event.Event) []event.OrderType { return []event.OrderType{event.Stop} })
		w.submit(request("a", "echo"), `1`)
		time.Sleep(moment)
		wk.wantFree()
		if got := w.committed(); got != 1 {
			t.Errorf("committed %d: a stop proves that the claim is in the log", got)
		}
		fault.Remove()
		time.Sleep(2 * testLease)
		for _, e := range w.events("a") {
			if e.Type != event.Claimed {
				t.Errorf("said %s after stop", e.Type)
			}
		}
	})
}

// A grant for a claim whose lease has passed does not start the handler: the tracker may let the lease expire.
func TestLateGrantIsAskedForAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.submit(request("a", "echo"), `1`)
		wk := w.start(Config{}, handlers(map[string]RawHandler{"echo": echo}))
		events := w.want("waiting", "a", event.Claimed)
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: w.names.Status(),
			Err: kerr.NotLeaderForPartition, Count: -1})
		time.Sleep(2 * testLease)
		w.order(events[0].Event, event.Granted)
		time.Sleep(moment)
		w.want("the grant came too late", "a", event.Claimed)
		w.answers(grantAll)
		fault.Remove()
		time.Sleep(testLease)
		if e := w.last("a"); e.Type != event.Completed {
			t.Errorf("got %+v", e)
		}
		wk.wantFree()
	})
}

func TestOrdersForOthersAndJunkChangeNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		wk := w.start(Config{}, handlers(map[string]RawHandler{"block": block}))
		w.submit(request("a", "block"), `1`)
		e := w.want("running", "a", event.Claimed)[0].Event
		other, run, job := e, e, e
		other.Worker, run.Run, job.JobID = "other", "other", "other"
		for _, wrong := range []event.Event{other, run, job} {
			w.orderTo(e.Worker, wrong, event.Stop)
		}
		w.junkOrder(e.Worker)
		w.want("still running", "a", event.Claimed)
		if got := counter(t, wk.metrics.orders.WithLabelValues(orderUndecodable)); got != 1 {
			t.Errorf("%v undecodable orders counted", got)
		}
		if got := counter(t, wk.metrics.orders.WithLabelValues(orderUnknownRun)); got != 2 {
			t.Errorf("%v orders for unknown runs counted", got)
		}
		w.order(e, event.Quit)
		w.last("a")
	})
}
