package shard

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

// asking is a question whose answer is looked at later.
type asking struct {
	snap Snapshot
	err  error
	done chan struct{}
	took time.Duration
}

func (w *world) ask(ctx context.Context, q Query) *asking {
	a := &asking{done: make(chan struct{})}
	began := time.Now()
	go func() {
		defer close(a.done)
		a.snap, a.err = w.shard.Get(ctx, q)
		a.took = time.Since(began)
	}()
	synctest.Wait()
	return a
}

func (a *asking) answered() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

func (a *asking) wantWaiting(t *testing.T, why string) {
	t.Helper()
	if a.answered() {
		t.Fatalf("%s: answered with %+v, %v", why, a.snap, a.err)
	}
}

func (a *asking) wantVersion(t *testing.T, why string, version int64) {
	t.Helper()
	synctest.Wait()
	if !a.answered() {
		t.Fatalf("%s: not answered", why)
	}
	if a.err != nil || a.snap.Job.Version != version {
		t.Fatalf("%s: %+v, %v, want version %d", why, a.snap.Job, a.err, version)
	}
}

func (a *asking) wantError(t *testing.T, why string, want error) {
	t.Helper()
	synctest.Wait()
	if !a.answered() {
		t.Fatalf("%s: not answered", why)
	}
	if !errors.Is(a.err, want) {
		t.Fatalf("%s: %v, want %v", why, a.err, want)
	}
}

func TestGet(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		version := w.submit(id)
		snap, err := w.get(Query{JobID: id, Scope: Scope{Tenant: tenant}})
		if err != nil {
			t.Fatal(err)
		}
		want := event.Position{Topic: names.Requests("default")}
		if snap.Job.Version != version || snap.Job.Terminal || snap.Job.JobId != id || snap.Source != want ||
			snap.PayloadHash != "sha256:1" {
			t.Fatalf("got %+v", snap)
		}
		if d := decode(t, snap.Job.Document); d.State != job.Pending || d.JobID != id {
			t.Fatalf("document %+v", d)
		}
	})
}

func TestNotFoundOnlyAfterTheEndWasAsked(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		asked := w.ends
		hold := make(chan struct{})
		w.set(func() { w.endHold, w.paused = hold, true })
		// The job was acked just before the question: it is in the log and not folded yet.
		w.submit(id)
		a := w.ask(t.Context(), Query{JobID: id, Scope: Scope{Tenant: tenant}})
		a.wantWaiting(t, "the shard does not know the log's end")
		if w.ends != asked+1 {
			t.Fatalf("the end was asked %d times", w.ends-asked)
		}
		close(hold)
		synctest.Wait()
		a.wantWaiting(t, "it has not folded up to there")
		w.set(func() { w.paused = false })
		a.wantVersion(t, "now it has", 1)

		b := w.ask(t.Context(), Query{JobID: jobIDs(2)[1], Scope: Scope{Tenant: tenant}})
		b.wantError(t, "there is no such job, and all that was in the log is folded", ErrNotFound)
	})
}

func TestOneQuestionForTheEndServesMany(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(1000)
		asked := w.ends
		hold := make(chan struct{})
		w.set(func() { w.endHold = hold })
		first := w.ask(t.Context(), Query{JobID: ids[0], Scope: Scope{Tenant: tenant}})
		var later []*asking
		for _, id := range ids[1:] {
			later = append(later, w.ask(t.Context(), Query{JobID: id, Scope: Scope{Tenant: tenant}}))
		}
		close(hold)
		first.wantError(t, "", ErrNotFound)
		for _, a := range later {
			a.wantError(t, "", ErrNotFound)
		}
		if w.ends != asked+2 {
			t.Fatalf("the end was asked %d times, want once for the first and once for those who came meanwhile", w.ends-asked)
		}
	})
}

func TestEndCannotBeAsked(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		away := errors.New("Kafka is away")
		w.set(func() { w.endErr = away })
		a := w.ask(t.Context(), Query{JobID: jobIDs(1)[0], Scope: Scope{Tenant: tenant}})
		a.wantError(t, "not found would be a guess", away)
		w.set(func() { w.endErr, w.endHold = nil, make(chan struct{}) })
		b := w.ask(t.Context(), Query{JobID: jobIDs(1)[0], Scope: Scope{Tenant: tenant}})
		w.pass(local.Ask)
		b.wantError(t, "a broker that never answers", context.DeadlineExceeded)
	})
}

