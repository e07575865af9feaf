package shard

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/store"
)

// wantGone wants every question about a job to be answered as for one that there never was.
func (w *world) wantGone(why, id string) {
	w.t.Helper()
	for _, scope := range []Scope{{Tenant: tenant}, {Tenant: tenant, AnyTenant: true}, {Tenant: "", AnyTenant: true}} {
		if snap, err := w.get(Query{JobID: id, Scope: scope}); !errors.Is(err, ErrNotFound) {
			w.t.Fatalf("%s: get finds %s, %v", why, snap.Job.GetDocument(), err)
		}
	}
	for _, of := range []string{tenant, ""} {
		o, err := w.shard.Overlay(w.t.Context(), of, 0)
		if err != nil {
			w.t.Fatal(err)
		}
		page, err := List(w.store, store.Query{Tenant: of, Limit: 100}, []*Overlay{o})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, listed := range page.Jobs {
			if bytes.Contains(listed.Doc, []byte(id)) {
				w.t.Fatalf("%s: the list of %q has %s", why, of, listed.Doc)
			}
		}
		counts, err := Stats(w.store, store.Query{Tenant: of}, []*Overlay{o})
		if err != nil {
			w.t.Fatal(err)
		}
		for tuple, n := range counts {
			if n != 0 {
				w.t.Fatalf("%s: %d jobs are counted as %+v", why, n, tuple)
			}
		}
	}
	if r, err := w.shard.Reserve(w.t.Context(), id, Scope{Tenant: tenant}, "h"); !errors.Is(err, ErrNotFound) {
		w.t.Fatalf("%s: its key gives %+v, %v", why, r, err)
	}
}

// endOne submits a job and cancels it.
func (w *world) endOne(id string) {
	w.t.Helper()
	w.submit(id)
	w.append(id, event.CancelRequested)
	w.wantState("it has ended", id, job.Cancelled)
}

// erasures are the states of the disk in which a job is erased.
var erasures = map[string]func(w *world){
	"at once":           func(*world) {},
	"after a restart":   func(w *world) { w.end(); w.start(); synctest.Wait() },
	"after a power cut": func(w *world) { w.pass(time.Second); w.crash(0, rand.New(rand.NewPCG(1, 1))); synctest.Wait() },
	"with a lost disk":  func(w *world) { w.end(); w.fs = vfs.NewCrashableMem(); w.start(); synctest.Wait() },
	"once it is stored": func(w *world) { w.pass(time.Minute) },
}

// TestErasedIsGone: neither a restart, nor folding the log again, nor what is written late brings an erased job back,
// until its retention is over; then its ID is free again.
func TestErasedIsGone(t *testing.T) {
	for before, first := range erasures {
		for after, then := range erasures {
			t.Run(before+", looked at "+after, func(t *testing.T) {
				inBubble(t, func(t *testing.T, w *world) {
					id := jobIDs(1)[0]
					w.endOne(id)
					first(w)
					w.append(id, event.Erased)
					w.wantGone("erased", id)
					then(w)
					w.wantGone(after, id)

					w.append(id, event.RetryRequested)
					w.submit(id)
					w.append(id, event.Claimed, at(w.request(names.Requests("default"), id)))
					w.wantGone("after a retry, a submit and a claim that come late", id)
					if told := w.orders(); len(told) == 0 || told[len(told)-1] != "stop r1" {
						t.Errorf("the worker was told %v", told)
					}
					first(w)
					w.wantGone(before, id)

					w.pass(retention + time.Minute)
					w.wantAppended("its retention is over", event.Expired, 1)
					w.submit(id)
					w.wantState("its ID is free", id, job.Pending)
				})
			})
		}
	}
}

// TestErasedLeavesNothing: neither the store nor the view holds a byte of what was submitted or of its result.
func TestErasedLeavesNothing(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v := &table{rows: map[string]*store.Row{}}
		w.view = v
		w.start()
		defer func() { w.end() }()
		synctest.Wait()
		id := jobIDs(1)[0]
		w.submit(id, func(e *event.Event) { e.Subject, e.CallbackURL = "alice", "https://example.com/secret" })
		w.claim(id, "r1")
		w.append(id, event.Completed, func(e *event.Event) { e.Result = []byte(`"secret"`) })
		w.pass(time.Minute)
		w.append(id, event.Erased)
		w.pass(time.Minute)
		w.wantGone("erased", id)
		row := v.rows[id]
		if row == nil || !row.Erased() {
			t.Fatalf("the view has %+v", row)
		}
		text := string(store.AppendMeta(nil, row.Meta)) + string(row.Doc) + string(row.Inner)
		for _, word := range []string{"secret", "alice", tenant, "demo.echo", "sha256:1", "worker"} {
			if strings.Contains(text, word) {
				t.Errorf("the marker has %q: %s", word, text)
			}
		}
		if len(text) > 1000 {
			t.Errorf("the marker has %d bytes", len(text))
		}

		// Another tracker takes over from the view alone.
		w.end()
		w.fs = vfs.NewCrashableMem()
		v.restore(t, w.fs)
		if st, err := store.Open(w.fs, "store", identity, store.Options{View: true}, quiet); err != nil {
			t.Fatal(err)
		} else if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		w.start()
		synctest.Wait()
		w.wantGone("from the view", id)
		w.pass(retention)
		if v.rows[id] != nil {
			t.Error("the marker is in the view after the retention")
		}
	})
}

// TestErasedToThoseWhoWait: a long poll for an ended job that is erased is told what it is told when a job expires.
func TestErasedToThoseWhoWait(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.endOne(id)
		asked := make(chan error, 1)
		go func() {
			_, err := w.get(Query{JobID: id, Scope: Scope{Tenant: tenant}, After: 1 << 40})
			asked <- err
		}()
		synctest.Wait()
		w.append(id, event.Erased)
		synctest.Wait()
		select {
		case err := <-asked:
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("got %v", err)
			}
		default:
			t.Error("it still waits")
		}
	})
}

// TestErasedWhileItRuns: a job that has not ended is not erased, nor is a round that the order does not name.
func TestErasedWhileItRuns(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		w.append(id, event.Erased)
		w.wantState("it waits", id, job.Pending)
		w.append(id, event.CancelRequested)
		w.append(id, event.RetryRequested)
		w.append(id, event.CancelRequested, round(1))
		w.append(id, event.Erased)
		w.wantState("it was retried since", id, job.Cancelled)
		w.append(id, event.Erased, round(1))
		w.wantGone("erased", id)
	})
}
