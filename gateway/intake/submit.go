package intake

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
)

// Submits makes jobs of submits.
type Submits struct {
	cfg      *Config
	audit    *Audit
	checks   checks
	payloads payloads
	keys     keys
	places   places
	spans    spans
}

func newSubmits(cfg *Config, a *Audit) Submits {
	return Submits{
		cfg: cfg, audit: a, checks: checks{cfg}, payloads: payloads{cfg}, keys: keys{cfg},
		places: places{cfg}, spans: spans{cfg},
	}
}

// Hold is the first half of a submit over HTTP, whose body is read only when it has a place. What it returns must be
// given to SubmitHeld, or ended.
func (in *Submits) Hold(ctx context.Context, id auth.Identity, bytes int64) (limits.Submit, error) {
	held, err := in.cfg.hold(ctx, id, bytes)
	if err != nil {
		in.cfg.Metrics.submitted(err, 0)
	}
	return held, err
}

// Submit submits a job. There are three outcomes: an ack, once the job is durable, with the version of its first event;
// a refusal, after which nothing was written; or code.Indeterminate with the job's ID: the job may exist, and the same
// key may safely be sent again. The request is made durable first, and only then the accepted event: an accepted event
// without its request would be a job that waits for ever. made, if not nil, is called with the job's ID before anything
// is written.
func (in *Submits) Submit(
	ctx context.Context, id auth.Identity, r frame.SubmitRequest, made func(jobID string),
) (frame.AckFrame, int64, error) {
	return in.admitted(ctx, id, r, made, func(ctx context.Context) (limits.Submit, error) {
		return in.cfg.hold(ctx, id, int64(len(r.Payload)))
	})
}

// admitted is Submit, with hold to admit it.
func (in *Submits) admitted(
	ctx context.Context, id auth.Identity, r frame.SubmitRequest, made func(jobID string),
	hold func(context.Context) (limits.Submit, error),
) (frame.AckFrame, int64, error) {
	began := time.Now()
	ctx, span := in.spans.begin(ctx, &r)
	var ack frame.AckFrame
	var version int64
	held, err := hold(ctx)
	if err == nil {
		ack, version, err = in.submit(ctx, id, r, held, made)
	}
	in.cfg.Metrics.submitted(err, time.Since(began))
	in.spans.end(span, id, r.Job, ack, err)
	return ack, version, err
}

// SubmitHeld is Submit for a request that Hold has admitted. It ends held.
func (in *Submits) SubmitHeld(
	ctx context.Context, id auth.Identity, r frame.SubmitRequest, held limits.Submit, began time.Time,
) (frame.AckFrame, int64, error) {
	ctx, span := in.spans.begin(ctx, &r)
	ack, version, err := in.submit(ctx, id, r, held, nil)
	in.cfg.Metrics.submitted(err, time.Since(began))
	in.spans.end(span, id, r.Job, ack, err)
	return ack, version, err
}

func (in *Submits) submit(
	ctx context.Context, id auth.Identity, r frame.SubmitRequest, held limits.Submit, made func(string),
) (ack frame.AckFrame, version int64, err error) {
	in.cfg.Metrics.inFlight.Inc()
	defer in.cfg.Metrics.inFlight.Dec()
	defer func() { held.End(err == nil && !ack.Duplicate) }()
	began := time.Now()
	s, err := in.checks.examine(id, r)
	if err != nil {
		return ack, 0, err
	}
	s.held, s.examined = held, time.Since(began)
	ctx, cancel := context.WithTimeout(ctx, in.cfg.SubmitTimeout)
	defer cancel()
	if r.CallbackURL != "" {
		if err := in.cfg.Limits.Webhook(ctx, id.Tenant); err != nil {
			return ack, 0, err
		}
	}
	if made != nil {
		made(s.jobID)
	}
	ack, version, err = in.write(ctx, s)
	if err == nil {
		in.grantWith(ctx, id, r.Grant, &ack)
		ack.Warning = unknownFields(r.Unknown)
		in.places.tell(s, &ack)
	}
	return ack, version, err
}

// write makes the job durable.
func (in *Submits) write(ctx context.Context, s *submission) (frame.AckFrame, int64, error) {
	s.to = in.cfg.Trackers.Intake()
	if s.key == "" {
		return in.produce(ctx, s)
	}
	// The former system has the key's job, or makes it, unless its shard says that it is closed: see
	// tracker/shard/closed.go.
	if former := in.cfg.Trackers.Former(); former != nil {
		s.to = former
		ack, version, err := in.writeReserved(ctx, s)
		if !errors.Is(err, errClosed) {
			return ack, version, err
		}
		in.cfg.Trackers.NoteClosed()
		s.to = in.cfg.Trackers.Now()
	}
	ack, version, err := in.writeReserved(ctx, s)
	if errors.Is(err, errClosed) {
		err = problem.Unavailable("new keys belong to a topic prefix that this gateway does not know")
	}
	return ack, version, err
}

// writeReserved is write for a submit with a key. It reserves the key, and releases it if the submit fails.
func (in *Submits) writeReserved(ctx context.Context, s *submission) (frame.AckFrame, int64, error) {
	existing, err := in.keys.reserve(ctx, s)
	if existing != nil {
		return s.existing(existing.Job, existing.PayloadHash)
	}
	if err != nil {
		return frame.AckFrame{}, 0, err
	}
	ack, version, err := in.produce(ctx, s)
	if err != nil {
		in.keys.unreserve(ctx, s)
	}
	return ack, version, err
}

