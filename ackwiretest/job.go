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
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// nextTimeout bounds how long Next waits for a job.
const nextTimeout = time.Minute

// Job is one attempt of a job, as a worker sees it. Its methods change nothing once the attempt has ended, be it by a
// cancel, a timeout or a deadline.
type Job struct {
	// ID, Type and Payload are the job's. Attempt counts from 1.
	ID      string
	Type    string
	Payload json.RawMessage
	Attempt int
	// Submitted is the submit as the client sent it, with its key, callback, trace and so on.
	Submitted frame.SubmitRequest

	s    *Server
	r    *record
	done chan struct{} // closed when the attempt has ended, or its job was cancelled
}

// HandlerFunc works on a job. The result that it returns is encoded with encoding/json; nil is no result. A *Failure
// says how the attempt failed; any other error counts as a retryable failure with the code handler_error, as with a
// real worker. ctx ends when the job is cancelled, its time is over, or the server closes; context.Cause says why.
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

// Handle registers fn for all jobs of a type, also for those that are waiting now. It runs in a goroutine per job.
func (s *Server) Handle(jobType string, fn HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[jobType] = fn
	for _, r := range s.order {
		s.handOutLocked(r)
	}
}

// Handle registers fn for all jobs of a declared type. A job whose payload cannot be decoded into In fails with the
// code invalid_payload.
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

// Next takes the oldest job that waits for a worker and begins its attempt. If types are given, it takes only jobs of
// these types. It waits for a job if there is none, and fails the test after a minute.
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

// Cancelled returns a channel that is closed when the attempt should end: its job was cancelled, or the attempt has
// ended already.
func (j *Job) Cancelled() <-chan struct{} { return j.done }

// Progress reports the attempt's progress, 0 to 100 percent. A percentage below an earlier one is raised to that one.
func (j *Job) Progress(percent float64, message string) {
	j.progress(job.Progress{Percent: percent, Message: message})
}

// Advance is like Progress, and also takes counts, a stage and data. Like a real worker's it fails, and reports
// nothing, if the stage or the data is not valid; a handler that returns this error fails the job with the code
// invalid_progress.
func (j *Job) Advance(p job.Progress) error {
	if err := p.Settle(); err != nil {
		return &Failure{Code: job.CodeInvalidProgress, Message: "progress: " + err.Error()}
	}
	j.progress(p)
	return nil
}

// progress replaces the attempt's progress, of which only the percentage does not fall.
func (j *Job) progress(p job.Progress) {
	p.Omitted = nil
	j.change(func(r *record) {
		was := 0.0
		if r.doc.Progress != nil {
			was = r.doc.Progress.Percent
		}
		p.Percent = min(100, max(was, p.Percent))
		r.doc.Progress = &p
	})
}

// Complete ends the job with a result: any value that encoding/json can marshal, or nil for none. It panics if the
// result cannot be marshalled.
func (j *Job) Complete(result any) {
	var raw json.RawMessage
	if result != nil {
		var err error
		if raw, err = plainjson.Marshal(result); err != nil {
			panic(fmt.Sprintf("ackwiretest: result of %s: %v", j.ID, err))
		}
	}
	j.change(func(r *record) {
		if err := j.s.types.CheckResult(j.Type, raw); err != nil {
			f := event.InvalidResult(err)
			r.fail(&Failure{Code: f.Error.Code, Message: f.Error.Message})
			return
		}
		r.complete(raw, nil)
	})
}

// CompleteFile ends the job with a file as its result, which the client opens with ackwire.Job.Result.
func (j *Job) CompleteFile(name, contentType string, content []byte) {
	f := &file{name: name, contentType: contentType, content: slices.Clone(content)}
	j.change(func(r *record) { r.complete(nil, f) })
}

// Fail ends the job with a permanent failure. The job is then failed, or cancelled if a cancel was requested.
func (j *Job) Fail(code, message string) { j.fail(&Failure{Code: code, Message: message}) }

// FailAttempt ends the attempt with a retryable failure: the job waits for its next attempt, or has failed if this was
// the last one.
func (j *Job) FailAttempt(code, message string) {
	j.fail(&Failure{Code: code, Message: message, Retryable: true})
}

func (j *Job) fail(f *Failure) { j.change(func(r *record) { r.fail(f) }) }

// change applies f to the job's record if this attempt is still the one that runs.
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

// endOf returns why the attempt should end, as the cause of its context.
func (j *Job) endOf() error {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	if j.r.run == j && j.r.doc.CancelRequested {
		return errCancelled
	}
	return errOver
}

// work runs a handler and ends the attempt with what it returns.
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
