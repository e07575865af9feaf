package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

func TestCheckpoints(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(2)
		p := w.store.Partition(testPartition)
		w.submit(ids[0])
		w.submit(ids[1])
		w.claim(ids[0], "r1")
		w.append(ids[0], event.Completed)
		w.pass(2 * checkpointInterval)
		if next := p.Position(); next != 4 {
			t.Fatalf("position %d", next)
		}
		for _, id := range ids {
			if got, err := p.Get(id); err != nil || !reflect.DeepEqual(got.Job, w.peek(id)) {
				t.Fatalf("the store has %+v, %v", got, err)
			}
		}
		w.wantMetric("several events of a job are one write", w.metrics.changes, 2)
		w.inside(func(s *Shard) {
			if len(s.jobs.all) != 0 {
				t.Errorf("memory holds %d jobs, and none owes anything", len(s.jobs.all))
			}
		})
	})
}

// What changes no job moves the position all the same, or garbage would be buried again
// after every crash.
func TestPositionIsStoredWithoutChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for range 3 {
			w.appendRecord([]byte("k"), []byte("garbage"))
		}
		w.pass(2 * checkpointInterval)
		if next := w.store.Partition(testPartition).Position(); next != 3 {
			t.Fatalf("position %d", next)
		}
	})
}

// Two checkpoints overlap with changes: what changed while one was written is in the next.
func TestChangeDuringACheckpoint(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		w.inside(func(s *Shard) {
			s.checkpoint() // its end is not settled before this call returns
			s.changed(s.jobs.all[id], func() *fold.Job { j := *s.jobs.all[id].job; j.Version = 77; return &j }(), time.Now())
		})
		synctest.Wait()
		if j := w.peek(id); j.Version != 77 {
			t.Fatalf("version %d", j.Version)
		}
		w.pass(2 * checkpointInterval)
		if got, err := w.store.Partition(testPartition).Get(id); err != nil || got.Job.Version != 77 {
			t.Fatalf("the store has %+v, %v", got, err)
		}
	})
}

// A checkpoint that fails ends the shard. Its last words must not move the position past
// what the failed one should have written.
func TestCheckpointFails(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		synctest.Wait()
		ids := jobIDs(2)
		w.submit(ids[0])
		w.pass(2 * checkpointInterval)
		a := w.ask(t.Context(), Query{JobID: ids[0], Scope: Scope{Tenant: tenant}, UntilTerminal: true})
		w.submit(ids[1])
		w.inside(func(s *Shard) {
			broken := *s.jobs.all[ids[1]].job
			broken.RoundAt = time.Date(20_000, 1, 1, 0, 0, 0, 0, time.UTC) // cannot be encoded
			s.jobs.all[ids[1]].job = &broken
		})
		w.pass(2 * checkpointInterval)
		a.wantError(t, "nobody is left waiting", ErrNotOwner)
		if err := w.halt(); err == nil {
			t.Fatal("the shard has no objection")
		}
		w.start()
		defer w.end()
		synctest.Wait()
		for _, id := range ids {
			w.wantState("both jobs are there", id, job.Pending)
		}
	})
}

// A row that says something else than was written is found when the store is opened; all
// comes from the log again.
func TestARottenRow(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		synctest.Wait()
		id := jobIDs(1)[0]
		w.submit(id)
		w.append(id, event.CancelRequested)
		w.end()
		db, err := pebble.Open("store", &pebble.Options{FS: w.fs})
		if err != nil {
			t.Fatal(err)
		}
		key := append(binary.BigEndian.AppendUint32(nil, testPartition), "d"+id...)
		if err := errors.Join(db.Set(key, []byte("rot"), pebble.Sync), db.Close()); err != nil {
			t.Fatal(err)
		}
		w.start()
		defer w.end()
		synctest.Wait()
		if w.store.SetAside() == "" {
			t.Fatal("a rotten store is in use")
		}
		w.wantState("it was folded again", id, job.Cancelled)
	})
}

// TestRestartsAndCrashes is metamorphic: a log that is folded with restarts and crashes at
// random points gives the same jobs as one that is folded at one go.
func TestRestartsAndCrashes(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 3))
				w := newWorld(t)
				w.start()
				synctest.Wait()
				ids := jobIDs(8)
				lives := 0
				for step := range 150 {
					w.randomEvent(rnd, ids[rnd.IntN(len(ids))], step)
					switch rnd.IntN(12) {
					case 0:
						w.crash(rnd.IntN(101), rnd)
						lives++
					case 1:
						w.end()
						w.start()
						lives++
					case 2, 3:
						w.pass(time.Duration(rnd.IntN(40)) * time.Second)
					default:
						w.pass(time.Duration(rnd.IntN(100)) * time.Millisecond)
					}
				}
				synctest.Wait()
				// The other shard reads what the log holds now.
				w.set(func() { w.paused = true })
				synctest.Wait()
				got := w.jobs(ids)
				w.end()
				fresh := newWorld(t)
				fresh.logs = w.logs
				for topic, log := range w.logs {
					if topic == names.Status() {
						fresh.logs[topic] = log[:w.shard.Position()]
					}
				}
				fresh.start()
				synctest.Wait()
				if want := fresh.jobs(ids); !reflect.DeepEqual(got, want) {
					t.Errorf("after %d lives:\n%+v\nat one go:\n%+v", lives, got, want)
				}
				fresh.end()
			})
		})
	}
}

func (w *world) jobs(ids []string) map[string]fold.Job {
	all := map[string]fold.Job{}
	for _, id := range ids {
		if j := w.peek(id); j != nil {
			all[id] = *j
		}
	}
	return all
}

// randomEvent appends something that may well happen to the job.
func (w *world) randomEvent(rnd *rand.Rand, id string, step int) {
	j := w.peek(id)
	if j == nil {
		w.submit(id)
		return
	}
	runMods := []mod{dispatch(j.Dispatch), run(j.Run)}
	switch {
	case j.Doc.State == job.Processing:
		typ := []event.Type{event.Beat, event.Progress, event.Progress, event.Completed, event.Failed, event.Released,
			event.CancelRequested}[rnd.IntN(7)]
		if typ == event.CancelRequested {
			runMods = []mod{round(j.Round)}
		}
		w.append(id, typ, runMods...)
	case j.Ended():
		if rnd.IntN(3) == 0 {
			w.append(id, event.RetryRequested, round(j.Round))
		}
	case rnd.IntN(8) == 0:
		w.append(id, event.CancelRequested, round(j.Round))
	default:
		w.claim(id, fmt.Sprintf("run-%d", step))
	}
}

// A call that breaks the shard ends it at once, and not with the next record or chore.
func TestACallThatBreaksTheShardEndsItAtOnce(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		synctest.Wait()
		broken, began := errors.New("input/output error"), time.Now()
		s, calls := w.shard, 0
		for range 3 {
			go func() {
				_ = s.call(t.Context(), func() {
					calls++
					switch calls {
					case 1:
						time.Sleep(time.Millisecond) // the others wait behind it
					case 2:
						s.fail(broken)
					}
				})
			}()
		}
		if err := <-w.ended; !errors.Is(err, broken) || time.Since(began) > time.Millisecond {
			t.Errorf("ended after %s: %v", time.Since(began), err)
		}
		w.stop()
		_ = w.store.Close()
	})
}
