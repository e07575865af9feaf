package shard

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// reserving is a Reserve whose answer is looked at later.
type reserving struct {
	answered atomic.Bool // the fields below are set
	r        Reserved
	err      error
	took     time.Duration
}

// reserve lets holders h0 … reserve a key at once; the answers are complete once the
// returned function returns.
func (w *world) reserve(id string, from, to int) (answers []*reserving, wait func()) {
	var wg sync.WaitGroup
	for i := from; i < to; i++ {
		a := &reserving{}
		answers = append(answers, a)
		wg.Go(func() {
			began := time.Now()
			a.r, a.err = w.shard.Reserve(w.t.Context(), id, Scope{Tenant: tenant}, fmt.Sprintf("h%d", i))
			a.took = time.Since(began)
			a.answered.Store(true)
		})
	}
	synctest.Wait()
	return answers, wg.Wait
}

// holders returns how many of the answers so far say that the key is held, and the last of these.
func holders(answers []*reserving) (n int, holder int) {
	for i, a := range answers {
		if a.answered.Load() && a.r.Held {
			n, holder = n+1, i
		}
	}
	return n, holder
}

func TestHundredReserveAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		answers, wait := w.reserve(id, 0, 100)
		if n, _ := holders(answers); n != 1 {
			t.Fatalf("%d hold the key", n)
		}
		w.pass(time.Second)
		w.submit(id)
		wait()
		n, _ := holders(answers)
		for i, a := range answers {
			switch {
			case a.err != nil:
				t.Fatalf("h%d: %v", i, a.err)
			case a.r.Held && a.took != 0:
				t.Fatalf("the holder waited %s", a.took)
			case !a.r.Held && (a.took != time.Second || a.r.Job.Job.GetJobId() != id || a.r.Job.PayloadHash != "sha256:1"):
				t.Fatalf("h%d was told %+v after %s", i, a.r, a.took)
			}
		}
		if n != 1 {
			t.Fatalf("%d held the key", n)
		}
		late, err := w.shard.Reserve(t.Context(), id, Scope{Tenant: tenant}, "late")
		if err != nil || late.Held || late.Job.Job.GetJobId() != id {
			t.Fatalf("who comes later: %+v, %v", late, err)
		}
		w.inside(func(s *Shard) {
			if len(s.questions.keys.held) != 0 || s.questions.keys.waits != 0 {
				t.Errorf("%d reservations and %d waiters are left", len(s.questions.keys.held),
					s.questions.keys.waits)
			}
		})
	})
}

func TestReservationRunsOut(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		first, _ := w.reserve(id, 0, 1) // and is never heard of again
		if !first[0].r.Held {
			t.Fatal("the key was free")
		}
		others, wait := w.reserve(id, 1, 6)
		w.pass(reservationTTL + time.Second)
		n, next := holders(others)
		if n != 1 {
			t.Fatalf("%d hold the key after it ran out", n)
		}
		if d := others[next].took; d < reservationTTL || d > reservationTTL+checkpointInterval {
			t.Fatalf("it was handed on after %s", d)
		}
		w.submit(id)
		wait()
		if n, _ := holders(others); n != 1 {
			t.Fatalf("%d hold the key", n)
		}
	})
}

// TestReservationLastsAsLongAsItsSubmit: the deadline of the request is the submit's, as --submit-timeout has it.
// Nobody else makes a request while the submit may still write one.
func TestReservationLastsAsLongAsItsSubmit(t *testing.T) {
	for _, submit := range []time.Duration{2 * time.Second, 5 * time.Second, 15 * time.Second, time.Hour} {
		inBubble(t, func(t *testing.T, w *world) {
			ctx, cancel := context.WithTimeout(t.Context(), submit)
			defer cancel()
			id := jobIDs(1)[0]
			if r, err := w.shard.Reserve(ctx, id, Scope{Tenant: tenant}, "slow"); err != nil || !r.Held {
				t.Fatalf("%+v, %v", r, err)
			}
			others, wait := w.reserve(id, 1, 2)
			w.pass(min(submit, job.MaxSubmit))
			if n, _ := holders(others); n != 0 {
				t.Errorf("another submit has the key while one of %s may still write", submit)
			}
			w.pass(reservationSlack + 2*choreInterval)
			if n, _ := holders(others); n != 1 {
				t.Errorf("the key of a submit of %s is held for ever", submit)
			}
			w.submit(id)
			wait()
		})
	}
}

func TestHolderMaySayItAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		for range 3 {
			r, err := w.shard.Reserve(t.Context(), id, Scope{Tenant: tenant}, "h")
			if err != nil || !r.Held {
				t.Fatalf("%+v, %v", r, err)
			}
			w.pass(reservationTTL - time.Second) // each time renews it
		}
		others, wait := w.reserve(id, 0, 1)
		if others[0].r.Held {
			t.Fatal("two holders")
		}
		w.submit(id)
		wait()
	})
}

func TestReserveOfAnotherTenantsJobTellsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		r, err := w.shard.Reserve(t.Context(), id, Scope{Tenant: "umbrella"}, "h")
		if err != nil || !r.Held || r.Job.Job != nil || r.Job.PayloadHash != "" {
			t.Fatalf("%+v, %v: want the answer for a job that does not exist", r, err)
		}
	})
}

// TestUnreserveLetsTheNextInAtOnce: a submit that came to nothing says so.
func TestUnreserveLetsTheNextInAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		first, _ := w.reserve(id, 0, 1)
		if !first[0].r.Held {
			t.Fatal("the key was free")
		}
		others, wait := w.reserve(id, 1, 3)
		if err := w.shard.Unreserve(t.Context(), id, "somebody else"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n, _ := holders(others); n != 0 {
			t.Fatal("a stranger gave the key away")
		}
		if err := w.shard.Unreserve(t.Context(), id, "h0"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n, next := holders(others); n != 1 || others[next].took != 0 {
			t.Fatalf("%d hold the key that was given back", n)
		}
		w.submit(id)
		wait()
		if err := w.shard.Unreserve(t.Context(), id, "h0"); err != nil {
			t.Fatalf("said again: %v", err)
		}
	})
}
