package shard

import (
	"context"
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// inUse is what is in use once what nobody needs is gone.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // what pools kept goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// complete makes jobs that have ended with results of a size, which only the store has.
func (w *world) complete(ids []string, size int, mods ...mod) {
	result := json.RawMessage(`"` + strings.Repeat("x", size-2) + `"`)
	for _, id := range ids {
		w.submit(id, mods...)
		w.claim(id, "r1")
		w.append(id, event.Completed, func(e *event.Event) { e.Result = result })
	}
	w.pass(time.Second) // a checkpoint
}

// TestAStreamThatIsNotReadHoldsLittle has a gateway add ended jobs again and again and read
// nothing: what waits for it is bounded in bytes, whatever the documents weigh, all of them come
// once it reads, and the memory is given back.
func TestAStreamThatIsNotReadHoldsLittle(t *testing.T) {
	const (
		jobs, times = 100, 10
		size        = 60 << 10
		bound       = 8 << 20 // what a stream keeps, and a response
	)
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(jobs)
		w.complete(ids, size)
		for _, id := range ids {
			w.doc(id) // which the store's cache has from here on
		}
		g := w.gateway()
		before := inUse()
		for range times {
			for _, id := range ids {
				w.shard.Watch(t.Context(), g.stream, &trackerpb.WatchAdd{JobId: id, Tenant: tenant})
			}
		}
		synctest.Wait()
		if grown := inUse() - before; grown > bound {
			t.Errorf("%d documents of %d KB that nobody reads take %d KB, want at most %d KB", jobs*times, size>>10, grown>>10,
				bound>>10)
		}
		if n := g.watches(); n != 0 {
			t.Errorf("%d watches of ended jobs are kept", n)
		}
		got := map[string]bool{}
		for len(got) < jobs {
			r, err := g.stream.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			sent := 0
			for _, u := range r.Updates {
				got[u.JobId] = true
				sent += len(u.Document)
			}
			if sent > 2<<20 {
				t.Fatalf("one response has %d KB of documents", sent>>10)
			}
		}
		g.stream.Close()
		w.shard.Leave(g.stream)
		synctest.Wait()
		if left := inUse() - before; left > 4<<20 {
			t.Errorf("%d KB are not given back", left>>10)
		}
	})
}

// TestWhatAStreamDoesNotKeepIsLoadedAsItIs has jobs change between the moment in which a stream
// kept no more documents and the one in which it is read.
func TestWhatAStreamDoesNotKeepIsLoadedAsItIs(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(83)
		full := ids[:80]
		again := ids[80]
		unwanted := ids[81]
		gone := ids[82]
		w.complete(ids[:82], 60<<10)
		w.complete(ids[82:], 60<<10, with(func(p *job.Policy) { p.Retention = job.Seconds(10 * time.Second) }))
		g := w.gateway()
		for _, id := range ids {
			g.add(id, 0)
		}
		w.append(again, event.RetryRequested, round(0))
		w.shard.Unwatch(t.Context(), g.stream, unwanted)
		w.pass(30 * time.Second)
		last, removed := map[string]*trackerpb.Job{}, map[string]bool{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for len(last) < len(full)+1 || len(removed) < 1 {
			r, err := g.stream.Next(ctx)
			if err != nil {
				t.Fatal(err, len(last), removed, last[again])
			}
			for _, u := range r.Updates {
				last[u.JobId] = u
			}
			for _, a := range r.Watched {
				if a.Outcome == trackerpb.Watched_NOT_FOUND {
					removed[a.JobId] = true
				}
			}
		}
		if j := last[again]; j == nil || j.Terminal {
			t.Errorf("the job that was opened again is sent as %v", j)
		}
		if last[unwanted] != nil {
			t.Error("what was removed before it was sent is sent")
		}
		if last[gone] != nil || !removed[gone] {
			t.Error("the job that is gone is not said to be")
		}
		if n := g.watches(); n != 1 {
			t.Errorf("%d watches, want that of the job that was opened again", n)
		}
		w.append(again, event.CancelRequested, round(1))
		r, err := g.stream.Next(ctx)
		if err != nil || len(r.Updates) != 1 || r.Updates[0].JobId != again {
			t.Errorf("what follows is %v, %v", r, err)
		}
	})
}

func TestALargeDocumentIsWithheld(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.complete([]string{id}, 20<<10)
		g := w.gateway()
		for _, c := range []struct {
			after, most int64
			withheld    bool
			updates     int
		}{{0, 16 << 10, true, 0}, {0, 32 << 10, false, 1}, {0, 0, false, 1}, {3, 16 << 10, false, 0}} {
			w.shard.Watch(t.Context(), g.stream, &trackerpb.WatchAdd{
				JobId: id, Tenant: tenant, After: c.after, MaxDocument: c.most,
			})
			synctest.Wait()
			r, err := g.stream.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if a := r.Watched[0]; !a.Ended || (a.Withheld > 20<<10) != c.withheld || len(r.Updates) != c.updates {
				t.Errorf("after %d, up to %d: %v and %d updates", c.after, c.most, a, len(r.Updates))
			}
		}
	})
}
