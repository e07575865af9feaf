package sim

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestWritersClocks runs the whole system on topics whose records have the times of their writers (CreateTime), and
// two of three producers have a wrong clock. Jobs run and end as they would, none is early, none is lost, and each is
// readable for its retention and no longer, also after the tracker was killed or has lost its state.
func TestWritersClocks(t *testing.T) {
	for _, off := range []time.Duration{-26 * time.Hour, 55 * time.Minute, 90 * 365 * 24 * time.Hour} {
		t.Run(fmt.Sprint(off), func(t *testing.T) {
			clock := func(producer int64) time.Time { return time.Now().Add(time.Duration(producer%3-1) * off) }
			RunWriterTimes(t, clock, func(w *World) { w.writersClocks() })
		})
	}
}

func (w *World) writersClocks() {
	const tolerance, retention = 10 * time.Second, 10 * time.Minute
	w.jobTypes(fmt.Sprintf("defaults: {lane: default, lease: 30s, retention: %s}\ntypes:\n  demo.echo: {}\n"+
		"  demo.flaky: {attempts: 3, backoff: {initial: 30s, factor: 1}}\n  demo.sleep: {}\n", retention))
	c := w.Dial()
	runAt := time.Now().Add(5 * time.Minute)
	scheduled := w.Submit(c, "demo.echo", `1`, ackwire.RunAt(runAt))
	began := time.Now()
	w.StartWorker(nil)
	long := w.Submit(c, "demo.sleep", `{"seconds":240,"steps":10}`)
	flaky := w.Submit(c, "demo.flaky", `{"failures":1}`)
	for range 10 {
		w.WantEnd("a job", c, w.Submit(c, "demo.echo", `1`).ID, job.Completed, 1)
	}
	timely := w.Submit(c, "demo.sleep", `{"seconds":600}`, ackwire.Deadline(3*time.Minute))
	w.WantEnd("its backoff", c, flaky.ID, job.Completed, 2)
	w.CrashTracker()
	time.Sleep(20 * time.Second)
	w.StartTracker()
	read := time.Since(began) // without its state the tracker counts from here
	doc := w.WantEnd("it runs for too long", c, timely.ID, job.Failed, 1)
	if doc.Error.Code != job.CodeDeadlineExceeded {
		w.T.Errorf("it ended by %+v", doc.Error)
	}
	within(w.T, "the deadline", time.Since(began), 3*time.Minute-tolerance, 3*time.Minute+tolerance+read)
	w.WantEnd("its lease was renewed", c, long.ID, job.Completed, 1)
	ended := time.Now()
	w.WantEnd("it was scheduled", c, scheduled.ID, job.Completed, 1)
	within(w.T, "its start", time.Since(runAt), -tolerance, tolerance)
	gone := func() bool {
		_, err := c.Job(long.ID).Get(w.ctx())
		var p *ackwire.Error
		return errors.As(err, &p) && p.Code == code.NotFound
	}
	for time.Since(ended) < retention-tolerance {
		if gone() {
			w.T.Fatalf("it was kept for %s, want %s", time.Since(ended), retention)
		}
		time.Sleep(10 * time.Second)
	}
	time.Sleep(2 * tolerance)
	if !gone() {
		w.T.Errorf("it is kept for longer than %s", retention)
	}
	if n := w.tracker.Count("ackwire_tracker_record_times_wrong_total"); n == 0 {
		w.T.Error("no wrong time was counted")
	}
}
