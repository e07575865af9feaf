package ackwire

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// SubmitOption is a setting of one submit. If a setting is given twice, the last one counts.
type SubmitOption func(*submitConfig)

type submitConfig struct {
	key         string // while the options are read: "" is a random one, unless noKey
	noKey       bool
	timeout     time.Duration
	deadline    time.Duration
	runAt       time.Time
	noWatch     bool
	callbackURL string
	callbackOn  []job.State
	grant       *frame.GrantOptions
	traceparent string
	tracestate  string
	streams     []string
	tags        map[string]string
}

// Key sets the idempotency key, 1 to 128 characters: however often the submit is sent, by any client of the same user,
// there is only one job of this type and key, until its retention is over. The same key with another payload is refused
// with the code idempotency_key_reused; payloads are compared as JSON values.
//
// With a key the client itself repeats a submit whose outcome is not known, until ctx ends. The default, and what an
// empty key means, is a random key for each call of Submit; NoKey sends none.
func Key(key string) SubmitOption { return func(s *submitConfig) { s.key, s.noKey = key, false } }

// NoKey submits without an idempotency key. A submit whose outcome is not known then fails with an error that matches
// ErrIndeterminate, since sending it again might make a second job. It saves the server the check for an earlier job
// of the key, and such a submit is acked also while no tracker runs.
func NoKey() SubmitOption { return func(s *submitConfig) { s.key, s.noKey = "", true } }

// Timeout bounds one attempt. An attempt that takes longer fails, and is tried again while attempts are left. The
// default, also for 0, is that of the job's type. The server refuses negative values and more than 100 years.
func Timeout(d time.Duration) SubmitOption { return func(s *submitConfig) { s.timeout = d } }

// Deadline bounds the whole job from its acceptance on, with its waits and attempts; when it passes the job fails
// with the code deadline_exceeded. The default, also for 0, is that of the job's type. The server refuses negative
// values, more than 100 years, and a deadline before RunAt.
func Deadline(d time.Duration) SubmitOption { return func(s *submitConfig) { s.deadline = d } }

// RunAt sets the time before which the job does not start, at most 30 days ahead. Until then its state is scheduled.
// By default, and for the zero time or one in the past, it starts as soon as a worker is free.
func RunAt(t time.Time) SubmitOption { return func(s *submitConfig) { s.runAt = t } }

// NoWatch submits without subscribing to the job. By default a submit over a socket subscribes to its job, so that a
// later Watch misses nothing. Use it for jobs that this client will not watch: it saves the server a subscription. Such
// a job can still be watched, from its current document on. Over HTTP the option changes nothing.
func NoWatch() SubmitOption { return func(s *submitConfig) { s.noWatch = true } }

// CallbackURL asks for a webhook when the job has ended or, if states are given, when it enters one of them. The server
// refuses a URL that is not http or https, and does not call addresses that are not public, unless it is configured to.
func CallbackURL(url string, states ...job.State) SubmitOption {
	return func(s *submitConfig) { s.callbackURL, s.callbackOn = url, states }
}

// WithGrant asks for a grant for the job, valid for ttl, a second to a day; the job's Ack then has it. permissions are
// what it permits, of what this client may do itself; without any it is "read". See [Grant].
func WithGrant(ttl time.Duration, permissions ...string) SubmitOption {
	return func(s *submitConfig) { s.grant = &frame.GrantOptions{TTL: ttl.Seconds(), Permissions: permissions} }
}

// WithTags attaches tags to the job, by which it can be found: ListOptions.Tags, and in its documents. There may be 16,
// with keys of 1 to 64 of the characters A-Z a-z 0-9 . _ - and values of 1 to 128 characters, none of them a control
// character; the server refuses others. They never change: a submit whose key has a job already leaves that job's.
func WithTags(tags map[string]string) SubmitOption {
	tags = maps.Clone(tags)
	return func(s *submitConfig) { s.tags = tags }
}

// Trace makes the job part of a trace other than that of Submit's context. parent and state are the values of the
// traceparent and tracestate headers (W3C Trace Context §3.2 and §3.3). state may be empty. The server ignores a
// malformed parent.
func Trace(parent, state string) SubmitOption {
	return func(s *submitConfig) { s.traceparent, s.tracestate = parent, state }
}

