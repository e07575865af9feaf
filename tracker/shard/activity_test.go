package shard

import (
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	minutes "github.com/ackwire/ackwire/tracker/activity"
)

// TestActivity: each job is counted when it is made and when it ends, and not again when an event of it comes twice. A
// shard that goes on from its store says since when it knows.
func TestActivity(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.pass(time.Hour)
		began := time.Now()
		sum := func(what minutes.What) (n uint32) {
			t.Helper()
			a, err := w.shard.Activity(t.Context(), tenant, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if r := a.Lanes["default"]; r != nil {
				for _, m := range r {
					n += m[what]
				}
			}
			return n
		}
		ids := jobIDs(3)
		for _, id := range ids {
			w.submit(id)
		}
		w.claim(ids[0], "r1")
		w.append(ids[0], event.Completed)
		w.append(ids[0], event.Completed)
		w.claim(ids[1], "r1")
		w.append(ids[1], event.Failed, func(e *event.Event) { e.Error.Retryable = false })
		w.append(ids[2], event.CancelRequested)
		w.wantState("after its cancel", ids[2], job.Cancelled)
		for what, want := range []uint32{3, 1, 1, 1} {
			if n := sum(minutes.What(what)); n != want {
				t.Errorf("%d: %d, want %d", what, n, want)
			}
		}
		if a, err := w.shard.Activity(t.Context(), "other", time.Now()); err != nil || len(a.Lanes) != 0 {
			t.Errorf("of another tenant: %+v, %v", a, err)
		}
		if a, err := w.shard.Activity(t.Context(), tenant, time.Now()); err != nil || a.Since.After(began) {
			t.Errorf("since %v, %v", a.Since, err)
		}
		w.pass(time.Minute)
		if err := w.halt(); err != nil {
			t.Fatal(err)
		}
		again := time.Now()
		w.start()
		w.pass(time.Second)
		if a, err := w.shard.Activity(t.Context(), tenant, time.Now()); err != nil || a.Since.Before(again) {
			t.Errorf("after a restart: since %v, before %v, %v", a.Since, again, err)
		}
	})
}
