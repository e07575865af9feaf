package intake

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/requestid"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/audit"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/grant"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// The topic audit tells who did what to whose job. An erasure is answered only once its record is durable. All other
// records are written behind the answer; those that are lost are counted.

// auditDeeds are the orders that are recorded if the job is somebody else's.
var auditDeeds = map[event.Type]audit.Deed{
	event.CancelRequested: audit.Cancelled, event.RetryRequested: audit.Retried, event.Erased: audit.Erased,
}

// deedOf returns the record of a deed of an identity.
func deedOf(ctx context.Context, id auth.Identity, d audit.Deed, outcome error) *audit.Record {
	r := &audit.Record{
		At: time.Now().UTC().Truncate(time.Millisecond), Deed: d, Outcome: audit.OK,
		Tenant: id.Tenant, Subject: id.Subject, TokenID: id.TokenID, ByGrant: id.Grant != nil,
		RequestID: requestid.Of(ctx),
	}
	if outcome != nil {
		r.Outcome = string(code.Internal)
		if p, ok := errors.AsType[frame.Problem](outcome); ok {
			r.Outcome = string(p.Code)
		}
	}
	return r
}

// orderDeed returns the record of an order for a job.
func orderDeed(
	ctx context.Context, id auth.Identity, t event.Type, j *trackerpb.Job, jobType string, outcome error,
) *audit.Record {
	return jobDeed(deedOf(ctx, id, auditDeeds[t], outcome), j, jobType)
}

// jobDeed adds to a record which job it is about.
func jobDeed(r *audit.Record, j *trackerpb.Job, jobType string) *audit.Record {
	r.JobID, r.JobType, r.Owner = j.JobId, jobType, &audit.Owner{Tenant: j.Tenant, Subject: j.Subject}
	return r
}

// ownJob reports whether the identity has submitted a job itself.
func ownJob(id auth.Identity, j *trackerpb.Job) bool {
	return j.Tenant == id.Tenant && j.Subject == id.Subject
}

// grantDeed returns the record of a grant that was made.
func grantDeed(ctx context.Context, id auth.Identity, made grant.Claims) *audit.Record {
	r := deedOf(ctx, id, audit.GrantMade, nil)
	r.Grant = &audit.Grant{
		ID: made.ID, Jobs: made.Scope.Jobs, Types: made.Scope.Types, Permissions: made.Permissions,
		Expires: time.Unix(made.Expires, 0).UTC(),
	}
	return r
}

// Audit writes the records of the topic audit.
type Audit struct {
	topic   string // "" if none are written
	kafka   *kgo.Client
	log     *slog.Logger
	metrics *Metrics
}

// GrantMade records that an identity has made a grant.
func (a *Audit) GrantMade(ctx context.Context, id auth.Identity, made grant.Claims) {
	a.note(grantDeed(ctx, id, made))
}

// DeadDone records that an operator has read or requeued a dead letter.
func (a *Audit) DeadDone(
	ctx context.Context, id auth.Identity, deed audit.Deed, letterID, jobID string, outcome error,
) {
	r := deedOf(ctx, id, deed, outcome)
	r.DeadLetter, r.JobID = letterID, jobID
	a.note(r)
}

// PayloadRead records that an identity has asked for the payload of a job, unless it is its own.
func (a *Audit) PayloadRead(ctx context.Context, id auth.Identity, j *trackerpb.Job, jobType string, outcome error) {
	if !ownJob(id, j) {
		a.note(jobDeed(deedOf(ctx, id, audit.PayloadRead, outcome), j, jobType))
	}
}

// record returns the record for Kafka, or nil if none are written.
func (a *Audit) record(r *audit.Record) (*kgo.Record, error) {
	if a.topic == "" {
		return nil, nil
	}
	value, err := audit.Encode(r)
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: a.topic, Key: []byte(r.Tenant), Value: value}, nil
}

// note writes a record behind the answer.
func (a *Audit) note(r *audit.Record) {
	lost := func(err error) {
		a.metrics.auditLost.Inc()
		a.log.Warn("audit record lost", "deed", r.Deed, "job", r.JobID, "request", r.RequestID, "err", err)
	}
	rec, err := a.record(r)
	if err != nil {
		lost(err)
		return
	}
	if rec == nil {
		return
	}
	kafka.Produce(context.Background(), a.kafka, rec, func(_ *kgo.Record, err error) {
		if err != nil {
			lost(err)
			return
		}
		a.metrics.auditWritten.Inc()
	})
}

// noteFirst writes a record before the answer.
func (a *Audit) noteFirst(ctx context.Context, r *audit.Record) error {
	rec, err := a.record(r)
	if err != nil || rec == nil {
		return err
	}
	if err := kafka.ProduceSync(ctx, a.kafka, rec); err != nil {
		a.metrics.auditLost.Inc()
		return err
	}
	a.metrics.auditWritten.Inc()
	return nil
}
