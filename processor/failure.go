package processor

import (
	"context"
	"errors"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/text"
)

// CodeInvalidResult is a permanent failure: the handler's result is not strict JSON (RFC 7493), or does not fit the
// result schema of its job's type (WithResultCheck).
const CodeInvalidResult = job.CodeInvalidResult

// Bounds of what a failure carries into the log of its job.
const (
	maxErrorMessage = 1024 // bytes
	maxErrorCode    = 64   // bytes
)

// A handler's plain error is retryable with the code job.CodeHandlerError. The functions
// below change that and may be combined: WithCode("no_such_user", Permanent(err)).

type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent marks err as one that no further attempt can mend. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

type retryAfterError struct {
	error
	after time.Duration
}

func (e retryAfterError) Unwrap() error { return e.error }

// RetryAfter marks err as retryable after d, in place of the job type's backoff.
// RetryAfter(d, nil) is nil; a negative d counts as 0.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return retryAfterError{err, min(max(d, 0), job.MaxSeconds*time.Second)}
}

type codedError struct {
	error
	code string
}

func (e codedError) Unwrap() error { return e.error }

// WithCode gives err the code that clients see as the job's error.code. WithCode(code, nil)
// is nil; a code longer than 64 bytes is cut.
func WithCode(code string, err error) error {
	if err == nil {
		return nil
	}
	return codedError{err, code}
}

// failureOf classifies what a handler returned. cause is why the handler's context ended,
// nil when it did not.
func failureOf(err, cause error) *event.Failure {
	f := &event.Failure{
		Error: job.Error{Code: job.CodeHandlerError, Retryable: true, Message: text.Clip(err.Error(), maxErrorMessage)},
	}
	var (
		coded      codedError
		permanent  permanentError
		retryAfter retryAfterError
		classified bool
	)
	if errors.As(err, &coded) {
		classified = true
		if code := text.Clip(coded.code, maxErrorCode); code != "" {
			f.Code = code
		}
	}
	if errors.As(err, &retryAfter) {
		after := job.Seconds(min(retryAfter.after, job.MaxRetryAfter))
		f.RetryAfter = &after
	}
	if errors.As(err, &permanent) {
		classified = true
		f.Retryable, f.RetryAfter = false, nil
	}
	if !classified && errors.Is(cause, ErrTimeout) {
		f.Code = job.CodeTimeout
	}
	return f
}

// cancelled is the outcome of a run whose owner wanted it to stop.
func cancelled(message string) *event.Failure {
	return &event.Failure{Error: job.Error{Code: job.CodeCancelled, Message: text.Clip(message, maxErrorMessage)}}
}

// Why a handler's context ended: context.Cause gives one of these.
var (
	// ErrCancelled: the job's owner wants it to stop. Whatever the handler then returns, the
	// job is cancelled.
	ErrCancelled = errors.New("the job was cancelled")
	// ErrStopped: the tracker refused the run; another one may hold the job. Nothing the
	// handler returns is recorded.
	ErrStopped = errors.New("the run was stopped")
	// ErrLeaseLost: the run could not renew its lease in time, so another one may hold the
	// job soon. Nothing the handler returns is recorded.
	ErrLeaseLost = errors.New("the run's lease was lost")
	// ErrShutdown: the processor stops. A result is still recorded; with an error the job
	// is given back at no cost.
	ErrShutdown = errors.New("the processor stops")
	// ErrTimeout: the attempt took longer than its timeout. It is a
	// context.DeadlineExceeded as well.
	ErrTimeout error = timeoutError{}
)

type timeoutError struct{}

func (timeoutError) Error() string        { return "the attempt took longer than its timeout" }
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }
