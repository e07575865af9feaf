package shard

import (
	"fmt"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

// TestEntryBecomes leads one entry through what events make of jobs.
func TestEntryBecomes(t *testing.T) {
	life := func(name string, state job.State, renewal int64) *fold.Job {
		j := aJob("a", state)
		j.Life, j.Renewal = name, renewal
		return j
	}
	e, now := &entry{id: "a"}, time2000()
	seen := now
	for _, c := range []struct {
		why    string
		to     *fold.Job
		known  bool // there is such a job
		marked bool // it was erased
		heard  bool // its run, or whoever made it, was heard of
		over   string
	}{
		{"it is born", life("l1", job.Processing, 0), true, false, true, "[]"},
		{"its run is heard of", life("l1", job.Processing, 2), true, false, true, "[]"},
		{"it ends", life("l1", job.Completed, 2), true, false, true, "[]"}, // its run is another one: none
		{"it ends again", life("l1", job.Failed, 2), true, false, false, "[]"},
		{"it is removed", nil, false, false, false, "[l1]"},
		{"its ID is used again", life("l2", job.Pending, 0), true, false, true, "[l1]"},
		{"that one is erased", life("l2", fold.Erased, 0), false, true, false, "[l1 l2]"},
		{"its marker is removed", nil, false, false, false, "[l1 l2 l2]"},
	} {
		now = now.Add(time.Second)
		if c.heard {
			seen = now
		}
		was := e.job
		if was != nil {
			e.document() // the next version must not travel as this
		}
		e.tries, e.notBefore = 3, now
		if got := e.become(c.to, now); got != was {
			t.Errorf("%s: it was %v", c.why, got)
		}
		if (e.job != nil) != c.known || (e.erased != nil) != c.marked || !e.seen.Equal(seen) || e.public != nil ||
			e.tries != 0 || !e.notBefore.IsZero() || fmt.Sprint(e.over) != c.over {
			t.Errorf("%s: %+v, want it heard of at %s and %s to be over", c.why, e, seen, c.over)
		}
	}
}
