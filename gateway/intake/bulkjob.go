package intake

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/bulkjob"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/schemas/audit"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// BulkKnown implements bulkjob.Submits.
func (in *Submits) BulkKnown(
	ctx context.Context, id auth.Identity, b bulkjob.Submission,
) (ack frame.AckFrame, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, in.cfg.SubmitTimeout)
	defer cancel()
	s, err := in.bulk(id, b)
	if err != nil {
		return ack, false, err
	}
	for _, jobID := range append([]string{s.jobID}, s.former...) {
		got, err := in.cfg.Trackers.Get(ctx, s.scope().GetRequest(jobID))
		switch {
		case connect.CodeOf(err) == connect.CodeNotFound:
			continue
		case err != nil:
			return ack, false, problem.OfTracker(err)
		}
		s.jobID = jobID
		ack, _, err = s.existing(got.Job, got.PayloadHash)
		return ack, err == nil, err
	}
	return ack, false, nil
}

// SubmitBulk implements bulkjob.Submits. The order is in the audit before the job is made; should that fail then, there
// is a second record that says so.
func (in *Submits) SubmitBulk(
	ctx context.Context, id auth.Identity, b bulkjob.Submission,
) (ack frame.AckFrame, err error) {
	began := time.Now()
	defer func() { in.cfg.Metrics.submitted(err, time.Since(began)) }()
	s, err := in.bulk(id, b)
	if err != nil {
		return ack, err
	}
	if s.held, err = in.cfg.hold(ctx, id, int64(len(b.Payload))); err != nil {
		return ack, err
	}
	in.cfg.Metrics.inFlight.Inc()
	defer in.cfg.Metrics.inFlight.Dec()
	defer func() { s.held.End(err == nil && !ack.Duplicate) }()
	ctx, cancel := context.WithTimeout(ctx, in.cfg.SubmitTimeout)
	defer cancel()
	if err := in.audit.noteFirst(ctx, bulkDeed(ctx, id, s.jobID, b, nil)); err != nil {
		in.cfg.logOf(ctx).Warn("audit record of a bulk action not written", "err", err)
		return ack, problem.Unavailable("the order could not be recorded in the audit")
	}
	if ack, _, err = in.write(ctx, s); err != nil {
		in.audit.note(bulkDeed(ctx, id, s.jobID, b, err))
	}
	return ack, err
}

func bulkDeed(ctx context.Context, id auth.Identity, jobID string, b bulkjob.Submission, outcome error) *audit.Record {
	r := deedOf(ctx, id, audit.BulkOrdered, outcome)
	r.JobID, r.JobType = jobID, topic.BulkType
	r.Owner = &audit.Owner{Tenant: id.Tenant, Subject: id.Subject}
	r.Bulk = &audit.Bulk{Action: string(b.Action), Filter: b.Filter, Tenant: b.Tenant, Jobs: b.Jobs}
	return r
}

// bulk returns the submission of a bulk action's job. Its hash is that of what the client has asked for, since the plan
// differs from one time to the next.
func (in *Submits) bulk(id auth.Identity, b bulkjob.Submission) (*submission, error) {
	hash, err := PayloadHash(b.Asked)
	if err != nil {
		return nil, err
	}
	var former []string
	jobID, err := newJobID()
	if err != nil {
		return nil, err
	}
	if b.Key != "" {
		jobID, former = in.cfg.IDKeys.of(id.Tenant, id.Subject, topic.BulkType, b.Key)
	}
	return &submission{
		id: id, jobID: jobID, key: b.Key, former: former, holder: uuid.NewString(), payload: b.Payload,
		request: topic.Request{
			JobID: jobID, Life: rand.Text(), Job: topic.BulkType, Lane: topic.BulkLane, Dispatch: 1, Attempt: 1,
			Tenant: id.Tenant, Subject: id.Subject, PayloadHash: hash, Policy: bulkjob.Policy(), Time: time.Now(),
		},
	}, nil
}

// historyOf is how many events of a job are asked for at a time.
const historyOf = 1000

// Touch implements bulkjob.Orders. It is the single order that the identity could give, but for the rate of a user's
// orders, as bulk actions have a pace of their own.
func (in *Orders) Touch(ctx context.Context, id auth.Identity, t bulkjob.Touch) (o bulkjob.Outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, in.cfg.SubmitTimeout)
	defer cancel()
	get := bulkjob.Scope(id, t.Action).GetRequest(t.JobID)
	now, at, err := in.cfg.Trackers.Find(ctx, get)
	if connect.CodeOf(err) == connect.CodeNotFound {
		return in.touchNone(ctx, id, t)
	}
	if err != nil {
		return 0, problem.OfTracker(err)
	}
	doc, err := upstream.Document(now.Job)
	if err != nil {
		return 0, err
	}
	if t.Doubt {
		if done, err := in.touchedBefore(ctx, get, t, now.Round, doc); err != nil || done {
			return bulkjob.Done, err
		}
	}
	if o, settled := settled(t, now.Round, doc); settled {
		return o, nil
	}
	if t.Action == frame.BulkErase {
		return in.touchErase(ctx, id, at, get, now, doc, t)
	}
	kind := event.CancelRequested
	if t.Action == frame.BulkRetry {
		kind = event.RetryRequested
		held, err := in.cfg.hold(ctx, id, 0)
		if err != nil {
			return 0, err
		}
		defer func() { held.End(err == nil && o == bulkjob.Done) }()
	} else if err := in.cfg.Health.err(); err != nil {
		return 0, problem.Unavailable(err.Error())
	}
	if !ownJob(id, now.Job) {
		defer func() { in.audit.note(orderDeed(ctx, id, kind, now.Job, doc.Type, touchProblem(o, err))) }()
	}
	version, err := in.appendOrder(ctx, at.Names(), &event.Event{Type: kind, JobID: t.JobID, Life: now.Life,
		Round: int(now.Round), Bulk: t.Bulk})
	if err != nil {
		return 0, err
	}
	get.MinVersion = version
	then, err := at.Get(ctx, get)
	switch {
	case connect.CodeOf(err) == connect.CodeNotFound:
		return bulkjob.Gone, nil
	case err != nil:
		return 0, problem.Indeterminate(t.JobID)
	}
	if doc, err = upstream.Document(then.Job); err != nil {
		return 0, err
	}
	return touched(t, then.Round, doc), nil
}