func TestAnotherTenantsJobIsNotFound(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		// Both ask Kafka for the log's end, and wait for it: the time tells nothing either.
		get := func(id string) (asked int, err error) {
			before := w.ends
			_, err = w.get(Query{JobID: id, Scope: Scope{Tenant: "umbrella"}})
			return w.ends - before, err
		}
		asked, err := get(id)
		askedToo, unknown := get("no such job")
		if err != ErrNotFound || err != unknown || asked != 1 || askedToo != 1 {
			t.Fatalf("another tenant's job: %v after %d questions, an unknown one: %v after %d", err, asked, unknown, askedToo)
		}
	})
}

func TestMinVersionWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(2)
		w.submit(ids[0])
		a := w.ask(t.Context(), Query{JobID: ids[0], Scope: Scope{Tenant: tenant}, MinVersion: 3})
		b := w.ask(t.Context(), Query{JobID: ids[1], Scope: Scope{Tenant: tenant}, MinVersion: 3})
		w.append(ids[0], event.Claimed)
		a.wantWaiting(t, "the log is folded up to 2 only")
		b.wantWaiting(t, "and so for a job that is not known yet")
		w.submit(ids[1])
		a.wantVersion(t, "whatever record came", 2)
		b.wantVersion(t, "", 3)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c := w.ask(ctx, Query{JobID: ids[0], Scope: Scope{Tenant: tenant}, MinVersion: 99})
		w.pass(time.Second)
		c.wantError(t, "bounded by its deadline", context.DeadlineExceeded)
		w.pass(time.Second)
		w.inside(func(s *Shard) {
			if len(s.questions.parked) != 0 {
				t.Error("a question whose asker has gone is kept")
			}
		})
	})
}

func TestLongPoll(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		next := w.ask(t.Context(), Query{JobID: id, Scope: Scope{Tenant: tenant}, After: 1})
		end := w.ask(t.Context(), Query{JobID: id, Scope: Scope{Tenant: tenant}, UntilTerminal: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		gone := w.ask(ctx, Query{JobID: id, Scope: Scope{Tenant: tenant}, UntilTerminal: true})
		next.wantWaiting(t, "nothing is newer")
		w.pass(2 * time.Second)
		gone.wantError(t, "", context.DeadlineExceeded)
		w.claim(id, "r1")
		next.wantVersion(t, "at the next change", 2)
		end.wantWaiting(t, "the job runs")
		w.append(id, event.Progress)
		w.append(id, event.Completed)
		end.wantVersion(t, "the job has ended", 4)
		w.inside(func(s *Shard) {
			if s.questions.polls != 0 || len(s.questions.polled) != 0 {
				t.Errorf("%d polls of %d jobs are left", s.questions.polls, len(s.questions.polled))
			}
		})
	})
}

func TestLongPollOfAJobThatIsRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		w.append(id, event.CancelRequested)
		ctx, cancel := context.WithTimeout(t.Context(), 2*retention)
		defer cancel()
		a := w.ask(ctx, Query{JobID: id, Scope: Scope{Tenant: tenant}, After: 2})
		w.pass(retention + time.Minute)
		a.wantError(t, "it has expired", ErrNotFound)
	})
}

// The entry of an ended job is let go once it is stored. A poll that was answered must not
// take the job's next entry with it.
func TestEndedPollLeavesALaterEntryAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		w.claim(id, "r1")
		a := w.ask(t.Context(), Query{JobID: id, Scope: Scope{Tenant: tenant}, UntilTerminal: true})
		w.pass(checkpointInterval / 2) // between two sweeps
		w.append(id, event.Completed)
		a.wantVersion(t, "", 3)
		w.inside(func(s *Shard) { s.checkpoint() })
		synctest.Wait()
		w.append(id, event.RetryRequested)
		entry := func() (e *entry) {
			w.inside(func(s *Shard) { e = s.jobs.all[id] })
			return e
		}
		before := entry()
		w.inside(func(s *Shard) { s.questions.sweep(time.Now()) })
		if before == nil || entry() != before {
			t.Fatal("the retried job was dropped from memory")
		}
		w.pass(time.Minute)
		w.wantAppended("it is handed out", event.Requeued, 1)
	})
}

