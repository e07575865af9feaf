package pace

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/loadtest/measure"
)

// Job submits one job, calls acked when the job is acked, and returns when its end is known.
type Job func(ctx context.Context, i int, acked func()) error

// Step is a rate at which a system gets jobs in an open loop.
type Step struct {
	Rate   float64       // jobs per second
	WarmUp time.Duration // the time, at the same rate, before the judged one
	For    time.Duration // the judged time
	// Behind bounds how many jobs are open: as many as come in this time. With more the step ends early, because a
	// system that is so far behind does not hold the rate, and would need long to catch up. 0 means no bound.
	Behind time.Duration
	// During is called in a goroutine of its own when the judged time begins; its context ends with the judged time. It
	// may be nil.
	During func(ctx context.Context) error
}

// patience is the longest time for which a step waits for a job.
const patience = 30 * time.Second

// leastOpen is the number of open jobs that is never too many.
const leastOpen = 100

// Result is what a step has measured: latencies, from when a job was due, of the jobs due in the judged time.
type Result struct {
	Rate   float64         `json:"rate"`
	Ack    measure.Summary `json:"ack"`
	End    measure.Summary `json:"end"`
	Failed int             `json:"failed"`
	// Ended is the number of jobs that ended within the judged time, also of those due before.
	Ended int64 `json:"ended"`
	// Problem is the reason why the step ended early, or an error of a job; else empty.
	Problem string `json:"problem,omitempty"`
}

// errBehind is the cause of a step that ended early.
var errBehind = errors.New("the system is too far behind")

// Run puts the step's load on a system, waits for all its jobs, and returns what it measured. An error means that the
// step was broken off: by ctx, or by During.
func (s Step) Run(ctx context.Context, do Job) (Result, error) {
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	// Arrivals end early when the context loading does; jobs that are open go on.
	loading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r := running{step: s, ack: measure.NewLatencies(), end: measure.NewLatencies(), stop: stop}
	var during sync.WaitGroup
	var duringErr error
	arrivals := s.WarmUp + s.For
	r.from = time.Now().Add(s.WarmUp)
	r.until = r.from.Add(s.For)
	if s.During != nil {
		judged, cancel := context.WithDeadline(loading, r.until)
		defer cancel()
		during.Go(func() {
			if pause.For(judged, s.WarmUp) { // else the step ended early
				duringErr = s.During(judged)
			}
		})
	}
	loop(loading, s.Rate, arrivals, func(i int, due time.Time) { r.job(ctx, i, due, do) })
	during.Wait()
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	return r.result(loading), duringErr
}

// running is a step that runs.
type running struct {
	step        Step
	from, until time.Time // of the judged time
	ack, end    *measure.Latencies
	stop        context.CancelCauseFunc
	open, ended atomic.Int64

	mu  sync.Mutex // guards err
	err error      // the first job's that failed
}

// job runs one job and records its latencies.
func (r *running) job(ctx context.Context, i int, due time.Time, do Job) {
	most := max(int64(r.step.Rate*r.step.Behind.Seconds()), leastOpen)
	if open := r.open.Add(1); r.step.Behind > 0 && open > most {
		r.stop(fmt.Errorf("%w: %d jobs were open", errBehind, open))
	}
	defer r.open.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	judged := !due.Before(r.from)
	err := do(ctx, i, func() {
		if judged {
			r.ack.Record(time.Since(due), nil)
		}
	})
	now := time.Now()
	if err == nil && now.After(r.from) && now.Before(r.until) {
		r.ended.Add(1)
	}
	if judged {
		r.end.Record(now.Sub(due), err)
	}
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.err == nil {
			r.err = err
		}
	}
}

func (r *running) result(loading context.Context) Result {
	_, failed := r.end.Counts()
	out := Result{
		Rate: r.step.Rate, Ack: r.ack.Summary(), End: r.end.Summary(), Failed: failed, Ended: r.ended.Load(),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch cause := context.Cause(loading); {
	case cause != nil:
		out.Problem = cause.Error()
	case r.err != nil:
		out.Problem = r.err.Error()
	}
	return out
}

// Bounds are the latencies that a system must keep to hold a rate.
type Bounds struct {
	Ack time.Duration `json:"ack"` // of the p99 of acks
	End time.Duration `json:"end"` // of the p99 of ends; 0 means none
}

// Hold reports whether a step kept the bounds: no job failed, the step did not end early, and the p99s are within the
// bounds.
func (b Bounds) Hold(r Result) bool {
	within := func(p99 float64, bound time.Duration) bool {
		return p99 <= float64(bound)/float64(time.Millisecond)
	}
	return r.Problem == "" && r.Failed == 0 && r.Ack.Count > 0 && within(r.Ack.P99, b.Ack) &&
		(b.End == 0 || within(r.End.P99, b.End))
}

// Behind returns the bound of open jobs for steps that are judged by b: far beyond what keeps the bounds.
func (b Bounds) Behind() time.Duration { return 2*max(b.Ack, b.End) + time.Second }
