package shard

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/watch"
)

// gateway is one watch stream and what it was sent: "WATCHING job-1@3", "job-1@4" …
type gateway struct {
	w      *world
	stream *watch.Stream
}

func (w *world) gateway() *gateway { return &gateway{w, watch.NewStream()} }

func (g *gateway) add(id string, after int64) {
	g.w.shard.Watch(g.w.t.Context(), g.stream, &trackerpb.WatchAdd{JobId: id, Tenant: tenant, After: after})
	synctest.Wait()
}

// want compares all that the stream has to send.
func (g *gateway) want(why string, want ...string) {
	g.w.t.Helper()
	synctest.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var got []string
	for {
		r, err := g.stream.Next(ctx)
		if err != nil {
			break
		}
		for _, a := range r.Watched {
			ended := ""
			if a.Ended {
				ended = " ended"
			}
			got = append(got, fmt.Sprintf("%s %s@%d%s", a.Outcome, a.JobId, a.Version, ended))
		}
		for _, u := range r.Updates {
			got = append(got, fmt.Sprintf("%s@%d", u.JobId, u.Version))
		}
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		g.w.t.Fatalf("%s: the stream sends %v, want %v", why, got, want)
	}
}

func (g *gateway) watches() (n int) {
	g.w.inside(func(s *Shard) { n = len(s.audience.streams[g.stream]) })
	return n
}

func TestWatchFollows(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		g := w.gateway()
		g.add(id, 0)
		g.want("the state now", "WATCHING "+id+"@1", id+"@1")
		w.claim(id, "r1")
		g.want("a change", id+"@2")
		w.append(id, event.Progress)
		w.append(id, event.Progress)
		g.want("two changes that were not taken in between", id+"@4")
		w.append(id, event.Beat, run("another"))
		g.want("what is refused is no change")
		g.add(id, 4)
		g.want("adding again is harmless, and nothing is newer", "WATCHING "+id+"@4")
		g.add(id, 0)
		g.want("unless it asks for the state now", "WATCHING "+id+"@4", id+"@4")
		w.wantMetric("it is one watch", w.metrics.watches, 1)
	})
}

func TestWatchWithAfterHasNoGap(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		w.claim(id, "r1")
		for after, want := range map[int64][]string{
			0: {"WATCHING " + id + "@2", id + "@2"},
			1: {"WATCHING " + id + "@2", id + "@2"},
			2: {"WATCHING " + id + "@2"},
			9: {"WATCHING " + id + "@2", id + "@2"}, // the log never had it
		} {
			g := w.gateway()
			g.add(id, after)
			g.want(fmt.Sprintf("after %d", after), want...)
			w.shard.Leave(g.stream)
		}
		// Whatever comes between the add and its answer is sent as well.
		g := w.gateway()
		w.set(func() { w.paused = true })
		w.append(id, event.Progress)
		add := &trackerpb.WatchAdd{JobId: id, Tenant: tenant, After: 2, MinVersion: 3}
		w.shard.Watch(t.Context(), g.stream, add)
		g.want("the log is not folded so far")
		w.set(func() { w.paused = false })
		g.want("now it is", "WATCHING "+id+"@3", id+"@3")
	})
}

func TestTerminalEndsTheWatch(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		w.claim(id, "r1")
		g := w.gateway()
		g.add(id, 2)
		w.append(id, event.Completed)
		g.want("the end", "WATCHING "+id+"@2", id+"@3")
		if n := g.watches(); n != 0 {
			t.Fatalf("%d watches are left", n)
		}
		w.wantMetric("none", w.metrics.watches, 0)
		w.append(id, event.RetryRequested)
		g.want("who wants to see the next round watches again")
		w.append(id, event.CancelRequested, round(1))
		g.add(id, 3)
		g.want("an ended job is sent once", "WATCHING "+id+"@6 ended", id+"@6")
		g.add(id, 6)
		g.want("and not if it is known", "WATCHING "+id+"@6 ended")
		w.pass(checkpointInterval * 2)
		g.add(id, 0)
		g.want("from the store too", "WATCHING "+id+"@6 ended", id+"@6")
		w.inside(func(s *Shard) {
			if len(s.jobs.all) != 0 {
				t.Errorf("%d ended jobs are kept in memory", len(s.jobs.all))
			}
		})
	})
}

// TestAnEndIsToldAtOnceToAWatchThatCameWithAnAck: it would have seen that end, had it begun earlier. To other watches
// the end is told only once the log is folded that was there when they came.
func TestAnEndIsToldAtOnceToAWatchThatCameWithAnAck(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		version := w.submit(id)
		w.claim(id, "r1")
		w.append(id, event.Completed)
		w.wantState("it has ended", id, job.Completed)
		w.set(func() { w.paused = true })
		w.append(id, event.RetryRequested) // acked, and not folded
		asked := w.ends
		g, other := w.gateway(), w.gateway()
		w.shard.Watch(t.Context(), g.stream,
			&trackerpb.WatchAdd{JobId: id, Tenant: tenant, MinVersion: version, Acked: true})
		g.want("the end", "WATCHING "+id+"@3 ended", id+"@3")
		if w.ends != asked {
			t.Error("the log's end was asked for")
		}
		w.shard.Watch(t.Context(), other.stream, &trackerpb.WatchAdd{JobId: id, Tenant: tenant, MinVersion: version})
		other.want("nothing before the retry is folded")
		w.set(func() { w.paused = false })
		other.want("the retry", "WATCHING "+id+"@4", id+"@5") // and what follows from it
	})
}