// Submit hands a job to Ackwire and returns once it is durable. payload is any value that encoding/json marshals, or
// a json.RawMessage, which is sent as it is. While there is no connection it waits; ctx bounds everything.
//
// If ctx carries an OpenTelemetry span, the job becomes part of its trace, from the submit to the handler and back.
//
// There are three outcomes: the job; an *Error if the server refused it, and then nothing was written (Retryable says
// whether to try again); or an error that matches ErrIndeterminate if it is not known whether the job exists. Unless it
// has NoKey, such a submit is repeated until its outcome is known or ctx ends: give ctx a deadline. The error is an
// IndeterminateError, whose Key makes it safe to submit the same again. ctx's error without ErrIndeterminate means that
// nothing was sent.
func (c *Client) Submit(ctx context.Context, jobType string, payload any, opts ...SubmitOption) (*Job, error) {
	cfg := chosenForSubmit(ctx, opts)
	body, err := cfg.appendBody(jobType, payload, false)
	if err != nil {
		return nil, fmt.Errorf("ackwire: submit %s: %w", jobType, err)
	}
	return c.api.submitUntilKnown(ctx, c.ctx, cfg.key, func() (*Job, bool, error) {
		k := &call{
			kind: frame.Submit, body: body, key: cfg.key, watch: !cfg.noWatch, resend: cfg.key != "", streams: cfg.streams,
		}
		if err := c.do(ctx, k); err != nil {
			e, refused := errors.AsType[*Error](err)
			return nil, refused && (e.Code == code.Indeterminate || k.sends > 1 && e.Retryable), err
		}
		j := &Job{
			ID: k.ack.jobID,
			Ack: Ack{
				State: job.State(k.ack.state), StatusURL: k.ack.statusURL, Duplicate: k.ack.duplicate, Grant: k.ack.grant,
				Warning: k.ack.warning,
			},
			via: c, sub: k.sub, held: k.sub != nil, tails: k.tails,
		}
		j.setPlace(k.ack.ahead, k.ack.estimate)
		return j, false, nil
	})
}

// chosenForSubmit returns what the options of a submit say, with a random key where they say nothing of it.
func chosenForSubmit(ctx context.Context, opts []SubmitOption) submitConfig {
	cfg := tracedBy(ctx)
	for _, o := range opts {
		o(&cfg)
	}
	if cfg.key == "" && !cfg.noKey {
		cfg.key = rand.Text() // 130 random bits
	}
	return cfg
}

// submitUntilKnown repeats a submit until its outcome is known if it has a key; else it sends it once. try sends it and
// reports whether the job may exist though there was no ack. life ends when the client is closed.
func (r *rest) submitUntilKnown(
	ctx, life context.Context, key string, try func() (j *Job, unknown bool, err error),
) (*Job, error) {
	// doubt is the last outcome that left open whether the job exists. From then on only an ack or a permanent
	// refusal settles it: a retryable refusal says only that the last try wrote nothing.
	var doubt *IndeterminateError
	for tries := 0; ; tries++ {
		j, unknown, err := try()
		if err == nil {
			return j, nil
		}
		e, answered := errors.AsType[*Error](err)
		switch {
		case answered && !e.Retryable && !unknown:
			return nil, err
		case ctx.Err() != nil, r.ended() != nil, !answered && !unknown && doubt == nil:
			return nil, doubt.because(err)
		}
		if unknown {
			doubt = &IndeterminateError{Key: key, Err: err}
			if answered {
				doubt.JobID = e.JobID
			}
		}
		if doubt == nil {
			return nil, err
		}
		if key == "" {
			return nil, doubt
		}
		var atLeast time.Duration
		if answered {
			atLeast = e.RetryDelay()
		}
		t := time.NewTimer(r.cfg.backoff.wait(tries, atLeast))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, doubt.because(ctx.Err())
		case <-life.Done():
			t.Stop()
			return nil, doubt.because(ErrClosed)
		}
	}
}

// because returns err, which ended the tries. If e is not nil an earlier try left the outcome open, and err is wrapped
// into an IndeterminateError.
func (e *IndeterminateError) because(err error) error {
	if e == nil || errors.Is(err, ErrIndeterminate) {
		return err
	}
	return &IndeterminateError{JobID: e.JobID, Key: e.Key, Err: fmt.Errorf("%w; last answer: %w", err, e.Err)}
}

