package sim

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/job"
)

// startSlowWorker starts a worker that runs one job at a time, for so long.
func (w *World) startSlowWorker(each time.Duration) {
	w.Slots = 1
	w.StartWorker(func(p *processor.Processor) {
		processor.HandleRaw(p, "demo.echo", func(ctx context.Context, _ *processor.Job, _ []byte) (json.RawMessage, error) {
			select {
			case <-time.After(each):
			case <-ctx.Done():
			}
			return json.RawMessage(`"done"`), ctx.Err()
		})
	})
}

// submitUnwatched submits jobs and returns the last one.
func (w *World) submitUnwatched(c *ackwire.Client, n int) (last *ackwire.Job) {
	for range n {
		last = w.Submit(c, "demo.echo", `1`, ackwire.NoWatch())
	}
	return last
}

// startsWithin waits until a job is started and returns how long that took.
func (w *World) startsWithin(c *ackwire.Client, j *ackwire.Job) time.Duration {
	began := time.Now()
	for s, err := range c.Job(j.ID).Watch(w.ctx()) {
		if err != nil {
			w.T.Fatal(err)
		}
		if s.State != job.Pending && s.State != job.Queued {
			break
		}
	}
	return time.Since(began)
}

// TestAcksTellTheTruth: how many of 200 jobs still wait for one slow worker, and how long the next one will.
func TestAcksTellTheTruth(t *testing.T) {
	Run(t, func(w *World) {
		w.startSlowWorker(500 * time.Millisecond)
		c := w.Dial()
		time.Sleep(90 * time.Second) // trackers look for new lanes each minute
		if j := w.submitUnwatched(c, 1); j.Ahead == nil || *j.Ahead != 0 || j.Estimate == nil || *j.Estimate != 0 {
			t.Errorf("before an idle worker the ack says %v and %v", j.Ahead, j.Estimate)
		}
		w.submitUnwatched(c, 240)
		time.Sleep(20 * time.Second) // in which about 40 are done
		waiting := int64(w.tracker.Count("ackwire_tracker_jobs", "default", "pending"))
		j := w.submitUnwatched(c, 1)
		if j.Ahead == nil || waiting < 190 || *j.Ahead < waiting-5 || *j.Ahead > waiting+5 {
			t.Fatalf("%d jobs wait, and the ack says %v", waiting, j.Ahead)
		}
		ahead, estimate := *j.Ahead, j.Estimate
		if again := w.submitUnwatched(c, 50); again.Ahead == nil || *again.Ahead < ahead+40 {
			t.Errorf("50 jobs later the ack says %v, and said %d", again.Ahead, ahead)
		}
		took := w.startsWithin(c, j)
		if estimate == nil || *estimate < took/2 || *estimate > 2*took {
			t.Fatalf("the job started after %s, and the ack said %v", took, estimate)
		}
		t.Logf("%d jobs waited; the ack said %d and %s, and the job started after %s", waiting, ahead, *estimate, took)
	})
}

// TestAcksSayNothingOfAQueueAfterACrash: until a tracker knows it again, from its store.
func TestAcksSayNothingOfAQueueAfterACrash(t *testing.T) {
	Run(t, func(w *World) {
		w.startSlowWorker(time.Second)
		c := w.Dial()
		w.submitUnwatched(c, 100)
		time.Sleep(10 * time.Second)
		if j := w.submitUnwatched(c, 1); j.Ahead == nil || *j.Ahead < 80 || j.Estimate == nil {
			t.Fatalf("before the crash the ack says %v and %v", j.Ahead, j.Estimate)
		}
		w.CrashTracker()
		time.Sleep(time.Second)
		for range 10 {
			if j := w.submitUnwatched(c, 1); j.Ahead != nil || j.Estimate != nil {
				t.Errorf("without a tracker the ack says %d and %v", *j.Ahead, j.Estimate)
			}
			time.Sleep(time.Second)
		}
		w.StartTracker()
		var j *ackwire.Job
		w.eventually("an ack says what is ahead", func() bool {
			j = w.submitUnwatched(c, 1)
			return j.Ahead != nil
		})
		waiting := int64(w.tracker.Count("ackwire_tracker_jobs", "default", "pending"))
		if *j.Ahead < waiting-5 || *j.Ahead > waiting+5 {
			t.Errorf("%d jobs wait, and the first ack that says so says %d", waiting, *j.Ahead)
		}
		w.eventually("an ack says when its job starts", func() bool {
			j = w.submitUnwatched(c, 1)
			return j.Estimate != nil
		})
		if took := w.startsWithin(c, j); *j.Estimate < took/2 || *j.Estimate > 2*took {
			t.Errorf("the job started after %s, and the ack said %s", took, *j.Estimate)
		}
	})
}