func TestWatchOfWhatIsNotThere(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(2)
		w.submit(ids[0])
		g := w.gateway()
		g.add(ids[1], 0)
		g.want("unknown", "NOT_FOUND "+ids[1]+"@0")
		w.shard.Watch(t.Context(), g.stream, &trackerpb.WatchAdd{JobId: ids[0], Tenant: "umbrella"})
		g.want("another tenant's is unknown", "NOT_FOUND "+ids[0]+"@0")
	})
}

func TestWatchOfAShardThatIsNotReady(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := jobIDs(1)[0]
		w.submit(id)
		w.paused = true
		w.start()
		defer w.end()
		g := w.gateway()
		g.add(id, 0)
		g.want("half a view is never shown", "NOT_READY "+id+"@0")
	})
}

func TestUnwatchAndLeave(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(3)
		one, two := w.gateway(), w.gateway()
		for _, id := range ids {
			version := w.submit(id)
			one.add(id, version)
			two.add(id, version)
		}
		one.want("", "WATCHING "+ids[0]+"@1", "WATCHING "+ids[1]+"@2", "WATCHING "+ids[2]+"@3")
		two.want("", "WATCHING "+ids[0]+"@1", "WATCHING "+ids[1]+"@2", "WATCHING "+ids[2]+"@3")
		w.claim(ids[0], "r1")
		w.shard.Unwatch(t.Context(), one.stream, ids[0])
		w.shard.Unwatch(t.Context(), one.stream, "never watched")
		one.want("what was pending is dropped")
		two.want("the other stream's is not", ids[0]+"@4")
		w.append(ids[0], event.Progress)
		one.want("nothing more")
		two.want("", ids[0]+"@5")
		w.shard.Leave(one.stream)
		if one.watches() != 0 || two.watches() != 3 {
			t.Fatalf("watches: %d of the one that left, %d of the other", one.watches(), two.watches())
		}
		w.claim(ids[1], "r2")
		two.want("", ids[1]+"@6")
		w.wantMetric("watches", w.metrics.watches, 3)
	})
}

func TestUnwatchEndsAWatchThatWaitsForTheLog(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		g := w.gateway()
		early := &trackerpb.WatchAdd{JobId: id, Tenant: tenant, MinVersion: 1}
		g.w.shard.Watch(t.Context(), g.stream, early)
		g.w.shard.Unwatch(t.Context(), g.stream, id)
		synctest.Wait()
		w.submit(id)
		g.want("nobody wants it any more")
		if n := g.watches(); n != 0 {
			t.Errorf("%d watches are left", n)
		}
		w.inside(func(s *Shard) {
			if len(s.audience.adding) != 0 {
				t.Errorf("%d questions are left", len(s.audience.adding))
			}
		})
		g.w.shard.Watch(t.Context(), g.stream, &trackerpb.WatchAdd{JobId: id, Tenant: tenant, MinVersion: 2})
		w.claim(id, "r1")
		g.want("a later watch is answered", "WATCHING "+id+"@2", id+"@2")
	})
}

func TestWatchersLearnThatTheOwnerLeaves(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		synctest.Wait()
		id := jobIDs(1)[0]
		w.submit(id)
		g := w.gateway()
		g.add(id, 0)
		g.want("", "WATCHING "+id+"@1", id+"@1")
		waiting := jobIDs(2)[1]
		w.shard.Watch(t.Context(), g.stream, &trackerpb.WatchAdd{JobId: waiting, Tenant: tenant, MinVersion: 99})
		w.end()
		g.want("both must find the new owner", "NOT_OWNER "+waiting+"@0", "NOT_OWNER "+id+"@0")
		g.add(id, 0)
		g.want("who comes late", "NOT_OWNER "+id+"@0")
		w.wantMetric("none", w.metrics.watches, 0)
		w.shard.Leave(g.stream)
		w.shard.Unwatch(t.Context(), g.stream, id)
	})
}

func TestWatchesOfOneStreamAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(2)
		w.submit(ids[0])
		w.submit(ids[1])
		g, other := w.gateway(), w.gateway()
		g.add(ids[0], 1)
		g.want("", "WATCHING "+ids[0]+"@1")
		w.inside(func(s *Shard) {
			for i := range maxWatches - 1 {
				s.audience.streams[g.stream][fmt.Sprint(i)] = nil
			}
		})
		g.add(ids[1], 9)
		g.want("one too many", "NOT_READY "+ids[1]+"@0")
		g.add(ids[0], 1)
		g.want("one that it has", "WATCHING "+ids[0]+"@1")
		other.add(ids[1], 2)
		other.want("another stream has its own", "WATCHING "+ids[1]+"@2")
		w.inside(func(s *Shard) {
			for i := range maxWatches - 1 {
				delete(s.audience.streams[g.stream], fmt.Sprint(i))
			}
		})
	})
}
