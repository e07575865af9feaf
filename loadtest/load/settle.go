package load

import (
	"context"
	"hash/fnv"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/loadtest/history"
)

// settle waits until every submit is answered, every acked job has ended, and every watching client has seen its end,
// each within the scenario's bound. The checker finds in the history what took longer.
func (r *run) settle(ctx context.Context, d *dispatcher) {
	s := r.cfg.Scenario
	r.rec.Stage("settling: answers", -1)
	close(r.awake)
	answers, cancel := context.WithTimeout(ctx, s.EndsWithin)
	d.finish(answers)
	r.until(answers, func() bool { return r.unanswered() == 0 })
	cancel()

	r.rec.Stage("settling: jobs end", -1)
	// Bounds the wait if faults do not end.
	ending, cancel := context.WithTimeout(ctx, faultsEnd*s.EndsWithin)
	r.until(ending, func() bool {
		now := time.Now()
		deadline := func(o *openJob) bool { return now.After(r.deadline(o.acked)) }
		ask := func(o *openJob) bool { return !o.watched || deadline(o) }
		if now.UnixNano()-r.lastHeard.Load() > int64(quietAfter) {
			ask = func(*openJob) bool { return true }
		}
		r.readAll(ctx, r.jobs.due(askAtOnce, ask))
		// A job that was read after its deadline and is still open is left to the checker.
		r.jobs.forget(func(o *openJob) bool { return o.asked.After(r.deadline(o.acked)) })
		return r.jobs.len() == 0
	})
	cancel()

	r.rec.Stage("settling: statuses arrive", -1)
	// A little longer than the bound, so that every client that is checked had all of it.
	last := time.Unix(0, max(r.lastEnd.Load(), time.Now().UnixNano()))
	delivered, cancel := context.WithDeadline(ctx, last.Add(s.DeliverWithin+sweepEvery))
	defer cancel()
	r.until(delivered, func() bool { return r.unseen() == 0 })
}

// until polls done until it returns true, or ctx ends.
func (r *run) until(ctx context.Context, done func() bool) {
	const look = 100 * time.Millisecond
	for !done() && pause.For(ctx, look) {
	}
}

// deadline returns the time by which a job that was acked at acked must have ended, by the faults so far.
func (r *run) deadline(acked time.Time) time.Time {
	since := acked
	if fault := time.Unix(0, r.lastFault.Load()); fault.After(since) {
		since = fault
	}
	return since.Add(r.cfg.Scenario.EndsWithin + time.Millisecond)
}

func (r *run) unanswered() (n int) {
	for _, c := range r.clients {
		_, submits := c.waiting()
		n += submits
	}
	return n
}

func (r *run) unseen() (n int) {
	for _, c := range r.clients {
		watches, _ := c.waiting()
		n += watches
	}
	return n + int(r.streams.Load())
}

// sweep closes silent sockets and reads jobs that should have ended, while arrivals come.
func (r *run) sweep(ctx context.Context) {
	for pause.For(ctx, sweepEvery) {
		now := time.Now()
		for _, c := range r.clients {
			c.silent(now)
		}
		overdue := r.jobs.due(maxGets, func(o *openJob) bool {
			return now.After(r.deadline(o.acked)) && now.Sub(o.asked) > r.cfg.Scenario.EndsWithin
		})
		r.readAll(ctx, overdue)
	}
}

// verify reads the acked jobs, or a share of them, over HTTP, and what those wrote that were followed. It takes their
// IDs from the history, for the generator does not keep them.
func (r *run) verify(ctx context.Context) error {
	if r.cfg.Verify == 0 {
		return nil
	}
	r.rec.Stage("verifying", -1)
	if err := r.hist.Flush(); err != nil {
		return err
	}
	r.lastAnswer.Store(time.Now().UnixNano())
	var wg sync.WaitGroup
	defer wg.Wait()
	return history.Read(r.cfg.History, func(rec history.Record) bool {
		// A client that has followed what a job writes by its submit is joined by one that comes late.
		follows := rec.Kind == history.Follow && rec.Watch
		if rec.Kind != history.Ack && !follows || !chosen(rec.Job, r.cfg.Verify) {
			return ctx.Err() == nil
		}
		if r.mute() {
			return false
		}
		select {
		case r.gets <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		wg.Go(func() {
			defer func() { <-r.gets }()
			if follows {
				r.readLate(ctx, rec)
				return
			}
			r.prove(ctx, rec.Job, rec.Client)
		})
		return true
	})
}

// prove reads a job until it gets an answer, which may be that the job does not exist.
func (r *run) prove(ctx context.Context, jobID string, client int) {
	for {
		_, code := r.get(ctx, jobID, client)
		if code == http.StatusOK || code == http.StatusNotFound || r.mute() || !pause.For(ctx, sweepEvery) {
			return
		}
	}
}

// mute reports whether no read was answered for EndsWithin.
func (r *run) mute() bool {
	return time.Now().UnixNano()-r.lastAnswer.Load() > int64(r.cfg.Scenario.EndsWithin)
}

// chosen reports whether a job is in a share of all jobs, the same at every call.
func chosen(jobID string, share float64) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(jobID)) // never fails
	return float64(h.Sum32()) < share*(math.MaxUint32+1)
}
