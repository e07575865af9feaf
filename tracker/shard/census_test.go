package shard

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

// TestCensusFollowsAJob leads one job through its states, twice with another kind, and compares what is counted.
func TestCensusFollowsAJob(t *testing.T) {
	c := newCensus(NewMetrics(meter.New(prometheus.NewRegistry(), "tracker")), newActivity(nil, 0))
	if err := c.begin(storeOf(t, aJob("stored", job.Processing), aJob("over", job.Failed))); err != nil {
		t.Fatal(err)
	}
	e := &entry{id: "a"}
	other := aJob("a", job.Pending)
	other.Doc.Lane = "bulk"
	for _, step := range []struct {
		why                              string
		to                               *fold.Job
		active, pending, running, inBulk float64
	}{
		{"what the store has", nil, 1, 0, 1, 0},
		{"it waits", aJob("a", job.Pending), 2, 1, 1, 0},
		{"nothing that counts has changed", aJob("a", job.Pending), 2, 1, 1, 0},
		{"it runs", aJob("a", job.Processing), 2, 0, 2, 0},
		{"it has ended", aJob("a", job.Completed), 1, 0, 1, 0},
		{"it is opened again", aJob("a", job.Pending), 2, 1, 1, 0},
		{"it is cancelled", aJob("a", job.Cancelled), 1, 0, 1, 0},
		{"it is removed", nil, 1, 0, 1, 0},
		{"its ID is used again, in another lane", other, 2, 0, 1, 1},
		{"that one has failed", aJob("a", job.Failed), 1, 0, 1, 0},
		{"it is removed, too", nil, 1, 0, 1, 0},
		{"it is born ended", aJob("a", job.Completed), 1, 0, 1, 0},
	} {
		was := e.job
		e.job = step.to
		c.changed(e, was)
		in := func(lane string, state job.State) float64 {
			return testutil.ToFloat64(c.metrics.Lanes.kind(lane, "demo.echo").jobs[state])
		}
		if got := testutil.ToFloat64(c.metrics.active); got != step.active || float64(c.active) != step.active {
			t.Errorf("%s: %v jobs are active, want %v", step.why, got, step.active)
		}
		got := []float64{in("default", job.Pending), in("default", job.Processing), in("bulk", job.Pending)}
		if got[0] != step.pending || got[1] != step.running || got[2] != step.inBulk {
			t.Errorf("%s: %v are counted, want %v", step.why, got, []float64{step.pending, step.running, step.inBulk})
		}
	}
	if got := testutil.ToFloat64(c.metrics.ended.WithLabelValues("completed")); got != 2 {
		t.Errorf("%v jobs have completed, want 2", got)
	}
	c.end()
	if got := testutil.ToFloat64(c.metrics.active); got != 0 {
		t.Errorf("%v jobs are active once the shard has left", got)
	}
	if got := testutil.ToFloat64(c.metrics.Lanes.kind("default", "demo.echo").jobs[job.Processing]); got != 0 {
		t.Errorf("%v jobs run once the shard has left", got)
	}
}
