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

// CodeInvalidProgress is a permanent failure: the handler gave a stage or data that progress cannot have, and returned
// Job.Advance's error.
const CodeInvalidProgress = job.CodeInvalidProgress

// Bounds of the texts of a failure in the job's log.
const (
	maxErrorMessage = 1024 // bytes
	maxErrorCode    = 64   // bytes
)

// A handler's plain error is retryable with the code job.CodeHandlerError. The functions
// below change that and may be combined: WithCode("no_such_user", Permanent(err)).

type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent marks err as a failure that another attempt would repeat: the job fails without further attempts.
// Permanent(nil) is nil.
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

// CodeOf returns the code that clients would see if a handler returned err; "" if err is nil.
func CodeOf(err error) string {
	if err == nil {
		return ""
	}
	return failureOf(err, nil).Code
}

// failureOf classifies the error that a handler returned. cause is why the handler's context ended, nil if it did not.
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

// cancelled returns the failure of a run whose job was cancelled.
func cancelled(message string) *event.Failure {
	return &event.Failure{Error: job.Error{Code: job.CodeCancelled, Message: text.Clip(message, maxErrorMessage)}}
}

// Causes of the end of a handler's context: context.Cause returns one of these.
var (
	// ErrCancelled says that the job was cancelled. It ends cancelled, whatever the handler returns.
	ErrCancelled = errors.New("the job was cancelled")
	// ErrStopped says that the tracker has stopped the run, because another run may hold the job. The handler's
	// result is not recorded.
	ErrStopped = errors.New("the run was stopped")
	// ErrLeaseLost says that the run could not renew its lease in time, so that another run may soon hold the
	// job. The handler's result is not recorded.
	ErrLeaseLost = errors.New("the run's lease was lost")
	// ErrShutdown says that the processor stops. A result is still recorded; with an error the job
	// is handed back, which costs no attempt.
	ErrShutdown = errors.New("the processor stops")
	// ErrTimeout says that the attempt took longer than its timeout. It matches
	// context.DeadlineExceeded too.
	ErrTimeout error = timeoutError{}
)

type timeoutError struct{}

func (timeoutError) Error() string        { return "the attempt took longer than its timeout" }
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }
