package shard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/store"
)

// newSaving returns the saving of a shard with an empty store, whose checkpoints are written at once.
func newSaving(t *testing.T) *saving {
	s := &saving{}
	s.open(storeOf(t), NewMetrics(meter.New(prometheus.NewRegistry(), "tracker")), quiet, func(f func()) { f() })
	return s
}

func TestSavingWritesWhatChanged(t *testing.T) {
	s := newSaving(t)
	if s.lacks(0) || s.busy() || s.wait() != checkpointInterval {
		t.Fatal("an empty store lacks something")
	}
	e := &entry{id: "a", job: aJob("a", job.Pending)}
	s.changed(e)
	s.changed(e)
	if len(s.dirty) != 1 || !s.lacks(0) {
		t.Fatalf("%d are dirty", len(s.dirty))
	}
	s.checkpoint(5, 0, 0)
	if !s.busy() || e.dirty || !e.flushing || s.flushedTo != 5 {
		t.Errorf("while it is written: busy %v, dirty %v, to %d", s.busy(), e.dirty, s.flushedTo)
	}
	s.changed(e) // again, meanwhile
	saved, err := s.settle(<-s.checkpointed)
	if err != nil || !slices.Equal(saved, []*entry{e}) || e.flushing || e.saved == nil || s.stored != 5 {
		t.Errorf("it is written: %v, %v, at %d", saved, err, s.stored)
	}
	if !e.dirty || !s.lacks(5) {
		t.Error("what changed meanwhile is forgotten")
	}
	s.checkpoint(5, 0, 0)
	if _, err := s.settle(<-s.checkpointed); err != nil || s.lacks(5) || !s.lacks(6) {
		t.Errorf("the store has all, up to 5: %v", err)
	}
	if got, err := s.store.Get("a"); err != nil || got == nil || s.store.Position() != 5 {
		t.Errorf("the store has %v at %d, %v", got, s.store.Position(), err)
	}
}

// TestSavingWithoutRoom: nothing is forgotten, not even what came meanwhile, until the disk has room.
func TestSavingWithoutRoom(t *testing.T) {
	s := newSaving(t)
	both, first, second := &entry{id: "both"}, &entry{id: "first"}, &entry{id: "second"}
	both.over, first.over = []string{"l1"}, []string{"l2"}
	s.changed(both)
	s.changed(first)
	s.checkpoint(2, 0, 0)
	if err := <-s.checkpointed; err != nil {
		t.Fatal(err)
	}
	both.over = []string{"l3"}
	s.changed(both)
	s.changed(second)
	if saved, err := s.settle(store.ErrFull); !errors.Is(err, store.ErrFull) || saved != nil {
		t.Errorf("settled %v, %v", saved, err)
	}
	if !slices.Equal(s.dirty, []*entry{both, second, first}) || first.flushing || s.stored != 0 {
		t.Errorf("%d are dirty, the position is %d", len(s.dirty), s.stored)
	}
	if got := fmt.Sprint(both.over, first.over); got != "[l1 l3] [l2]" {
		t.Errorf("lives that are over: %s", got)
	}
	if !s.full.Load() || s.wait() != fullWait {
		t.Errorf("it waits %s for a full disk", s.wait())
	}
	s.checkpoint(3, 0, 0)
	if _, err := s.settle(<-s.checkpointed); err != nil || s.full.Load() || s.lacks(3) {
		t.Errorf("once there is room: %v", err)
	}
	broken := errors.New("input/output error")
	s.changed(first)
	s.checkpoint(4, 0, 0)
	if err := <-s.checkpointed; err != nil {
		t.Fatal(err)
	}
	if _, err := s.settle(broken); !errors.Is(err, broken) || s.stored != 3 {
		t.Errorf("a broken disk: %v, at %d", err, s.stored)
	}
}

func TestSavingIsHurried(t *testing.T) {
	s := newSaving(t)
	for range maxDirty / 2 {
		s.changed(&entry{})
	}
	if s.wait() != 0 || s.crowded() {
		t.Errorf("half full: it waits %s", s.wait())
	}
	s.flushing, s.dirty = s.dirty, nil
	for range maxDirty / 2 {
		s.changed(&entry{})
	}
	if !s.crowded() {
		t.Error("more than memory should hold is not too much")
	}
}

