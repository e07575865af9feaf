package shard

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/store"
)

func TestReadyOnlyAfterCatchingUp(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := jobIDs(1)[0]
		w.submit(id)
		w.append(id, event.Claimed)
		w.set(func() { w.paused = true })
		w.start()
		defer w.end()
		synctest.Wait()
		if w.shard.Ready() == nil {
			t.Fatal("ready before it has folded what the log holds")
		}
		if _, err := w.get(Query{JobID: id, Scope: Scope{Tenant: tenant}}); !errors.Is(err, ErrNotReady) {
			t.Fatalf("got %v: half a view must never be shown", err)
		}
		if _, err := w.shard.Reserve(t.Context(), id, Scope{Tenant: tenant}, "h"); !errors.Is(err, ErrNotReady) {
			t.Fatalf("reserve: %v", err)
		}
		w.set(func() { w.paused = false })
		synctest.Wait()
		if w.shard.Ready() != nil {
			t.Fatal("not ready though it has caught up")
		}
		w.wantState("the last event counts", id, job.Processing)
		w.wantMetric("one shard is ready", w.metrics.readyShards, 1)
		w.wantMetric("one job is active", w.metrics.active, 1)
	})
}

func TestReadyOnceTheEndIsKnown(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.endErr = errors.New("no leader")
		w.start()
		defer w.end()
		w.pass(time.Minute)
		if w.shard.Ready() == nil {
			t.Fatal("ready without having learnt where the log ends")
		}
		w.set(func() { w.endErr = nil })
		w.pass(2 * time.Second)
		if w.shard.Ready() != nil {
			t.Fatal("not ready")
		}
	})
}

func TestGrantsAreSaidAfterCatchUp(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ids := jobIDs(4)
		for _, id := range ids[:3] {
			w.append(id, event.Claimed, run("r-"+id))
		}
		w.append(ids[0], event.Claimed, run("r-"+ids[0])) // it waits, and says it again
		w.append(ids[1], event.Completed, run("r-"+ids[1]))
		w.append(ids[2], event.Released, run("r-"+ids[2]))
		w.append(ids[3], event.Claimed, run("one"))
		w.append(ids[3], event.Claimed, run("two")) // refused: it is told when it speaks again
		w.set(func() { w.paused = true })
		w.start()
		defer w.end()
		synctest.Wait()
		w.wantOrders("a shard that is catching up says nothing")
		w.set(func() { w.paused = false })
		synctest.Wait()
		got := w.orders()
		if len(got) != 2 || got[0] == got[1] {
			t.Fatalf("orders %v, want one grant for each run that still holds", got)
		}
		for _, o := range got {
			if o != "granted r-"+ids[0] && o != "granted one" {
				t.Fatalf("orders %v", got)
			}
		}
		w.append(ids[3], event.Beat, run("two"))
		if got := w.orders(); got[len(got)-1] != "stop two" {
			t.Fatalf("orders %v, want a stop once the refused run speaks", got)
		}
	})
}

// When retention has removed all that was to be read, no record comes that moves the
// position: without being told the shard would never be ready.
func TestAdvance(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := jobIDs(1)[0]
		for range 5 {
			w.append(id, event.Beat)
		}
		w.paused = true
		w.start()
		defer w.end()
		synctest.Wait()
		w.shard.Advance(t.Context(), 3)
		synctest.Wait()
		if w.shard.Ready() == nil || w.shard.Position() != 3 {
			t.Fatalf("position %d, ready %v", w.shard.Position(), w.shard.Ready())
		}
		w.shard.Advance(t.Context(), 5)
		w.shard.Advance(t.Context(), 1)
		synctest.Wait()
		if w.shard.Ready() != nil || w.shard.Position() != 5 {
			t.Fatalf("position %d, ready %v", w.shard.Position(), w.shard.Ready())
		}
	})
}

// A log that lost its tail gives the lost offsets to other records: a shard that skipped
// them as known would lose acked jobs in silence.
func TestStoreAheadOfTheLog(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		synctest.Wait()
		ids := jobIDs(2)
		w.submit(ids[0])
		w.submit(ids[0])
		w.end()
		w.logs[names.Status()] = nil
		w.start()
		synctest.Wait()
		if err := w.halt(); !errors.Is(err, errAhead) {
			t.Fatalf("got %v, want the shard to refuse", err)
		}
	})
}

// TestAChangeThatTheDiskDoesNotTake: a checkpoint that does not return makes the shard not ready.
func TestAChangeThatTheDiskDoesNotTake(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var s Shard
		s.catching.ready.Store(true)
		s.saving.unwritten.changed(time.Now())
		s.saving.unwritten.writing()
		time.Sleep(checkpointSilence)
		if err := s.Ready(); err != nil {
			t.Errorf("within the bound: %v", err)
		}
		time.Sleep(time.Second)
		if s.Ready() == nil {
			t.Error("ready though a change has waited for its checkpoint for longer than the bound")
		}
		s.saving.unwritten.written()
		if err := s.Ready(); err != nil {
			t.Errorf("once it is written: %v", err)
		}
	})
}

// failingView is a view that takes nothing until it is mended.
type failingView struct{ mended atomic.Bool }

func (v *failingView) Write(context.Context, []string, func(string) (*store.Row, error), store.Totals) error {
	if v.mended.Load() {
		return nil
	}
	return errors.New("the broker takes no record of that size")
}

// A view that stands still is no secret: its tracker is not ready and says why, and goes on.
func TestAViewThatStandsStill(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w, view := newWorld(t), &failingView{}
		w.view = view
		w.start()
		defer w.end()
		w.submit(jobIDs(1)[0])
		w.pass(local.View / 2)
		if err := w.shard.Ready(); err != nil {
			t.Errorf("after a short while: %v", err)
		}
		w.pass(local.View)
		if err := w.shard.Ready(); err == nil || !strings.Contains(err.Error(), "view has not been written for") {
			t.Errorf("after %s: %v", w.shard.ViewBehind(), err)
		}
		if behind := w.shard.ViewBehind(); behind < local.View || behind > 2*local.View {
			t.Errorf("it is behind by %s", behind)
		}
		w.wantState("jobs go on", jobIDs(1)[0], job.Pending)
		view.mended.Store(true)
		w.pass(5 * time.Second)
		if err := w.shard.Ready(); err != nil || w.shard.ViewBehind() != 0 {
			t.Errorf("when it is mended: %v, %s", err, w.shard.ViewBehind())
		}
	})
}