// touchedBefore reports whether an earlier order of the same bulk action has changed a job. The job itself shows only
// that some order did; whose it was stands in the log. Should the log not have it any more, it counts as the bulk
// action's.
func (in *Orders) touchedBefore(
	ctx context.Context, get *trackerpb.GetRequest, t bulkjob.Touch, round int64, doc *job.Document,
) (bool, error) {
	kind := event.RetryRequested
	switch {
	case t.Action == frame.BulkRetry && round > t.Round:
	case t.Action == frame.BulkCancel && (round > t.Round || doc.State == job.Cancelled || doc.CancelRequested):
		kind = event.CancelRequested
	default:
		return false, nil
	}
	req := &trackerpb.HistoryRequest{JobId: t.JobID, Tenant: get.Tenant, Scope: get.Scope, Limit: historyOf}
	for {
		h, err := in.cfg.Trackers.History(ctx, req)
		if err != nil {
			return false, problem.OfTracker(err)
		}
		for _, e := range h.Events {
			if e.Type == string(kind) && e.Bulk == t.Bulk && e.Verdict != trackerpb.HistoryEvent_REFUSED {
				return true, nil
			}
		}
		if h.Next == 0 {
			return h.Truncated, nil
		}
		req.From, req.Life = h.Next, h.Life
	}
}

// touchNone is Touch for a job that is not there. A bulk erasure that may have erased it before says so in the audit
// once more, since its first record may not have been written.
func (in *Orders) touchNone(ctx context.Context, id auth.Identity, t bulkjob.Touch) (bulkjob.Outcome, error) {
	if t.Action != frame.BulkErase || !t.Doubt {
		return bulkjob.Gone, nil
	}
	deed := deedOf(ctx, id, audit.Erased, nil)
	deed.JobID = t.JobID
	if err := in.audit.noteFirst(ctx, deed); err != nil {
		return 0, problem.Indeterminate(t.JobID)
	}
	return bulkjob.Done, nil
}

// touchErase is Touch for an erasure.
func (in *Orders) touchErase(
	ctx context.Context, id auth.Identity, at *upstream.Upstream, get *trackerpb.GetRequest, now *trackerpb.GetResponse,
	doc *job.Document, t bulkjob.Touch,
) (bulkjob.Outcome, error) {
	err := in.eraseFound(ctx, at, get, now, doc.State, t.Bulk)
	p, isProblem := err.(frame.Problem)
	if err != nil && !(isProblem && p.Code == code.InvalidState) {
		return 0, err
	}
	deed := orderDeed(ctx, id, event.Erased, now.Job, doc.Type, err)
	if err != nil {
		in.audit.note(deed)
		return bulkjob.Changed, nil // it was retried just before
	}
	if err := in.audit.noteFirst(ctx, deed); err != nil {
		return 0, problem.Indeterminate(get.JobId)
	}
	if err := in.removeBlobs(ctx, get.JobId, now.Life); err != nil {
		in.cfg.Log.Warn("blobs of an erased job not removed, the tracker will try", "job", get.JobId, "err", err)
	}
	return bulkjob.Done, nil
}

// settled returns the outcome of a job for which no order is needed, or none is possible.
func settled(t bulkjob.Touch, round int64, doc *job.Document) (o bulkjob.Outcome, ok bool) {
	switch {
	case round != t.Round:
		return bulkjob.Changed, true
	case !t.Action.Takes(doc.State) || !slices.Contains(t.States, doc.State):
		return bulkjob.Changed, true
	case t.Action == frame.BulkRetry && doc.Type == topic.BulkType:
		return bulkjob.Refused, true
	}
	return 0, false
}

// touched returns the outcome of an order that was folded: of the job as it is then.
func touched(t bulkjob.Touch, round int64, doc *job.Document) bulkjob.Outcome {
	if t.Action == frame.BulkRetry {
		if round > t.Round {
			return bulkjob.Done
		}
		return bulkjob.Refused
	}
	switch {
	case round != t.Round:
		return bulkjob.Changed
	case doc.State == job.Cancelled, doc.CancelRequested && !doc.State.Terminal():
		return bulkjob.Done
	case doc.State.Terminal():
		return bulkjob.Changed
	}
	return bulkjob.Refused
}

// touchProblem returns the outcome of a touch for the audit.
func touchProblem(o bulkjob.Outcome, err error) error {
	switch {
	case err != nil || o == bulkjob.Done:
		return err
	case o == bulkjob.Gone:
		return frame.NewProblem(code.NotFound, "")
	}
	return frame.NewProblem(code.InvalidState, fmt.Sprintf("skipped, outcome %d", o))
}
