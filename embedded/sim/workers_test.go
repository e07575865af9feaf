package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/fleet"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// fleet returns the workers, as an operator sees them, and their names.
func (w *World) fleet() (frame.Workers, string) {
	w.T.Helper()
	all, err := w.NewHTTP().Workers(w.ctx())
	if err != nil {
		w.T.Fatal(err)
	}
	var names []string
	for _, one := range all.Workers {
		names = append(names, one.Worker)
	}
	return all, strings.Join(names, " ")
}

func (w *World) wantFleet(why, want string) frame.Workers {
	w.T.Helper()
	var all frame.Workers
	w.eventually(why, func() bool {
		var names string
		all, names = w.fleet()
		return names == want
	})
	return all
}

// TestWorkersComeAndGo: a worker is listed from its start on, with what it holds; one that ends in order is gone at
// once, one that dies without a word within the bound, and a stranger that never announces itself is known by what it
// holds. After another tracker took over the list is whole again.
func TestWorkersComeAndGo(t *testing.T) {
	Run(t, func(w *World) {
		var runs Counter
		began := time.Now()
		first := w.StartWorker(echoes(&runs, 10*time.Minute))
		second := w.StartWorker(echoes(&runs, 10*time.Minute))
		c := w.Dial()
		j := w.Submit(c, "demo.echo", `1`)
		w.eventually("the job runs", func() bool { return runs.Load() == 1 })
		all := w.wantFleet("both are there", "worker-1 worker-2")
		held := 0
		for _, one := range all.Workers {
			if !one.Announced || len(one.Lanes) != 2 || one.Lanes[0].Slots != 64 || one.Version == "" || one.Draining ||
				one.StartedAt.Before(began) || one.SeenAt.Before(began) {
				t.Errorf("worker %+v", one)
			}
			held += len(one.Holds)
			for _, h := range one.Holds {
				if h.JobID != j.ID || one.Running != 1 || h.ProgressAt != nil || h.Since.Before(began) {
					t.Errorf("holds %+v", h)
				}
			}
		}
		if held != 1 || all.Truncated {
			t.Errorf("%d jobs are held", held)
		}
		time.Sleep(3 * time.Minute)
		all = w.wantFleet("they are still there", "worker-1 worker-2")
		for _, one := range all.Workers {
			for _, h := range one.Holds {
				if time.Since(h.Since) < 3*time.Minute || time.Since(h.LastSign) > 30*time.Second || h.ProgressAt != nil {
					t.Errorf("a handler that only beats: %+v", h)
				}
			}
		}
		for _, l := range all.Lanes {
			if l.Lane == "default" && (l.Workers != 2 || l.Slots != 128 || l.Running != 1 || l.Waiting != 0 ||
				l.OldestWait == nil || *l.OldestWait != 0) {
				t.Errorf("lane %+v", l)
			}
		}

		w.Stop(w.tracker)
		w.StartAnotherTracker()
		taken := time.Now()
		w.wantFleet("after a takeover", "worker-1 worker-2")
		if d := time.Since(taken); d > fleet.Every*6/5 {
			t.Errorf("the list was whole after %s", d)
		}

		w.Stop(second)
		w.wantFleet("one ended in order", "worker-1")
		w.Kill(first)
		died := time.Now()
		w.eventually("the other one died", func() bool {
			_, names := w.fleet()
			return names == ""
		})
		if d := time.Since(died); d > fleet.GoneAfter+5*time.Second {
			t.Errorf("it was gone after %s", d)
		}

		raw := w.Submit(c, "demo.echo", `2`)
		accepted := w.last(raw.ID, event.Accepted)
		claim := accepted.Event
		claim.Type, claim.Dispatch = event.Claimed, 1
		claim.Run, claim.Worker = "run", "stranger"
		w.Event(&claim)
		all = w.wantFleet("a stranger holds a job", "stranger")
		if one := all.Workers[0]; one.Announced || one.Running != 1 || len(one.Holds) != 1 || one.Holds[0].JobID != raw.ID {
			t.Errorf("the stranger: %+v", one)
		}
		w.Event(&event.Event{Type: event.Progress, JobID: raw.ID, Dispatch: 1, Run: "run", Worker: "stranger",
			Progress: &job.Progress{Percent: 10, Stage: "load"}})
		w.eventually("its progress is told", func() bool {
			all, _ := w.fleet()
			h := all.Workers[0].Holds
			return len(h) == 1 && h[0].ProgressAt != nil && h[0].Stage == "load" && *h[0].Percent == 10
		})
	})
}

// TestALaneTellsSinceWhenItsOldestJobWaits: that is when the job was submitted, also after a crash of the tracker; and
// nothing is told once a worker has taken them.
func TestALaneTellsSinceWhenItsOldestJobWaits(t *testing.T) {
	Run(t, func(w *World) {
		since := func() *time.Time {
			stats, err := w.NewHTTP().Stats(w.ctx())
			if err != nil {
				w.T.Fatal(err)
			}
			for _, l := range stats.Lanes {
				if l.Lane == "default" {
					return l.OldestSince
				}
			}
			w.T.Fatalf("no lane default: %+v", stats)
			return nil
		}
		wants := func(why string, j *ackwire.Job) {
			doc := w.get(w.Dial(), j.ID)
			w.eventually(why, func() bool {
				got := since()
				return got != nil && got.Sub(doc.CreatedAt).Abs() < time.Second
			})
		}
		c := w.Dial()
		if got := since(); got != nil {
			t.Errorf("nothing waits, and it says since %s", got)
		}
		first := w.Submit(c, "demo.echo", `1`)
		time.Sleep(5 * time.Minute)
		w.Submit(c, "demo.echo", `2`)
		wants("the first waits", first)
		w.CrashTracker()
		w.StartTracker()
		wants("after a crash", first)
		var runs Counter
		w.StartWorker(echoes(&runs, 0))
		w.eventually("they are taken", func() bool { return runs.Load() == 2 && since() == nil })
	})
}
