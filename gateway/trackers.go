package gateway

import (
	"context"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/hub"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/lists"
	"github.com/ackwire/ackwire/gateway/session"
	"github.com/ackwire/ackwire/gateway/subjects"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// countTimeout bounds a count of a tenant's jobs.
const countTimeout = 500 * time.Millisecond

// watchers passes on what the trackers' watch streams bring: to the hub, and to the indexes of subjects and of lists.
type watchers struct {
	*hub.Hub
	subjects *subjects.Index
	lists    *lists.Index
}

// Update implements upstream.Watcher.
func (w watchers) Update(j *trackerpb.Job) {
	w.subjects.Update(j)
	w.Hub.Update(j)
}

// Listed implements upstream.Watcher.
func (w watchers) Listed(c *trackerpb.ListChanges) { w.lists.Listed(c) }

// Covered implements upstream.Watcher.
func (w watchers) Covered(stream uint64, c *trackerpb.Coverage) {
	if len(c.Handles) > 0 {
		w.subjects.Covered(stream, c)
	}
	w.lists.Covered(stream, c)
}

// Uncovered implements upstream.Watcher.
func (w watchers) Uncovered(stream uint64) {
	w.subjects.Uncovered(stream)
	w.lists.Uncovered(stream)
}

// trackers asks the trackers for what sessions and limits need.
type trackers struct {
	up     *upstream.Pair
	within time.Duration // bound of a question for a job
}

// load returns a job's current document, for a client whose status was parked.
func (t trackers) load(ctx context.Context, scope *auth.Scope, jobID string) (*trackerpb.Job, error) {
	ctx, cancel := context.WithTimeout(ctx, t.within)
	defer cancel()
	got, err := t.up.Get(ctx, scope.GetRequest(jobID))
	switch {
	case err == nil:
		return got.Job, nil
	case connect.CodeOf(err) == connect.CodeNotFound:
		return nil, session.ErrNoJob
	}
	return nil, err
}

// openJobs returns the number of a tenant's jobs that have not ended.
func (t trackers) openJobs(ctx context.Context, tenant string) (open limits.Open, err error) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	counted, err := t.up.Stats(ctx, tenant, nil, nil)
	if err != nil {
		return open, err
	}
	for _, c := range counted.Counts {
		switch {
		case job.State(c.State).Terminal():
		case c.Type == topic.WebhookType:
			open.Webhooks += c.Jobs
		default:
			open.Jobs += c.Jobs
		}
	}
	return open, nil
}
