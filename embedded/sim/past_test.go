package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestAJobsPastAfterFaults: its worker hangs, its tracker crashes, another worker and another tracker take over, and
// the former worker's late word is refused. The history tells it all, in order and in pages, and the payload is there.
func TestAJobsPastAfterFaults(t *testing.T) {
	Run(t, func(w *World) {
		var first, second Counter
		zombie := w.StartWorker(echoes(&first, 45*time.Second))
		c := w.Dial()
		j := w.Submit(c, "demo.echo", `{"n" : 1e2}`)
		w.eventually("the job runs", func() bool { return first.Load() == 1 })
		zombie.Host.Hang()
		w.CrashTracker()
		w.StartTracker()
		w.StartWorker(echoes(&second, time.Second))
		w.WantEnd("the other worker takes it over", c, j.ID, job.Completed, 2)
		w.Stop(w.tracker)
		w.StartAnotherTracker()
		zombie.Host.Heal()
		w.Event(&event.Event{Type: event.Completed, JobID: j.ID, Dispatch: 1, Run: "zombie", Worker: "worker-1"})
		time.Sleep(2 * time.Minute)

		whole := w.past(c.Job(j.ID), 0)
		if paged := w.past(c.Job(j.ID), 2); strings.Join(paged, "\n") != strings.Join(whole, "\n") {
			t.Errorf("in pages:\n%s\nat once:\n%s", strings.Join(paged, "\n"), strings.Join(whole, "\n"))
		}
		at := 0
		for _, want := range []string{ // a claim may overtake accepted or requeued
			"worker claimed processing", "tracker leaseExpired retrying", "worker claimed processing",
			"worker completed completed", "worker completed completed ended",
		} {
			for at < len(whole) && whole[at] != want {
				at++
			}
			if at == len(whole) {
				t.Fatalf("%q is missing, or not in its place, in\n%s", want, strings.Join(whole, "\n"))
			}
			at++
		}
		payload, err := c.Job(j.ID).Payload(w.ctx())
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(payload)
		_ = payload.Close()
		if err != nil || string(b) != `{"n" : 1e2}` {
			t.Errorf("payload %s, %v", b, err)
		}
	})
}

// past returns a job's whole history, one line for each event.
func (w *World) past(j *ackwire.Job, limit int) (lines []string) {
	w.T.Helper()
	o := ackwire.HistoryOptions{Limit: limit}
	for {
		page, err := j.History(w.ctx(), o)
		if err != nil {
			w.T.Fatal(err)
		}
		if page.Truncated {
			w.T.Error("the history is said to be truncated")
		}
		for _, e := range page.Events {
			lines = append(lines, strings.TrimRight(fmt.Sprintf("%s %s %s %s", e.By, e.Type, e.State, e.Reason), " "))
		}
		o.Cursor = page.NextCursor
		if o.Cursor == "" {
			return lines
		}
	}
}

// TestAJobsPastHasItsTrace: the ID of the trace that the client has sent, though it is not sampled, is in the history;
// other events, and jobs without a trace, have none.
func TestAJobsPastHasItsTrace(t *testing.T) {
	Run(t, func(w *World) {
		const id = "0af7651916cd43dd8448eb211c80319c"
		var runs Counter
		w.StartWorker(echoes(&runs, 0))
		c := w.Dial()
		parent, err := trace.TraceIDFromHex(id)
		if err != nil {
			t.Fatal(err)
		}
		ctx := trace.ContextWithSpanContext(w.ctx(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: parent,
			SpanID: trace.SpanID{1}}))
		traced, err := c.Submit(ctx, "demo.echo", json.RawMessage(`1`))
		if err != nil {
			t.Fatal(err)
		}
		plain := w.Submit(c, "demo.echo", `2`)
		for _, j := range []*ackwire.Job{traced, plain} {
			w.WantEnd("it is done", c, j.ID, job.Completed, 1)
			page, err := c.Job(j.ID).History(w.ctx(), ackwire.HistoryOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Events {
				want := ""
				if j == traced && e.Type == event.Accepted {
					want = id
				}
				if e.TraceID != want {
					t.Errorf("%s of %s has the trace %q, want %q", e.Type, j.ID, e.TraceID, want)
				}
			}
		}
	})
}
