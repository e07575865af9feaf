package shard

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/watch"
)

// said is all that a stream has to send: "covers 7", "lost 7", "job-1@3 of 7" …
func (g *gateway) said() (got []string) {
	synctest.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		r, err := g.stream.Next(ctx)
		if err != nil {
			return got
		}
		for _, c := range r.Coverage {
			word := "covers"
			if c.Lost {
				word = "lost"
			}
			if c.Partition != testPartition || c.Partitions != testPartitions ||
				time.Since(time.UnixMilli(c.LogNow)).Abs() > time.Minute {
				g.w.t.Errorf("coverage is %v", c)
			}
			for _, h := range c.Handles {
				got = append(got, fmt.Sprintf("%s %d", word, h))
			}
		}
		for _, a := range r.Watched {
			got = append(got, fmt.Sprintf("%s %s", a.Outcome, a.JobId))
		}
		for _, u := range r.Updates {
			got = append(got, fmt.Sprintf("%s@%d of %d", u.JobId, u.Version, u.SubjectHandle))
		}
	}
}

func (g *gateway) wantSaid(why string, want ...string) {
	g.w.t.Helper()
	if got := g.said(); strings.Join(got, ", ") != strings.Join(want, ", ") {
		g.w.t.Fatalf("%s: the stream sends %v, want %v", why, got, want)
	}
}

func (g *gateway) follow(handle uint32, tenant, subject string) {
	g.w.shard.WatchSubjects(g.w.t.Context(), g.stream, &trackerpb.SubjectAdd{Handle: handle, Tenant: tenant,
		Subject: subject})
	synctest.Wait()
}

func of(tenant, subject string) mod {
	return func(e *event.Event) { e.Tenant, e.Subject = tenant, subject }
}

func TestAllJobsOfASubject(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(4)
		before := w.append(ids[0], event.Accepted, of(tenant, "ann"))
		g, other := w.gateway(), w.gateway()
		g.follow(7, tenant, "ann")
		g.wantSaid("from now on", "covers 7")
		other.follow(1, tenant, "bob")
		other.wantSaid("another's", "covers 1")

		claimed := w.append(ids[0], event.Claimed)
		made := w.append(ids[1], event.Accepted, of(tenant, "ann"))
		w.append(ids[2], event.Accepted, of("another tenant", "ann"))
		bobs := w.append(ids[3], event.Accepted, of(tenant, "bob"))
		if claimed <= before {
			t.Fatal("versions do not rise")
		}
		g.wantSaid("her jobs", fmt.Sprintf("%s@%d of 7", ids[0], claimed), fmt.Sprintf("%s@%d of 7", ids[1], made))
		other.wantSaid("his job", fmt.Sprintf("%s@%d of 1", ids[3], bobs))

		for range 3 {
			w.append(ids[0], event.Progress)
		}
		ended := w.append(ids[0], event.Completed)
		g.wantSaid("the last of several", fmt.Sprintf("%s@%d of 7", ids[0], ended))
		retried := w.append(ids[0], event.RetryRequested)
		synctest.Wait()
		if got := g.said(); len(got) == 0 || !strings.HasPrefix(got[len(got)-1], ids[0]) || retried <= ended {
			t.Fatalf("an ended job that goes on: %v", got)
		}

		g.add(ids[1], made)
		g.wantSaid("a watch of one of them, too", "WATCHING "+ids[1])
		cancelled := w.append(ids[1], event.CancelRequested)
		g.wantSaid("is told once", fmt.Sprintf("%s@%d of 7", ids[1], cancelled))

		w.shard.UnwatchSubject(t.Context(), g.stream, 7)
		w.append(ids[0], event.CancelRequested)
		g.wantSaid("nobody follows any more")
	})
}

func TestSubjectsWhileAShardComesAndGoes(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		id := jobIDs(1)[0]
		synctest.Wait()
		w.append(id, event.Accepted, of(tenant, "ann"))
		synctest.Wait()
		w.end()

		w.set(func() { w.paused = true })
		w.append(id, event.Claimed) // before the shard learns where the log ends
		w.start()
		g := w.gateway()
		g.follow(3, tenant, "ann")
		g.wantSaid("not before it has caught up")
		w.set(func() { w.paused = false })
		w.pass(time.Second)
		g.wantSaid("what it has caught up with is asked for", "covers 3")
		completed := w.append(id, event.Completed)
		g.wantSaid("then it follows", fmt.Sprintf("%s@%d of 3", id, completed))

		gone := w.gateway()
		gone.follow(4, tenant, "ann")
		gone.stream.Close()
		w.append(id, event.RetryRequested)
		synctest.Wait()
		w.inside(func(s *Shard) {
			if s.audience.subjects.streams[gone.stream] != nil || len(s.audience.subjects.handles[subject{tenant, "ann"}]) != 1 {
				t.Error("a closed stream is remembered")
			}
		})
		g.said()
		w.end()
		if got := g.said(); len(got) == 0 || got[len(got)-1] != "lost 3" {
			t.Errorf("at its end it says %v", got)
		}
		late := w.gateway()
		w.shard.WatchSubjects(t.Context(), late.stream, &trackerpb.SubjectAdd{Handle: 5, Tenant: tenant, Subject: "ann"})
		late.wantSaid("a shard that has ended covers nothing")
	})
}

func TestWebhooksAreNobodysJobs(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		g := w.gateway()
		g.follow(1, tenant, "ann")
		w.append(jobIDs(1)[0], event.Accepted, of(tenant, "ann"), func(e *event.Event) { e.Job = topic.WebhookType })
		g.wantSaid("a webhook", "covers 1")
	})
}

func TestAStreamThatTakesNothingIsClosed(t *testing.T) {
	s := watch.NewStream()
	n := 0
	for s.PutLoose(&trackerpb.Job{JobId: fmt.Sprint(n), Version: 1}, tenant, nil) {
		n++
	}
	if n != 100_000 || !s.Closed() {
		t.Errorf("closed %t after %d jobs", s.Closed(), n)
	}
}
