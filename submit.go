package ackwire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// SubmitOption is a setting of one submit. Where the same setting is given twice the last one counts.
type SubmitOption func(*submitConfig)

type submitConfig struct {
	key         string
	timeout     time.Duration
	deadline    time.Duration
	runAt       time.Time
	noWatch     bool
	callbackURL string
	callbackOn  []job.State
	traceparent string
	tracestate  string
}

// Key sets the idempotency key, 1 to 128 characters: however often the submit is sent, by this client or another of
// the tenant, there is one job of this type and key, until its retention is over. The same key with another payload
// is refused with the code idempotency_key_reused; payloads are compared as JSON values.
//
// With a key the client itself repeats a submit whose outcome is not known, until ctx ends. Without one, which is the
// default and also what an empty key means, such a submit fails with an error that matches ErrIndeterminate.
func Key(key string) SubmitOption { return func(s *submitConfig) { s.key = key } }

// Timeout bounds one attempt. An attempt that takes longer fails, and is tried again while attempts are left. The
// default, also for 0, is that of the job's type. The server refuses what is negative or above 100 years.
func Timeout(d time.Duration) SubmitOption { return func(s *submitConfig) { s.timeout = d } }

// Deadline bounds the whole job from its acceptance on, with its waits and attempts; when it passes the job fails
// with the code deadline_exceeded. The default, also for 0, is that of the job's type. The server refuses what is
// negative, above 100 years, or before RunAt.
func Deadline(d time.Duration) SubmitOption { return func(s *submitConfig) { s.deadline = d } }

// RunAt sets when the job may start, at most 30 days ahead. Until then it is scheduled. The default, the zero time
// and a time that is past start it as soon as a worker is free.
func RunAt(t time.Time) SubmitOption { return func(s *submitConfig) { s.runAt = t } }

// NoWatch submits without following the job, which is otherwise followed from its ack on, so that its watch misses
// nothing. It is for jobs that this client will not watch: it saves the server a subscription. The job can still be
// watched, from its document as it is by then. Over HTTP no job is followed before it is watched.
func NoWatch() SubmitOption { return func(s *submitConfig) { s.noWatch = true } }

// CallbackURL asks for a webhook when the job has ended or, if states are given, when one of them begins. The server
// refuses a URL that is not http or https, and later calls no address that is not public, unless it is configured to.
func CallbackURL(url string, states ...job.State) SubmitOption {
	return func(s *submitConfig) { s.callbackURL, s.callbackOn = url, states }
}

// Trace makes the job a part of a trace, in place of the one that Submit's context belongs to: its traceparent and
// tracestate as W3C Trace Context has them (§3.2, §3.3). state may be empty. A parent that is malformed is passed
// over by the server.
func Trace(parent, state string) SubmitOption {
	return func(s *submitConfig) { s.traceparent, s.tracestate = parent, state }
}

// Submit hands a job to Ackwire and returns once it is durable. payload is any value that encoding/json marshals, or
// a json.RawMessage, which travels untouched. While there is no connection it waits; ctx bounds everything.
//
// The job belongs to the trace of ctx, if there is one (OpenTelemetry), from its submit to its handler and back.
//
// There are three outcomes: the job; an *Error when the server refused, and then nothing was written (Retryable says
// whether to try again); or an error that matches ErrIndeterminate when it is not known whether the job exists. With
// a Key such a submit is repeated until its outcome is known or ctx ends. An error of ctx alone means that nothing
// was sent.
func (c *Client) Submit(ctx context.Context, jobType string, payload any, opts ...SubmitOption) (*Job, error) {
	cfg := tracedBy(ctx)
	for _, o := range opts {
		o(&cfg)
	}
	body, err := cfg.appendBody(jobType, payload, false)
	if err != nil {
		return nil, fmt.Errorf("ackwire: submit %s: %w", jobType, err)
	}
	return c.api.submitUntilKnown(ctx, c.ctx, cfg.key, func() (*Job, bool, error) {
		k := &call{kind: frame.Submit, body: body, key: cfg.key, watch: !cfg.noWatch, resend: cfg.key != ""}
		if err := c.do(ctx, k); err != nil {
			e, refused := errors.AsType[*Error](err)
			return nil, refused && (e.Code == code.Indeterminate || k.sends > 1 && e.Retryable), err
		}
		return &Job{
			ID:  k.ack.jobID,
			Ack: Ack{State: job.State(k.ack.state), StatusURL: k.ack.statusURL, Duplicate: k.ack.duplicate},
			via: c, sub: k.sub, held: k.sub != nil,
		}, false, nil
	})
}

// submitUntilKnown sends a submit until its outcome is known, if it has a key; else once. try sends it and reports
// whether it may have been written though there was no ack. life ends when the client is closed.
func (r *rest) submitUntilKnown(
	ctx, life context.Context, key string, try func() (j *Job, unknown bool, err error),
) (*Job, error) {
	// doubt is the last answer that left open whether the job exists. From then on only an ack or a refusal
	// for good settles it: "nothing was written" speaks of the last try alone.
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

// because returns err, which ended the tries to find out, marked as not known if there
// was a doubt.
func (e *IndeterminateError) because(err error) error {
	if e == nil || errors.Is(err, ErrIndeterminate) {
		return err
	}
	return &IndeterminateError{JobID: e.JobID, Key: e.Key, Err: fmt.Errorf("%w; last answer: %w", err, e.Err)}
}

// appendBody makes a submit frame from after its id. Over HTTP there is no subscription, and the trace travels in
// headers.
func (s *submitConfig) appendBody(jobType string, payload any, overHTTP bool) ([]byte, error) {
	raw, ok := payload.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = plainjson.Marshal(payload); err != nil {
			return nil, fmt.Errorf("marshal payload: %w", err)
		}
	} else if !json.Valid(raw) || !utf8.Valid(raw) {
		// The server would take it for a broken frame, or close the socket (1007).
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
	if s.traceparent != "" && !overHTTP {
		b = appendString(append(b, `,"traceparent":`...), s.traceparent)
	}
	if s.tracestate != "" && !overHTTP {
		b = appendString(append(b, `,"tracestate":`...), s.tracestate)
	}
	if s.callbackURL != "" {
		b = appendString(append(b, `,"callbackUrl":`...), s.callbackURL)
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

// joinLocked takes a reference to the job's subscription. The Job's own goes to the
// first that comes: from then on the subscription lives as long as its readers.
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

// forgetEndLocked lets go of the end that the handle has seen: the job may have been opened again.
func (j *Job) forgetEndLocked() {
	if j.sub != nil && j.sub.ended {
		j.sub, j.held = nil, false
	}
}

// order implements transport.
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
