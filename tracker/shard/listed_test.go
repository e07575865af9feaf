package shard

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/store"
	"github.com/ackwire/ackwire/tracker/watch"
)

// listSaid is all that a stream has to send of lists: "covers 7", "lost 7", "job-1@3 in 7", "job-1@4 left 7" …
func listSaid(t *testing.T, stream *watch.Stream) (got []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		r, err := stream.Next(ctx)
		if err != nil {
			return got
		}
		for _, c := range r.Coverage {
			for _, h := range c.Lists {
				got = append(got, map[bool]string{true: "lost ", false: "covers "}[c.Lost]+fmt.Sprint(h))
			}
		}
		for _, l := range r.Lists {
			for _, c := range l.Changes {
				word := "in"
				if c.Left {
					word = "left"
				}
				if c.Left == (len(c.Document) > 0) {
					t.Errorf("%s is %s with a document of %d bytes", c.JobId, word, len(c.Document))
				}
				got = append(got, fmt.Sprintf("%s@%d %s %d", c.JobId, c.Version, word, l.Handle))
			}
			if l.Missed > 0 {
				got = append(got, fmt.Sprintf("missed %d of %d", l.Missed, l.Handle))
			}
		}
	}
}

// TestWhoIsInAListAndWhoHasLeft goes through what a change can do to a job's place in a list.
func TestWhoIsInAListAndWhoHasLeft(t *testing.T) {
	of := func(change func(*fold.Job)) *fold.Job {
		j := versionOf("a", job.Processing, 5)
		j.Tenant, j.Doc.Subject = tenant, "ann"
		j.Doc.Lane, j.Doc.Type = "reports", "report"
		j.Doc.CreatedAt = time.UnixMilli(5000)
		if change != nil {
			change(j)
		}
		return j
	}
	next := func(change func(*fold.Job)) *fold.Job {
		return of(func(j *fold.Job) {
			j.Version = 9
			if change != nil {
				change(j)
			}
		})
	}
	failed := func(j *fold.Job) {
		at := time.UnixMilli(6000)
		j.Doc.State, j.Doc.FinishedAt = job.Failed, &at
	}
	in, left, gone := "a@9 in 1", "a@9 left 1", "a@6 left 1"
	for name, c := range map[string]struct {
		q        store.Query
		was, now *fold.Job
		want     string
	}{
		"all jobs: a new one":  {store.Query{}, nil, next(nil), in},
		"all jobs: a change":   {store.Query{}, of(nil), next(failed), in},
		"all jobs: removed":    {store.Query{}, of(nil), nil, gone},
		"a state: it has it":   {store.Query{States: []job.State{job.Failed}}, nil, next(failed), in},
		"a state: it gets it":  {store.Query{States: []job.State{job.Failed}}, of(nil), next(failed), in},
		"a state: it loses it": {store.Query{States: []job.State{job.Processing}}, of(nil), next(failed), left},
		"a state: neither":     {store.Query{States: []job.State{job.Completed}}, of(nil), next(failed), ""},
		"two states: from one to the other": {store.Query{States: []job.State{job.Processing, job.Failed}}, of(nil),
			next(failed), in},
		"a state: removed without it":    {store.Query{States: []job.State{job.Failed}}, of(nil), nil, ""},
		"a type":                         {store.Query{Types: []string{"report"}}, of(nil), next(nil), in},
		"another type":                   {store.Query{Types: []string{"mail"}}, of(nil), next(nil), ""},
		"a lane":                         {store.Query{Lanes: []string{"reports"}}, of(nil), next(nil), in},
		"another lane":                   {store.Query{Lanes: []string{"mail"}}, of(nil), next(nil), ""},
		"a subject":                      {store.Query{Subjects: []string{"ann"}}, of(nil), next(nil), in},
		"another subject":                {store.Query{Subjects: []string{"bob"}}, of(nil), next(nil), ""},
		"no job at all":                  {store.Query{None: true}, of(nil), next(nil), ""},
		"made since":                     {store.Query{CreatedFrom: 5000}, of(nil), next(nil), in},
		"made before":                    {store.Query{CreatedBefore: 5000}, of(nil), next(nil), ""},
		"another tenant":                 {store.Query{}, nil, next(func(j *fold.Job) { j.Tenant = "another" }), ""},
		"its ID is another tenant's now": {store.Query{}, of(nil), next(func(j *fold.Job) { j.Tenant = "another" }), gone},
		"its ID is another subject's now": {store.Query{Subjects: []string{"ann"}}, of(nil),
			next(func(j *fold.Job) { j.Doc.Subject = "bob" }), left},
	} {
		s, stream := newStage(t), watch.NewStream()
		s.catching.ready.Store(true)
		c.q.Tenant = tenant
		stream.AddList(1)
		s.followLists(stream, []ListWatch{{Handle: 1, Query: c.q}})
		s.listed(&entry{id: "a", job: c.now, index: -1}, c.was)
		want := []string{"covers 1"}
		if c.want != "" {
			want = append(want, c.want)
		}
		if got := listSaid(t, stream); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		s.lists.leave(stream)
		if len(s.lists.tenants)+len(s.lists.streams) != 0 {
			t.Errorf("%s: a stream that has left is remembered", name)
		}
	}
}

// TestAListWhileAShardComesAndGoes: coverage says from when on changes are told, and that they are not any more.
func TestAListWhileAShardComesAndGoes(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		id := jobIDs(1)[0]
		synctest.Wait()
		w.append(id, event.Accepted)
		synctest.Wait()
		w.end()

		w.set(func() { w.paused = true })
		w.append(id, event.Claimed)
		w.start()
		stream := watch.NewStream()
		stream.AddList(3)
		processing := ListWatch{Handle: 3, Query: store.Query{Tenant: tenant, States: []job.State{job.Processing}}}
		w.shard.WatchLists(t.Context(), stream, processing)
		want := func(why string, want ...string) {
			t.Helper()
			synctest.Wait()
			time.Sleep(time.Second)
			if got := listSaid(t, stream); !slices.Equal(got, want) {
				t.Fatalf("%s: %q, want %q", why, got, want)
			}
		}
		want("not before it has caught up")
		w.set(func() { w.paused = false })
		w.pass(time.Second)
		want("what it has caught up with is listed", "covers 3")
		v := w.append(id, event.Progress)
		want("a change", fmt.Sprintf("%s@%d in 3", id, v))
		v = w.append(id, event.Completed)
		want("it has left", fmt.Sprintf("%s@%d left 3", id, v))
		w.append(id, event.RetryRequested)
		want("it was not in the list")

		w.shard.UnwatchList(t.Context(), stream, 3)
		w.append(id, event.Claimed, dispatch(2))
		want("nobody watches")
		w.shard.WatchLists(t.Context(), stream, processing)
		want("again", "covers 3")
		w.end()
		want("its end", "lost 3")
	})
}