// TestAnswersWhenTheShardEnds asks in every way there is to wait. All are told that the
// shard is gone, and a broker that does not answer keeps nobody.
func TestAnswersWhenTheShardEnds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		synctest.Wait()
		ids := jobIDs(4)
		w.submit(ids[0])
		if r, err := w.shard.Reserve(t.Context(), ids[1], Scope{Tenant: tenant}, "holder"); err != nil || !r.Held {
			t.Fatal(r, err)
		}
		var reserving sync.WaitGroup
		reserving.Go(func() {
			if _, err := w.shard.Reserve(t.Context(), ids[1], Scope{Tenant: tenant}, "waiter"); !errors.Is(err, ErrNotOwner) {
				t.Errorf("a waiting reserve: %v", err)
			}
		})
		synctest.Wait()
		w.set(func() { w.endHold = make(chan struct{}) })
		all := []*asking{
			w.ask(t.Context(), Query{JobID: ids[0], Scope: Scope{Tenant: tenant}, MinVersion: 99}),
			w.ask(t.Context(), Query{JobID: ids[0], Scope: Scope{Tenant: tenant}, UntilTerminal: true}),
			w.ask(t.Context(), Query{JobID: ids[2], Scope: Scope{Tenant: tenant}}), // waits for the end
			w.ask(t.Context(), Query{JobID: ids[3], Scope: Scope{Tenant: tenant}}), // waits for the next question for the end
		}
		began := time.Now()
		w.end()
		if d := time.Since(began); d != 0 {
			t.Errorf("the shard took %s to end", d)
		}
		reserving.Wait()
		for _, a := range all {
			a.wantError(t, "", ErrNotOwner)
		}
		late := w.ask(t.Context(), Query{JobID: ids[0], Scope: Scope{Tenant: tenant}})
		late.wantError(t, "who comes late", ErrNotOwner)
	})
}

// TestEndRacesWithAsking ends shards while questions arrive: none is answered twice (that
// would block the shard) and none is left without an answer.
func TestEndRacesWithAsking(t *testing.T) {
	for range 200 {
		bubble.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.start()
			ids := jobIDs(20)
			var asking sync.WaitGroup
			for _, id := range ids {
				asking.Go(func() {
					_, err := w.shard.Get(t.Context(), Query{JobID: id, Scope: Scope{Tenant: tenant}})
					if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrNotOwner) && !errors.Is(err, ErrNotReady) {
						t.Errorf("got %v", err)
					}
				})
			}
			w.end()
			asking.Wait()
		})
	}
}

func TestBounds(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(2)
		w.submit(ids[0])
		full := func(b bound, fill, empty func(*Shard), ask func() error) {
			t.Helper()
			w.inside(fill)
			if err := ask(); !errors.Is(err, ErrOverloaded) {
				t.Errorf("%s: %v, want ErrOverloaded", b, err)
			}
			w.inside(empty)
			w.wantMetric("counted", w.metrics.overloaded.WithLabelValues(string(b)), 1)
		}
		get := func(q Query) func() error {
			return func() error { _, err := w.get(q); return err }
		}
		full(boundParked, func(s *Shard) {
			s.questions.parked = make([]*ask, maxParked, maxParked+1)
		}, func(s *Shard) { s.questions.parked = nil },
			get(Query{JobID: ids[0], Scope: Scope{Tenant: tenant}, MinVersion: 99}))
		full(boundPolls, func(s *Shard) { s.questions.polls += maxPolls }, func(s *Shard) { s.questions.polls -= maxPolls },
			get(Query{JobID: ids[0], Scope: Scope{Tenant: tenant}, UntilTerminal: true}))
		if _, err := w.shard.Reserve(t.Context(), ids[1], Scope{Tenant: tenant}, "holder"); err != nil {
			t.Fatal(err)
		}
		full(boundReservations, func(s *Shard) {
			s.questions.keys.waits += maxReservations
		}, func(s *Shard) { s.questions.keys.waits -= maxReservations },
			func() error {
				_, err := w.shard.Reserve(t.Context(), ids[1], Scope{Tenant: tenant}, "another")
				return err
			})
	})
}

func TestSourceIsWhereThePayloadIs(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(2)
		w.submit(ids[0])
		w.submit(ids[1])
		snap, err := w.get(Query{JobID: ids[1], Scope: Scope{Tenant: tenant}})
		if err != nil {
			t.Fatal(err)
		}
		rec, err := w.Record(t.Context(), snap.Source)
		if err != nil || string(rec.Key) != ids[1] {
			t.Fatalf("at %+v lies %s (%v)", snap.Source, rec.Key, err)
		}
		if rec.Headers[1].Key != topic.HeaderID {
			t.Fatalf("headers %v", rec.Headers)
		}
	})
}
