package intake

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Orders changes jobs that exist: it cancels, retries and erases them. Orders are limited by a rate per user; a retry,
// which makes an open job, is also limited like a submit.
type Orders struct {
	cfg   *Config
	audit *Audit
}

// Cancel cancels a job that the identity may cancel: a job that has not started is cancelled at once, and a running one
// is told to stop. Cancel returns when the tracker has folded the order, with the job's state, or with an error if the
// fold refused it. To repeat it is harmless.
func (in *Orders) Cancel(ctx context.Context, id auth.Identity, jobID string) (frame.AckFrame, int64, error) {
	jobID, ok := job.ParseID(jobID)
	if !ok {
		return frame.AckFrame{}, 0, frame.NewProblem(code.NotFound, "")
	}
	if err := in.mayOrder(id); err != nil {
		return frame.AckFrame{}, 0, err
	}
	return in.order(ctx, id, id.Scope(auth.Cancel), jobID, event.CancelRequested, func(s job.State) error {
		if s.Terminal() {
			return frame.NewProblem(code.InvalidState, fmt.Sprintf("the job is %s already", s))
		}
		return nil
	}, func(v verdict) error {
		switch {
		case v.round != v.saw:
			return frame.NewProblem(code.InvalidState, "the job ended, and was retried, before it could be cancelled")
		case v.doc.State == job.Cancelled, v.doc.CancelRequested && !v.doc.State.Terminal():
			return nil
		case v.doc.State.Terminal():
			return frame.NewProblem(code.InvalidState, fmt.Sprintf("the job was %s before it could be cancelled", v.doc.State))
		}
		return frame.NewProblem(code.InvalidState, "the job could not be cancelled")
	})
}

// Retry runs an ended job that the identity may cancel again, under its ID and with its stored payload. The order
// contains the job's current round, so that an order that is written twice opens only one new round.
func (in *Orders) Retry(
	ctx context.Context, id auth.Identity, jobID string,
) (ack frame.AckFrame, version int64, err error) {
	jobID, ok := job.ParseID(jobID)
	if !ok {
		return ack, 0, frame.NewProblem(code.NotFound, "")
	}
	if err := in.mayOrder(id); err != nil {
		return ack, 0, err
	}
	held, err := in.cfg.hold(ctx, id, 0)
	if err != nil {
		return ack, 0, err
	}
	defer func() { held.End(err == nil) }()
	return in.order(ctx, id, id.Scope(auth.Submit), jobID, event.RetryRequested, func(s job.State) error {
		if !s.Terminal() {
			return frame.NewProblem(code.InvalidState, fmt.Sprintf("the job is %s: it has not ended", s))
		}
		return nil
	}, func(v verdict) error {
		if v.round <= v.saw {
			return frame.NewProblem(code.InvalidState, "the job could not be retried")
		}
		return nil
	})
}

// mayOrder returns why an order is refused before a tracker is asked.
func (in *Orders) mayOrder(id auth.Identity) error {
	return in.cfg.Limits.Order(id.Tenant, id.Account())
}

// verdict is the state of a job after the fold has accepted or refused an order for it.
type verdict struct {
	doc   *job.Document
	round int64 // the job's current round
	saw   int64 // the round in the order
}

// order appends an order to the job's log, if the job's current state allows it, and waits until the fold has
// accepted or refused it. version is that of the resulting document.
func (in *Orders) order(ctx context.Context, id auth.Identity, scope *auth.Scope, jobID string, t event.Type,
	allowed func(job.State) error, outcome func(verdict) error) (ack frame.AckFrame, version int64, err error) {
	var none frame.AckFrame
	ctx, cancel := context.WithTimeout(ctx, in.cfg.SubmitTimeout)
	defer cancel()
	now, at, err := in.cfg.Trackers.Find(ctx, scope.GetRequest(jobID))
	if connect.CodeOf(err) == connect.CodeNotFound && in.mayRead(ctx, id, scope, jobID) {
		return none, 0, frame.NewProblem(code.Forbidden,
			fmt.Sprintf("the token does not permit this for jobs of others: it needs %s", auth.CancelTenant))
	}
	if err != nil {
		return none, 0, problem.OfTracker(err)
	}
	doc, err := upstream.Document(now.Job)
	if err != nil {
		return none, 0, err
	}
	if !ownJob(id, now.Job) {
		jobType := doc.Type
		defer func() { in.audit.note(orderDeed(ctx, id, t, now.Job, jobType, err)) }()
	}
	if t == event.RetryRequested && doc.Type == topic.BulkType {
		return none, 0, frame.NewProblem(code.InvalidState,
			"a bulk action is not run again, since its client's permissions may have changed: order a new one")
	}
	if err := allowed(doc.State); err != nil {
		return none, 0, err
	}
	if err := in.cfg.Health.err(); err != nil {
		return none, 0, problem.Unavailable(err.Error())
	}
	version, err = in.appendOrder(ctx, at.Names(), &event.Event{Type: t, JobID: jobID, Life: now.Life,
		Round: int(now.Round)})
	if err != nil {
		return none, 0, err
	}
	get := scope.GetRequest(jobID)
	get.MinVersion = version
	then, err := at.Get(ctx, get)
	switch {
	case connect.CodeOf(err) == connect.CodeNotFound:
		return none, 0, frame.NewProblem(code.NotFound, "") // the job expired before the order was folded
	case err != nil:
		in.cfg.Log.Warn("order's outcome is not known", "job", jobID, "order", t, "err", err)
		return none, 0, problem.Indeterminate(jobID)
	}
	if doc, err = upstream.Document(then.Job); err != nil {
		return none, 0, err
	}
	if err := outcome(verdict{doc: doc, round: then.Round, saw: now.Round}); err != nil {
		return none, 0, err
	}
	return frame.AckFrame{JobID: jobID, State: string(doc.State), StatusURL: statusURL(jobID)}, then.Job.Version, nil
}

// mayRead reports whether an identity may read a job that it may not order. Only then it is told so: to others a job of
// somebody else looks like none.
func (in *Orders) mayRead(ctx context.Context, id auth.Identity, ordered *auth.Scope, jobID string) bool {
	reads := id.Scope(auth.Read)
	if !id.May(auth.Read) || ordered.Covers(reads) {
		return false
	}
	_, err := in.cfg.Trackers.Get(ctx, reads.GetRequest(jobID))
	return err == nil
}

// appendOrder writes an order to the log. It returns the version up to which the log must be folded to know its
// outcome.
func (in *Orders) appendOrder(ctx context.Context, names topic.Names, e *event.Event) (int64, error) {
	value, err := event.Encode(e)
	if err != nil {
		return 0, fmt.Errorf("%s of job %s: %w", e.Type, e.JobID, err)
	}
	rec := &kgo.Record{Topic: names.Status(), Key: []byte(e.JobID), Value: value}
	err = kafka.ProduceSync(ctx, in.cfg.Kafka, rec)
	in.cfg.Health.observe(err)
	if err != nil {
		in.cfg.Log.Warn("order's outcome is not known", "job", e.JobID, "order", e.Type, "err", err)
		return 0, problem.Indeterminate(e.JobID)
	}
	return rec.Offset + 1, nil
}
