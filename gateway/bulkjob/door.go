package bulkjob

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/requestid"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Bounds of a request.
const (
	// maxMatching is how many requests may list jobs at the same time. One holds a plan, and its payload when it is
	// an order: about 100 MB for frame.MaxBulk jobs.
	maxMatching = 2
	// matchTimeout bounds the listing of all jobs that match.
	matchTimeout = time.Minute
)

// Submission is a bulk action's job that is to be made.
type Submission struct {
	Payload []byte
	// Asked is what the client has asked for: submits with one key must have the same.
	Asked []byte
	Key   string // "" without an idempotency key

	Action frame.BulkAction
	Filter frame.BulkFilter
	Tenant string // of the jobs
	Jobs   int
}

// Submits makes the jobs of bulk actions; intake.Submits implements it.
type Submits interface {
	// BulkKnown returns the ack of the job that the submission's key has made before; ok is false if there is none.
	BulkKnown(ctx context.Context, id auth.Identity, s Submission) (ack frame.AckFrame, ok bool, err error)
	SubmitBulk(ctx context.Context, id auth.Identity, s Submission) (frame.AckFrame, error)
}

// DoorConfig holds what a Door needs.
type DoorConfig struct {
	Trackers Lister
	Submits  Submits
	Inline   int  // length of the largest payload in Kafka, in bytes
	Blobs    bool // there is a blob store for larger ones
	Log      *slog.Logger
}

// Door takes the orders of bulk actions. It is safe for concurrent use.
type Door struct {
	cfg   DoorConfig
	slots chan struct{} // one for each request that lists jobs
}

// NewDoor returns a door.
func NewDoor(cfg DoorConfig) *Door { return &Door{cfg, make(chan struct{}, maxMatching)} }

// Ask is a request for a bulk action.
type Ask struct {
	ID     auth.Identity
	Action frame.BulkAction
	Filter frame.BulkFilter
	Expect *int64
	Key    string
	// List selects the jobs as Filter says.
	List *trackerpb.ListRequest
}

// limit restricts the ask's list to jobs that the action takes and the identity may order.
func (a *Ask) limit() error {
	for _, s := range a.List.States {
		if !a.Action.Takes(job.State(s)) {
			return frame.NewProblem(code.InvalidFrame, fmt.Sprintf("filter: %s is not possible for jobs that are %s", a.Action,
				s))
		}
	}
	if len(a.List.States) == 0 {
		for _, s := range a.Action.States() {
			a.List.States = append(a.List.States, string(s))
		}
	}
	a.List.Scope = Scope(a.ID, a.Action).Proto()
	return nil
}

// Preview answers with the number of jobs that an order would be for.
func (d *Door) Preview(ctx context.Context, a Ask) (frame.BulkAnswer, error) {
	plan, free, err := d.plan(ctx, &a)
	if err != nil {
		return frame.BulkAnswer{}, err
	}
	defer free()
	return answer(&a, plan), nil
}

// Order makes the job of a bulk action, if as many jobs match as the client expects.
func (d *Door) Order(ctx context.Context, a Ask) (frame.BulkAnswer, error) {
	var none frame.BulkAnswer
	asked, err := plainjson.Marshal(frame.BulkRequest{Action: a.Action, Filter: a.Filter, Expect: a.Expect})
	if err != nil {
		return none, err
	}
	s := Submission{Asked: asked, Key: a.Key, Action: a.Action, Filter: a.Filter, Tenant: a.List.Tenant}
	if a.Key != "" {
		ack, ok, err := d.cfg.Submits.BulkKnown(ctx, a.ID, s)
		if err != nil || ok {
			return frame.BulkAnswer{Action: a.Action, Count: *a.Expect, Examples: []string{}, JobID: ack.JobID,
				State: ack.State, StatusURL: ack.StatusURL}, err
		}
	}
	plan, free, err := d.plan(ctx, &a)
	if err != nil {
		return none, err
	}
	defer free()
	if n := int64(plan.Len()); n != *a.Expect {
		p := frame.NewProblem(code.CountDiffers, fmt.Sprintf("%d jobs match, not %d", n, *a.Expect))
		p.Count = &n
		return none, p
	}
	if plan.Len() > maxWithoutBlobs && !d.cfg.Blobs {
		return none, frame.NewProblem(code.LimitExceeded, fmt.Sprintf(
			"%d jobs match: without a blob store a bulk action takes at most %d", plan.Len(), maxWithoutBlobs))
	}
	o := Order{
		V: orderVersion, Action: a.Action, Filter: a.Filter, Tenant: a.List.Tenant, By: byOf(a.ID),
		RequestID: requestid.Of(ctx), Plan: *plan,
	}
	for _, state := range a.List.States {
		o.States = append(o.States, job.State(state))
	}
	if s.Payload, err = o.encode(); err != nil {
		return none, err
	}
	if len(s.Payload) > d.cfg.Inline && !d.cfg.Blobs {
		return none, frame.NewProblem(code.PayloadTooLarge, fmt.Sprintf(
			"the list of %d jobs is larger than inline-payload, and there is no blob store", plan.Len()))
	}
	s.Jobs = plan.Len()
	ack, err := d.cfg.Submits.SubmitBulk(ctx, a.ID, s)
	if err != nil {
		return none, err
	}
	told := answer(&a, plan)
	told.JobID, told.State, told.StatusURL = ack.JobID, ack.State, ack.StatusURL
	return told, nil
}

// plan lists the jobs of an ask. free must be called when the plan is not needed any more.
func (d *Door) plan(ctx context.Context, a *Ask) (plan *Plan, free func(), err error) {
	if err := a.limit(); err != nil {
		return nil, nil, err
	}
	select {
	case d.slots <- struct{}{}:
	default:
		p := frame.NewProblem(code.Overloaded, "other bulk actions are being counted")
		p.RetryAfter = problem.RetryAfter.Seconds()
		return nil, nil, p
	}
	free = func() { <-d.slots }
	ctx, cancel := context.WithTimeout(ctx, matchTimeout)
	defer cancel()
	if plan, err = match(ctx, d.cfg.Trackers, a.List); err != nil {
		free()
		if connect.CodeOf(err) != connect.CodeUnknown {
			d.cfg.Log.Warn("jobs of a bulk action not listed", "err", err)
			err = problem.Unavailable("the trackers do not answer")
		}
		return nil, nil, err
	}
	return plan, free, nil
}

func answer(a *Ask, p *Plan) frame.BulkAnswer {
	told := frame.BulkAnswer{Action: a.Action, Count: int64(p.Len()), Examples: []string{}}
	for i := range min(p.Len(), frame.MaxBulkExamples) {
		id, _ := p.Job(i)
		told.Examples = append(told.Examples, id)
	}
	return told
}
