package ackwiretest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// nextTimeout bounds how long Next waits for a job.
const nextTimeout = time.Minute

// Job is one attempt of a job, as a worker has it. What is said after the attempt has ended, also by a cancel or a
// deadline, changes nothing.
type Job struct {
	// ID, Type and Payload are the job's. Attempt counts from 1.
	ID      string
	Type    string
	Payload json.RawMessage
	Attempt int
	// Submitted is all that the client sent: the key, the callback, the trace and so on.
	Submitted frame.SubmitRequest

	s    *Server
	r    *record
	done chan struct{} // closed when the attempt has ended, or was asked to
}

// HandlerFunc works on a job. What it returns is the job's result, as encoding/json writes it; nil is none. A
// *Failure says how the attempt failed; any other error is a failure with the code handler_error that is tried again,
// as with a real worker. ctx ends when the job is cancelled, its time is over, or the server closes; context.Cause
// says why.
type HandlerFunc func(ctx context.Context, j *Job) (result any, err error)

// Failure is how an attempt failed.
type Failure struct {
	// Code is for programs, Message for people: the job's error.code and error.message.
	Code, Message string
	// Retryable failures are tried again while attempts are left (3 in all).
	Retryable bool
}

// Error implements error.
func (f *Failure) Error() string { return f.Code + ": " + f.Message }

// Handle has fn work on all jobs of a type, each in a goroutine of its own, those that wait already included.
func (s *Server) Handle(jobType string, fn HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[jobType] = fn
	for _, r := range s.order {
		s.handOutLocked(r)
	}
}

// Handle has fn work on all jobs of a declared type. A payload that does not fit In fails with the code
// invalid_payload.
func Handle[In, Out any](
	s *Server, t ackwire.JobType[In, Out], fn func(ctx context.Context, j *Job, in In) (Out, error),
) {
	s.Handle(t.Name(), func(ctx context.Context, j *Job) (any, error) {
		var in In
		if err := json.Unmarshal(j.Payload, &in); err != nil {
			return nil, &Failure{Code: job.CodeInvalidPayload, Message: "decode payload: " + err.Error()}
		}
		return fn(ctx, j, in)
	})
}

// Next takes the oldest job that waits for a worker, of one of the types if there are any, and begins its attempt. It
// waits until there is one, and fails the test after a minute.
func (s *Server) Next(t testing.TB, types ...string) *Job {
	t.Helper()
	timeout := time.NewTimer(nextTimeout)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		changed := s.changed
		for _, r := range s.order {
			if r.doc.State == job.Pending && (len(types) == 0 || slices.Contains(types, r.doc.Type)) {
				j := s.beginLocked(r)
				s.mu.Unlock()
				return j
			}
		}
		s.mu.Unlock()
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal("ackwiretest: the test ended while it waited for a job")
		case <-timeout.C:
			t.Fatalf("ackwiretest: no job waits for a worker within %s", nextTimeout)
		}
	}
}

// Decode reads the payload into v.
func (j *Job) Decode(v any) error { return json.Unmarshal(j.Payload, v) }

// Cancelled is closed when the attempt should end: its job was cancelled, or it has ended already.
func (j *Job) Cancelled() <-chan struct{} { return j.done }

// Progress tells how far the attempt has come: 0 to 100 percent, which never falls.
func (j *Job) Progress(percent float64, message string) {
	j.change(func(r *record) {
		was := 0.0
		if r.doc.Progress != nil {
			was = r.doc.Progress.Percent
		}
		r.doc.Progress = &job.Progress{Percent: min(100, max(was, percent)), Message: message}
	})
}

// Complete ends the job with a result, which is any value that encoding/json marshals; nil is none. It panics for one
// that cannot be marshalled.
func (j *Job) Complete(result any) {
	var raw json.RawMessage
	if result != nil {
		var err error
		if raw, err = plainjson.Marshal(result); err != nil {
			panic(fmt.Sprintf("ackwiretest: result of %s: %v", j.ID, err))
		}
	}
	j.change(func(r *record) { r.complete(raw, nil) })
}

// CompleteFile ends the job with a file, which Job.Result of the client opens.
func (j *Job) CompleteFile(name, contentType string, content []byte) {
	f := &file{name: name, contentType: contentType, content: slices.Clone(content)}
	j.change(func(r *record) { r.complete(nil, f) })
}

// Fail ends the job for good: failed, or cancelled if it was cancelled meanwhile.
func (j *Job) Fail(code, message string) { j.fail(&Failure{Code: code, Message: message}) }

// FailAttempt ends the attempt with a failure that is tried again: the job waits for the next attempt, or has failed
// when this was the last one.
func (j *Job) FailAttempt(code, message string) {
	j.fail(&Failure{Code: code, Message: message, Retryable: true})
}

func (j *Job) fail(f *Failure) { j.change(func(r *record) { r.fail(f) }) }

// change changes the job while this attempt holds it.
func (j *Job) change(f func(*record)) {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	if j.r.run != j || j.r.doc.State != job.Processing {
		return
	}
	f(j.r)
	j.s.changedLocked(j.r)
}

// Causes of the end of a handler's context.
var (
	errCancelled = errors.New("the job was cancelled")
	errOver      = errors.New("the attempt is over")
)

// endOf is why the attempt should end.
func (j *Job) endOf() error {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	if j.r.run == j && j.r.doc.CancelRequested {
		return errCancelled
	}
	return errOver
}

// work runs a handler.
func (j *Job) work(fn HandlerFunc) {
	ctx, cancel := context.WithCancelCause(j.s.ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	defer close(stop)
	j.s.wg.Go(func() {
		select {
		case <-j.done:
			cancel(j.endOf())
		case <-stop:
		}
	})
	result, err := fn(ctx, j)
	f, failed := errors.AsType[*Failure](err)
	switch {
	case failed:
		j.fail(f)
	case err != nil && errors.Is(context.Cause(ctx), errCancelled):
		j.Fail(job.CodeCancelled, err.Error())
	case err != nil:
		j.FailAttempt(job.CodeHandlerError, err.Error())
	default:
		j.Complete(result)
	}
}
