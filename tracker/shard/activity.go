package shard

import (
	"context"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
	minutes "github.com/ackwire/ackwire/tracker/activity"
	"github.com/ackwire/ackwire/tracker/fold"
)

// activity counts what happened to a shard's jobs in each of the last minutes. Owned by the shard's goroutine.
type activity struct{ log *minutes.Log }

// newActivity returns the counts of a shard that goes on at a position of its log. One that begins with the log knows
// everything.
func newActivity(b *minutes.Budget, position int64) activity {
	if b == nil {
		b = &minutes.Budget{}
	}
	since := time.Now()
	if position == 0 {
		since = time.Unix(0, 0)
	}
	return activity{log: minutes.NewLog(b, since)}
}

// changed counts a change of a job from was to j: its creation and its end. nil stands for no job.
func (a *activity) changed(j, was *fold.Job, at time.Time) {
	if j == nil {
		return
	}
	if was == nil || was.Erased() && !j.Erased() {
		a.log.Count(at, j.Tenant, j.Doc.Lane, minutes.Accepted)
	}
	if !j.Ended() || was != nil && was.Ended() {
		return
	}
	switch j.Doc.State {
	case job.Completed:
		a.log.Count(at, j.Tenant, j.Doc.Lane, minutes.Completed)
	case job.Failed:
		a.log.Count(at, j.Tenant, j.Doc.Lane, minutes.Failed)
	case job.Cancelled:
		a.log.Count(at, j.Tenant, j.Doc.Lane, minutes.Cancelled)
	}
}

// Activity is what happened to a tenant's jobs, and a time up to which all is counted.
type Activity struct {
	minutes.Recent
	AsOf time.Time
}

// Activity returns what happened to a tenant's jobs in the hour that ends with a minute, once the shard is ready.
func (s *Shard) Activity(ctx context.Context, tenant string, last time.Time) (Activity, error) {
	reply := make(chan answer[Activity], 1)
	return await(ctx, s, reply, func() {
		if !s.catching.ready.Load() {
			reply <- answer[Activity]{err: ErrNotReady}
			return
		}
		recent := s.census.activity.log.Recent(last, tenant)
		reply <- answer[Activity]{value: Activity{Recent: recent, AsOf: s.clock.fresh.asOf}}
	})
}