// appendBody makes the part of a submit frame that follows its id: `,"job":…}`. Over HTTP there is no subscription, and
// the trace is sent in headers.
func (s *submitConfig) appendBody(jobType string, payload any, overHTTP bool) ([]byte, error) {
	raw, ok := payload.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = plainjson.Marshal(payload); err != nil {
			return nil, fmt.Errorf("marshal payload: %w", err)
		}
	} else if !json.Valid(raw) || !utf8.Valid(raw) {
		// The server would answer invalid_frame, or close the socket (1007) with everything on it.
		return nil, newError(code.ValidationFailed, "the payload is not JSON in UTF-8")
	}
	b := make([]byte, 0, len(raw)+len(jobType)+len(s.key)+len(s.callbackURL)+128)
	b = append(b, `,"job":`...)
	b = appendString(b, jobType)
	b = append(b, `,"payload":`...)
	b = append(b, raw...)
	if s.key != "" {
		b = appendString(append(b, `,"key":`...), s.key)
	}
	if !s.runAt.IsZero() {
		b = append(b, `,"runAt":"`...)
		b = s.runAt.UTC().AppendFormat(b, time.RFC3339Nano)
		b = append(b, '"')
	}
	if s.timeout != 0 {
		b = strconv.AppendFloat(append(b, `,"timeout":`...), s.timeout.Seconds(), 'f', -1, 64)
	}
	if s.deadline != 0 {
		b = strconv.AppendFloat(append(b, `,"deadline":`...), s.deadline.Seconds(), 'f', -1, 64)
	}
	if s.noWatch && !overHTTP {
		b = append(b, `,"watch":false`...)
	}
	if len(s.streams) > 0 && !s.noWatch && !overHTTP {
		b = append(b, `,"streams":[`...)
		for i, name := range s.streams {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, name)
		}
		b = append(b, ']')
	}
	if s.traceparent != "" && !overHTTP {
		b = appendString(append(b, `,"traceparent":`...), s.traceparent)
	}
	if s.tracestate != "" && !overHTTP {
		b = appendString(append(b, `,"tracestate":`...), s.tracestate)
	}
	if s.callbackURL != "" {
		b = appendString(append(b, `,"callbackUrl":`...), s.callbackURL)
	}
	if len(s.tags) > 0 {
		raw, err := plainjson.Marshal(s.tags)
		if err != nil {
			return nil, err
		}
		b = append(append(b, `,"tags":`...), raw...)
	}
	if s.grant != nil {
		raw, err := plainjson.Marshal(s.grant)
		if err != nil {
			return nil, err
		}
		b = append(append(b, `,"grant":`...), raw...)
	}
	for i, state := range s.callbackOn {
		if i == 0 {
			b = append(b, `,"callbackEvents":[`...)
		} else {
			b = append(b, ',')
		}
		b = appendString(b, string(state))
	}
	if len(s.callbackOn) > 0 {
		b = append(b, ']')
	}
	return append(b, '}'), nil
}

// watch implements transport.
func (c *Client) watch(ctx context.Context, j *Job, after int64) iter.Seq2[Status, error] {
	return c.follow(ctx, after, func() (*sub, error) { return j.joinLocked(c, after) })
}

// wait implements transport.
func (c *Client) wait(ctx context.Context, j *Job) (Status, error) {
	c.mu.Lock()
	s, err := j.joinLocked(c, 0)
	c.mu.Unlock()
	if err != nil {
		return Status{}, err
	}
	defer c.part(s, nil)
	select {
	case <-s.done:
	case <-ctx.Done():
		return Status{}, ctx.Err()
	}
	if s.err != nil { // written before done was closed
		return Status{}, s.err
	}
	return s.latest.decode()
}

// joinLocked takes a reference to the job's subscription. The first caller gets the reference that the Job itself has
// held since the ack; after that the subscription lives as long as its readers. The terminal document of an ended
// subscription stays readable.
func (j *Job) joinLocked(c *Client, after int64) (*sub, error) {
	s := j.sub
	switch {
	case s != nil && s.ended && s.err == nil: // the terminal document is here
		s.refs++
		return s, nil
	case j.held && !s.ended:
		j.held = false
		return s, nil
	}
	return c.joinLocked(j.ID, after)
}

// forgetEndLocked drops a terminal document that the handle keeps: after a retry the job may run again.
func (j *Job) forgetEndLocked() {
	if j.sub != nil && j.sub.ended {
		j.sub, j.held = nil, false
	}
	j.tails = slices.DeleteFunc(j.tails, func(t *tail) bool { return t.ended })
}

// order implements transport: it sends a cancel or a retry.
func (c *Client) order(ctx context.Context, kind frame.Type, j *Job) (job.State, error) {
	if err := checkJobID(j.ID); err != nil {
		return "", err
	}
	body := appendString([]byte(`,"jobId":`), j.ID)
	// A cancel may be sent twice; a retry could open the job once more than was asked for.
	if kind == frame.Retry {
		body = append(body, `,"watch":false`...) // a watch subscribes by itself
	}
	k := &call{kind: kind, body: append(body, '}'), resend: kind == frame.Cancel}
	err := c.do(ctx, k)
	if kind == frame.Retry {
		c.mu.Lock()
		j.forgetEndLocked()
		c.mu.Unlock()
	}
	if err != nil {
		return "", err
	}
	return job.State(k.ack.state), nil
}
