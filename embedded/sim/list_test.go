package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/job"
)

// rows is what a client knows of a list: its jobs' versions and states.
type rows struct {
	mu      sync.Mutex // guards all below
	known   map[string]string
	listed  int // how often the list was asked for
	updates int
	wrong   []string
}

// watchRows reads until the world ends. slow is how long the loop body takes for each update.
func (w *World) watchRows(c *ackwire.Client, o ackwire.ListOptions, slow time.Duration) *rows {
	r := &rows{known: map[string]string{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for u, err := range c.WatchList(ctx, o) {
			r.mu.Lock()
			r.updates++
			if err != nil && !errors.Is(err, context.Canceled) {
				r.wrong = append(r.wrong, err.Error())
			}
			if u.Listed {
				r.listed++
				clear(r.known)
			}
			for _, st := range u.Jobs {
				r.known[st.JobID] = fmt.Sprintf("%s@%d", st.State, st.Version)
			}
			for _, id := range u.Left {
				delete(r.known, id)
			}
			r.mu.Unlock()
			time.Sleep(slow)
		}
	}()
	w.T.Cleanup(func() {
		cancel()
		<-done
		if len(r.wrong) > 0 {
			w.T.Errorf("the list has failed: %q", r.wrong)
		}
	})
	return r
}

// want waits until the rows are what a full list says, which must have that many jobs.
func (r *rows) want(w *World, what string, c *ackwire.Client, o ackwire.ListOptions, n int) {
	w.T.Helper()
	var full, known map[string]string
	defer func() {
		if !w.T.Failed() {
			return
		}
		w.T.Logf("%s: the list has %d jobs, %d are known", what, len(full), len(known))
		for id, is := range full {
			if known[id] != is {
				w.T.Logf("%s is %s and was told as %q", id, is, known[id])
			}
		}
	}()
	w.eventually(what, func() bool {
		full = map[string]string{}
		for st, err := range c.All(w.ctx(), o) {
			if err != nil {
				return false
			}
			full[st.JobID] = fmt.Sprintf("%s@%d", st.State, st.Version)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		known = maps.Clone(r.known)
		return len(full) == n && maps.Equal(full, known)
	})
}

// TestAWatchedListIsRightAtRest: whatever happens to trackers, gateways and sockets, and however slow a client is, when
// nothing changes any more its rows are what a full list says.
func TestAWatchedListIsRightAtRest(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		c := w.Dial()
		before := w.Submit(c, "demo.echo", "1")
		w.WantEnd("a job before", c, before.ID, job.Completed, 1)
		every := ackwire.ListOptions{Limit: 500}
		open := ackwire.ListOptions{Limit: 500, States: []job.State{job.Pending, job.Queued, job.Processing, job.Retrying}}
		ended := ackwire.ListOptions{Limit: 500, States: []job.State{job.Completed}, Types: []string{"demo.sleep"}}
		watching := w.Dial()
		all := w.watchRows(watching, every, 0)
		running := w.watchRows(watching, open, 0)
		slow := w.watchRows(w.Dial(), ended, 3*time.Second)
		n := 0
		submit := func(jobs int) {
			for range jobs {
				w.Submit(c, "demo.sleep", `{"seconds":1,"steps":4}`, ackwire.NoWatch())
			}
			n += jobs
		}
		want := func(what string) {
			t.Helper()
			all.want(w, what+": all jobs", c, every, n+1)
			running.want(w, what+": those that run", c, open, 0)
			slow.want(w, what+": a slow client", c, ended, n)
		}
		submit(30)
		want("jobs come and go")

		submit(20)
		w.CrashTracker()
		submit(20)
		time.Sleep(20 * time.Second) // they end while there is no tracker
		w.StartTracker()
		want("a tracker comes back")

		submit(20)
		w.Kill(w.gateway)
		time.Sleep(20 * time.Second) // they end while there is no gateway
		w.StartGateway()
		submit(20)
		want("a gateway comes back")

		submit(10)
		second := w.startSecondTracker() // takes partitions over
		submit(20)
		want("two trackers")
		submit(10)
		w.Stop(second)
		submit(10)
		want("one of them leaves")
		for name, r := range map[string]*rows{"all": all, "running": running} {
			if r.listed < 4 || r.listed > 60 || r.updates <= r.listed {
				t.Errorf("%s: listed %d times, %d updates", name, r.listed, r.updates)
			}
		}
	})
}