// produce writes the payload, the request and the accepted event, in this order.
func (in *Submits) produce(ctx context.Context, s *submission) (frame.AckFrame, int64, error) {
	if err := in.payloads.store(ctx, s); err != nil {
		return frame.AckFrame{}, 0, err
	}
	began := time.Now()
	request, err := in.produceRequest(ctx, s)
	s.held.Took(s.examined + time.Since(began))
	if err != nil {
		return frame.AckFrame{}, 0, err
	}
	version, err := in.produceAccepted(ctx, s, request)
	if err != nil {
		return frame.AckFrame{}, 0, err
	}
	if s.key != "" {
		return in.verdict(ctx, s, request, version)
	}
	return s.ack(), version, nil
}

func (in *Submits) produceRequest(ctx context.Context, s *submission) (event.Position, error) {
	headers, err := s.request.Headers()
	if err != nil {
		return event.Position{}, fmt.Errorf("request headers of job %s: %w", s.jobID, err)
	}
	rec := &kgo.Record{Topic: s.to.Names().Requests(s.request.Lane), Key: []byte(s.jobID), Value: s.payload}
	if s.request.RunAt != nil {
		rec.Topic = s.to.Names().Deferred()
	}
	for _, h := range headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
	}
	err = kafka.ProduceSync(ctx, in.cfg.Kafka, rec)
	in.cfg.Health.observe(err)
	switch {
	case errors.Is(err, kafka.ErrRefused):
		in.cfg.logOf(ctx).Warn("request refused", "job", s.jobID, "err", err)
		in.payloads.drop(ctx, s)
		return event.Position{}, problem.Unavailable("the request was not written")
	case err != nil:
		in.cfg.logOf(ctx).Warn("request's outcome is not known", "job", s.jobID, "err", err)
		return event.Position{}, problem.Indeterminate(s.jobID)
	}
	return event.Position{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset}, nil
}

// produceAccepted writes the accepted event. It returns the version of the job after it.
func (in *Submits) produceAccepted(ctx context.Context, s *submission, request event.Position) (int64, error) {
	value, err := event.Encode(&event.Event{
		Type: event.Accepted, JobID: s.jobID, Life: s.request.Life, Job: s.request.Job, Tenant: s.request.Tenant,
		Subject: s.request.Subject,
		Lane:    s.request.Lane, PayloadHash: s.request.PayloadHash, Policy: &s.request.Policy,
		RunAt: s.request.RunAt, CallbackURL: s.request.CallbackURL, CallbackEvents: s.request.CallbackEvents,
		Tags: s.request.Tags, Request: &request,
	})
	if err != nil {
		return 0, fmt.Errorf("accepted event of job %s: %w", s.jobID, err)
	}
	rec := &kgo.Record{Topic: s.to.Names().Status(), Key: []byte(s.jobID), Value: value}
	tracing.CarryKept(ctx, rec)
	err = kafka.ProduceSync(ctx, in.cfg.Kafka, rec)
	in.cfg.Health.observe(err)
	if err != nil {
		in.cfg.logOf(ctx).Warn("accepted's outcome is not known", "job", s.jobID, "err", err)
		return 0, problem.Indeterminate(s.jobID) // the request is there: the job may still run
	}
	s.to.Written(rec.Partition, rec.Offset+1)
	return rec.Offset + 1, nil
}

// verdict waits until the fold has accepted or refused this submit's accepted event. So a lost reservation can cause an
// unnecessary request, but never a wrong answer.
func (in *Submits) verdict(
	ctx context.Context, s *submission, request event.Position, version int64,
) (frame.AckFrame, int64, error) {
	get := s.scope().GetRequest(s.jobID)
	get.MinVersion = version
	r, err := s.to.Get(ctx, get)
	if connect.CodeOf(err) == connect.CodeNotFound {
		if _, why := in.keys.reserveID(ctx, s); errors.Is(why, errClosed) {
			return frame.AckFrame{}, 0, errClosed // the system was closed after the key was reserved
		}
		in.payloads.drop(ctx, s) // the job was erased, so the same key again is refused
	}
	if err != nil {
		in.cfg.logOf(ctx).Warn("verdict not known", "job", s.jobID, "err", err)
		return frame.AckFrame{}, 0, problem.Indeterminate(s.jobID)
	}
	src := r.Source
	if src != nil && src.Topic == request.Topic && src.Partition == request.Partition && src.Offset == request.Offset {
		return s.ack(), version, nil
	}
	if src != nil { // it is known that another submit's request is the job's
		in.payloads.drop(ctx, s)
	}
	return s.existing(r.Job, r.PayloadHash)
}

// grantWith adds the grant that a submit asks for to its ack. Its checks were made before the job was: should it fail
// all the same, as the maker's own grant has ended meanwhile, the ack comes without it, for the job exists.
func (in *Submits) grantWith(ctx context.Context, id auth.Identity, asked *frame.GrantOptions, ack *frame.AckFrame) {
	if asked == nil {
		return
	}
	made, claims, err := in.cfg.Verifier.NewGrant(id, forJob(asked, ack.JobID))
	if err != nil {
		in.cfg.logOf(ctx).Info("no grant for a job that was submitted", "job", ack.JobID, "err", err)
		return
	}
	in.audit.note(grantDeed(ctx, id, claims))
	ack.Grant = &made
}