// shown is a View that writes down what it is given; its outcome is err.
type shown struct {
	err  error
	said []string
}

func (v *shown) Write(_ context.Context, ids []string, row func(string) (*store.Row, error), at store.Totals) error {
	slices.Sort(ids)
	for _, id := range ids {
		r, err := row(id)
		if err != nil {
			return err
		}
		v.said = append(v.said, fmt.Sprintf("%s %v", id, r != nil))
	}
	v.said = append(v.said, fmt.Sprintf("at %d", at.Next))
	return v.err
}

func (v *shown) want(t *testing.T, why string, said ...string) {
	t.Helper()
	if !slices.Equal(v.said, said) {
		t.Errorf("%s: the view was given %q, want %q", why, v.said, said)
	}
	v.said = nil
}

func newViewing(t *testing.T, to View, stored ...*fold.Job) *viewing {
	v := &viewing{}
	v.open(to, storeOf(t, stored...), NewMetrics(meter.New(prometheus.NewRegistry(), "tracker")), quiet,
		func(f func()) { f() }, time.Minute)
	return v
}

func TestViewingWritesWhatTheViewLacks(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		to := &shown{}
		v := newViewing(t, to, aJob("a", job.Pending), aJob("b", job.Pending))
		write := func(stored int64, busy bool) {
			t.Helper()
			if v.write(t.Context(), stored, busy); v.written != nil {
				if err := v.settle(<-v.written); err != nil {
					t.Fatal(err)
				}
			}
		}
		write(2, true)
		to.want(t, "a checkpoint is being written")
		if !v.wanted {
			t.Error("the transaction that waits is forgotten")
		}
		write(2, false)
		to.want(t, "at first all is looked for", "a true", "b true", "at 2")
		if !v.ahead() || v.lacks(2) {
			t.Error("the store knows already how far the view is")
		}
		v.saved()
		write(2, false)
		to.want(t, "it has all")
		v.note("b")
		v.note("gone")
		write(2, false)
		to.want(t, "what changed", "b true", "gone false", "at 2")
		write(3, false)
		to.want(t, "a position alone waits")
		time.Sleep(viewIdle)
		write(3, false)
		to.want(t, "but not for ever", "at 2")
	})
}

func TestViewingThatFails(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		to := &shown{}
		v := newViewing(t, to)
		attempt := func(outcome error) error {
			t.Helper()
			to.err = outcome
			v.transact(t.Context())
			return v.settle(<-v.written)
		}
		if err := attempt(errors.New("no broker")); err != nil || !v.all {
			t.Errorf("the first transaction, of all, failed: %v, all is to be written: %v", err, v.all)
		}
		if err := attempt(nil); err != nil || v.all {
			t.Fatalf("all is written: %v, %v", err, v.all)
		}
		v.note("a")
		if err := attempt(errors.New("no broker")); err != nil || !v.lacks(0) || v.err() != nil {
			t.Errorf("a try that failed: %v, %v", err, v.err())
		}
		time.Sleep(time.Minute)
		if v.err() == nil || v.behind() != time.Minute {
			t.Errorf("after a minute: %v, behind by %s", v.err(), v.behind())
		}
		if err := attempt(context.Canceled); err != nil || len(v.unviewed) != 1 {
			t.Errorf("a shard that ends: %v, %d wait", err, len(v.unviewed))
		}
		if err := attempt(nil); err != nil || v.err() != nil || v.behind() != 0 || v.lacks(0) {
			t.Errorf("when it is mended: %v, %v", err, v.err())
		}
		if err := attempt(fmt.Errorf("%w: by a test", ErrFenced)); !errors.Is(err, ErrFenced) {
			t.Errorf("another tracker has it: %v", err)
		}
		for i := range maxUnviewed + 1 {
			v.note(fmt.Sprint(i))
		}
		if !v.all || v.unviewed != nil {
			t.Errorf("%d IDs are remembered", len(v.unviewed))
		}
	})
}
