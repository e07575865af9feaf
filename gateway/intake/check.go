package intake

import (
	"crypto/rand"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/webhook"
)

const (
	// MaxSchedule is how far ahead a job may be scheduled.
	MaxSchedule = 30 * 24 * time.Hour
	// longPast is how far back a start must be to be in the past by any clock. For later starts the log's clock
	// decides, since this machine's may be wrong.
	longPast = 24 * time.Hour
)

// checks are those of a submit that need no request to Kafka or a tracker.
type checks struct{ *Config }

// examine makes all checks of a submit that need no request to Kafka or a tracker, and returns the submission.
func (c checks) examine(id auth.Identity, r frame.SubmitRequest) (*submission, error) {
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
	t, ok := c.Types[r.Job]
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
	if err := r.Tags.Validate(); err != nil {
		return nil, frame.NewProblem(code.InvalidFrame, "tags: "+err.Error())
	}
	var former []string
	jobID, err := newJobID()
	if err != nil {
		return nil, err
	}
	if r.Key != "" {
		jobID, former = c.IDKeys.of(id.Tenant, id.Subject, r.Job, r.Key)
	}
	if r.Grant != nil {
		if err := c.Verifier.CheckGrant(id, forJob(r.Grant, jobID)); err != nil {
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
			Tags:        r.Tags,
			Traceparent: r.Traceparent, Tracestate: r.Tracestate,
		},
	}, nil
}

// forJob returns what a submit's field grant asks for.
func forJob(o *frame.GrantOptions, jobID string) frame.GrantRequest {
	return frame.GrantRequest{GrantOptions: *o, Jobs: []string{jobID}}
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
