package intake

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/schemas/webhook"
)

const (
	// MaxSchedule is how far ahead a job may be scheduled.
	MaxSchedule = 30 * 24 * time.Hour
	// unreserveTimeout bounds how long a submit that failed waits until its key is released.
	unreserveTimeout = 250 * time.Millisecond
	// longPast is how far back a start must be to be in the past by any clock. For later starts the log's clock
	// decides, since this machine's may be wrong.
	longPast = 24 * time.Hour
	// dropTimeout bounds how long a submit that failed waits until its payload is removed.
	dropTimeout = 500 * time.Millisecond
)

// Submits makes jobs of submits.
type Submits struct {
	cfg   Config
	audit *Audit
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

// submission is a job that is being submitted.
type submission struct {
	id      auth.Identity
	jobID   string
	key     string
	former  []string           // other IDs that the key's job may have
	holder  string             // of the key's reservation
	to      *upstream.Upstream // the system that is to have the job
	payload []byte
	request topic.Request

	held     limits.Submit
	examined time.Duration // how long its checks took
}

// scope returns the scope of the jobs that the submit may find by its key: those of the same subject.
func (s *submission) scope() *auth.Scope { return auth.SubjectScope(s.id.Tenant, s.id.Subject) }

// Submit submits a job. There are three outcomes: an ack, once the job is durable, with the version of its first event;
// a refusal, after which nothing was written; or code.Indeterminate with the job's ID: the job may exist, and the same
// key may safely be sent again. The request is made durable first, and only then the accepted event: an accepted event
// without its request would be a job that waits for ever. made, if not nil, is called with the job's ID before anything
// is written.
func (in *Submits) Submit(
	ctx context.Context, id auth.Identity, r frame.SubmitRequest, made func(jobID string),
) (frame.AckFrame, int64, error) {
	began := time.Now()
	ctx, span := in.beginSubmit(ctx, &r)
	var ack frame.AckFrame
	var version int64
	held, err := in.cfg.hold(ctx, id, int64(len(r.Payload)))
	if err == nil {
		ack, version, err = in.submit(ctx, id, r, held, made)
	}
	in.cfg.Metrics.submitted(err, time.Since(began))
	in.endSubmit(span, id, r.Job, ack, err)
	return ack, version, err
}

// SubmitHeld is Submit for a request that Hold has admitted. It ends held.
func (in *Submits) SubmitHeld(
	ctx context.Context, id auth.Identity, r frame.SubmitRequest, held limits.Submit, began time.Time,
) (frame.AckFrame, int64, error) {
	ctx, span := in.beginSubmit(ctx, &r)
	ack, version, err := in.submit(ctx, id, r, held, nil)
	in.cfg.Metrics.submitted(err, time.Since(began))
	in.endSubmit(span, id, r.Job, ack, err)
	return ack, version, err
}

func (in *Submits) submit(
	ctx context.Context, id auth.Identity, r frame.SubmitRequest, held limits.Submit, made func(string),
) (ack frame.AckFrame, version int64, err error) {
	in.cfg.Metrics.inFlight.Inc()
	defer in.cfg.Metrics.inFlight.Dec()
	defer func() { held.End(err == nil && !ack.Duplicate) }()
	began := time.Now()
	s, err := in.examine(id, r)
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

// errClosed is the error of a submit to the former system that does not have the job, and makes none of new keys.
var errClosed = errors.New("the key belongs to another topic prefix")

// produce writes the payload, the request and the accepted event, in this order.
func (in *Submits) produce(ctx context.Context, s *submission) (frame.AckFrame, int64, error) {
	if err := in.storePayload(ctx, s); err != nil {
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

// examine makes all checks of a submit that need no request to Kafka or a tracker, and returns the submission.
func (in *Submits) examine(id auth.Identity, r frame.SubmitRequest) (*submission, error) {
	switch {
	case r.Job == "":
		return nil, frame.NewProblem(code.InvalidFrame, "job is missing")
	case len(r.Payload) == 0:
		return nil, frame.NewProblem(code.InvalidFrame, "payload is missing")
	case utf8.RuneCountInString(r.Key) > frame.MaxKeyChars:
		return nil, frame.NewProblem(code.InvalidFrame, fmt.Sprintf("key is longer than %d characters", frame.MaxKeyChars))
	}
	if err := checkFields(r); err != nil {
		return nil, err
	}
	t, ok := in.cfg.Types[r.Job]
	switch {
	case !ok:
		return nil, problem.UnknownType(r.Job)
	case !id.MaySubmit(r.Job):
		return nil, frame.NewProblem(code.Forbidden, "the grant does not permit to submit jobs of this type")
	}
	if err := t.Validate(r.Payload); err != nil {
		return nil, err
	}
	hash, err := PayloadHash(r.Payload)
	if err != nil {
		return nil, err
	}
	policy, err := overrides(t.Policy, r)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if r.RunAt != nil && r.RunAt.Sub(now) > MaxSchedule {
		return nil, frame.NewProblem(code.InvalidFrame, "runAt is more than 30 days ahead")
	}
	if r.RunAt != nil && now.Sub(*r.RunAt) >= longPast {
		r.RunAt = nil // due already
	}
	if deadline := policy.Deadline.Duration(); r.RunAt != nil && deadline > 0 && r.RunAt.Sub(now) >= deadline {
		return nil, frame.NewProblem(code.InvalidFrame, fmt.Sprintf("runAt is not before the job's deadline, %s from now",
			deadline))
	}
	if err := checkCallback(r); err != nil {
		return nil, err
	}
	var former []string
	jobID, err := newJobID()
	if err != nil {
		return nil, err
	}
	if r.Key != "" {
		jobID, former = in.cfg.IDKeys.of(id.Tenant, id.Subject, r.Job, r.Key)
	}
	if r.Grant != nil {
		if err := in.cfg.Verifier.CheckGrant(id, forJob(r.Grant, jobID)); err != nil {
			return nil, err
		}
	}
	life := ""
	if r.Key != "" {
		life = rand.Text() // once this job has expired, the same key gives another job the same ID
	}
	return &submission{
		id: id, jobID: jobID, key: r.Key, former: former, holder: uuid.NewString(), payload: r.Payload,
		request: topic.Request{
			JobID: jobID, Life: life, Job: t.Name, Lane: t.Lane, Dispatch: 1, Attempt: 1,
			Tenant: id.Tenant, Subject: id.Subject, PayloadHash: hash, Policy: policy,
			Time: now, RunAt: r.RunAt, CallbackURL: r.CallbackURL, CallbackEvents: r.CallbackEvents,
			Traceparent: r.Traceparent, Tracestate: r.Tracestate,
		},
	}, nil
}

// overrides applies the submit's own timeout and deadline to its type's policy.
func overrides(p job.Policy, r frame.SubmitRequest) (job.Policy, error) {
	for _, o := range []struct {
		name string
		from *float64
		to   *job.Seconds
	}{{"timeout", r.Timeout, &p.Timeout}, {"deadline", r.Deadline, &p.Deadline}} {
		if o.from == nil {
			continue
		}
		seconds, err := job.SecondsOf(*o.from)
		if err != nil || seconds == 0 {
			return p, frame.NewProblem(code.InvalidFrame, o.name+" must be a positive number of seconds")
		}
		*o.to = seconds
	}
	return p, nil
}

func checkCallback(r frame.SubmitRequest) error {
	if r.CallbackURL == "" {
		if len(r.CallbackEvents) > 0 {
			return frame.NewProblem(code.InvalidFrame, "callbackEvents without a callbackUrl")
		}
		return nil
	}
	if err := webhook.CheckURL(r.CallbackURL); err != nil {
		return frame.NewProblem(code.InvalidFrame, "callbackUrl: "+err.Error())
	}
	if len(r.CallbackEvents) > len(job.States) {
		return frame.NewProblem(code.InvalidFrame, fmt.Sprintf("callbackEvents has more than %d states", len(job.States)))
	}
	for _, s := range r.CallbackEvents {
		if !s.Valid() {
			return frame.NewProblem(code.InvalidFrame, fmt.Sprintf("callbackEvents: %.64q is not a state", s))
		}
	}
	return nil
}

// storePayload puts a payload that is too large for Kafka into the blob store, before anything
// else is written; the request then has the blob's key (the claim check pattern). The key contains
// the life, so that blobs of a former job of the same ID are not mistaken for this one's, and the
// payload's hash, so that the same idempotency key with another payload overwrites nothing.
func (in *Submits) storePayload(ctx context.Context, s *submission) error {
	if len(s.payload) <= in.cfg.InlinePayload {
		return nil
	}
	key := event.PayloadFolder(s.jobID, s.request.Life) + strings.TrimPrefix(s.request.PayloadHash, hashPrefix)
	if err := in.cfg.Blobs.Put(ctx, key, "application/json", "", bytes.NewReader(s.payload)); err != nil {
		in.cfg.logOf(ctx).Warn("payload not stored", "job", s.jobID, "err", err)
		return problem.Unavailable("the payload could not be stored")
	}
	s.request.PayloadBlob, s.payload = key, []byte{}
	return nil
}

// dropPayload removes the blob of a submit whose request was refused, or whose job another submit has made. No other
// submit uses the blob: its key contains the life, which is a new one in each submit, or the ID of a job without an
// idempotency key. Blobs of submits without a known outcome are removed by the tracker.
func (in *Submits) dropPayload(ctx context.Context, s *submission) {
	if s.request.PayloadBlob == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	if err := in.cfg.Blobs.Delete(ctx, s.request.PayloadBlob); err != nil {
		in.cfg.logOf(ctx).Warn("a payload that no job needs is left in the blob store", "job", s.jobID, "err", err)
	}
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
		in.dropPayload(ctx, s)
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
		Request: &request,
	})
	if err != nil {
		return 0, fmt.Errorf("accepted event of job %s: %w", s.jobID, err)
	}
	rec := &kgo.Record{Topic: s.to.Names().Status(), Key: []byte(s.jobID), Value: value}
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
		if _, why := in.reserveID(ctx, s); errors.Is(why, errClosed) {
			return frame.AckFrame{}, 0, errClosed // the system was closed after the key was reserved
		}
		in.dropPayload(ctx, s) // the job was erased, so the same key again is refused
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
		in.dropPayload(ctx, s)
	}
	return s.existing(r.Job, r.PayloadHash)
}

// existing returns the answer for a key whose job exists: the ack of a duplicate, or an error if the payload differs.
func (s *submission) existing(j *trackerpb.Job, hash string) (frame.AckFrame, int64, error) {
	if hash != s.request.PayloadHash {
		return frame.AckFrame{}, 0, frame.NewProblem(code.IdempotencyKeyReused, "the key was used with another payload")
	}
	doc, err := upstream.Document(j)
	if err != nil {
		return frame.AckFrame{}, 0, err
	}
	ack := s.ack()
	ack.State, ack.Duplicate = string(doc.State), true
	return ack, j.Version, nil
}

func (s *submission) ack() frame.AckFrame {
	state := job.Pending
	if s.request.RunAt != nil {
		state = job.Scheduled
	}
	return frame.AckFrame{JobID: s.jobID, State: string(state), StatusURL: statusURL(s.jobID)}
}

func statusURL(jobID string) string { return "/v1/jobs/" + jobID }
