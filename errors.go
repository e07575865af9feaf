package ackwire

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

var (
	// ErrClosed is returned by every call on a client that was closed with Close.
	ErrClosed = errors.New("ackwire: client closed")

	// ErrIndeterminate matches every error after which a request may or may not have
	// taken effect. A submit with a Key may simply be repeated.
	ErrIndeterminate = errors.New("ackwire: outcome not known")

	// ErrDisconnected matches errors that a lost connection caused: the IndeterminateError of a
	// request that is not safe to repeat, and, with WithoutReconnect, every error of the client
	// from then on.
	ErrDisconnected = errors.New("ackwire: connection lost")

	// ErrNotFound matches an *Error with the code not_found: there is no such job, or
	// it belongs to another tenant.
	ErrNotFound = errors.New("ackwire: not found")
)

// Error is an error that the server answered with. Code, Retryable, RetryAfter
// (seconds), JobID and Errors are those of the protocol; Status is set when the
// answer came over HTTP.
type Error struct {
	frame.Problem

	foreign bool // answered by a proxy or load balancer in between, not by Ackwire
}

// Error implements error.
func (e *Error) Error() string { return "ackwire: " + e.text() }

func (e *Error) text() string {
	if e.Detail == "" && e.Title != "" {
		return string(e.Code) + ": " + e.Title
	}
	return e.Problem.Error()
}

// Is reports whether the error's code is the one that ErrIndeterminate or ErrNotFound stands for.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrIndeterminate:
		return e.Code == code.Indeterminate
	case ErrNotFound:
		return e.Code == code.NotFound
	}
	return false
}

// RetryDelay is RetryAfter as a duration; 0 when the server named none.
func (e *Error) RetryDelay() time.Duration { return seconds(e.RetryAfter) }

// IndeterminateError says that a request was sent and its outcome is not known: the
// connection or the caller's context ended before the answer came, or the server
// itself could not tell. It matches ErrIndeterminate; Err is the cause.
type IndeterminateError struct {
	// JobID names the job that may exist, if the server said so.
	JobID string
	// Key is the submit's idempotency key. When it is set, the same submit is safe to repeat.
	Key string
	Err error
}

// Error implements error.
func (e *IndeterminateError) Error() string {
	s := "ackwire: outcome not known"
	if e.JobID != "" {
		s += " (job " + e.JobID + ")"
	}
	return s + ": " + e.Err.Error()
}

// Is matches ErrIndeterminate.
func (e *IndeterminateError) Is(target error) bool { return target == ErrIndeterminate }

// Unwrap returns the cause.
func (e *IndeterminateError) Unwrap() error { return e.Err }

// CloseError says that the server closed the connection with a code after which a
// client must not reconnect. Every call on the client returns it from then on.
type CloseError struct {
	Code   code.Close // of the close frame: one of RFC 6455 §7.4.1 or of Ackwire (4000 and above)
	Reason string     // of the close frame; it may be empty
	// Cause is the error frame that came before the close, if there was one.
	Cause *Error
}

// Error implements error.
func (e *CloseError) Error() string { return "ackwire: " + e.text() }

func (e *CloseError) text() string {
	s := "closed by the server: " + strconv.Itoa(int(e.Code))
	if name := e.Code.String(); name != "" {
		s += " " + name
	}
	switch {
	case e.Cause != nil:
		s += ": " + e.Cause.text()
	case e.Reason != "" && e.Reason != e.Code.String():
		s += ": " + e.Reason
	}
	return s
}

// Unwrap returns the cause, if there is one.
func (e *CloseError) Unwrap() error {
	if e.Cause == nil {
		return nil
	}
	return e.Cause
}

// CodeOf returns the code of the first *Error in err's chain, or "" if there is none.
func CodeOf(err error) code.Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// newError makes the error that the server would have answered with, for checks that the client does itself.
func newError(c code.Code, detail string) *Error {
	return &Error{Problem: frame.NewProblem(c, detail)}
}

// httpError reads the error of an HTTP answer: its problem document (RFC 9457), or, when a proxy in between
// answered, the code that fits the HTTP status.
func httpError(resp *http.Response, body []byte) *Error {
	e := &Error{}
	if err := json.Unmarshal(body, &e.Problem); err != nil || e.Code == "" {
		c := codeOfStatus(resp.StatusCode)
		e.foreign = true
		e.Problem = frame.NewProblem(c, fmt.Sprintf("the server answered %d %s", resp.StatusCode,
			http.StatusText(resp.StatusCode)))
	}
	e.Status = resp.StatusCode
	if e.RetryAfter == 0 {
		if after, ok := job.ParseRetryAfter(resp.Header.Get("Retry-After"), time.Now(), maxRetryAfter); ok {
			e.RetryAfter = after.Seconds()
		}
	}
	return e
}

// codeOfStatus returns the error code that fits the HTTP status of an answer without a problem document.
func codeOfStatus(status int) code.Code {
	switch status {
	case http.StatusTooManyRequests:
		return code.RateLimited
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return code.Unavailable
	}
	for _, c := range code.All {
		if c.Info().HTTP == status {
			return c
		}
	}
	if status >= 400 && status < 500 {
		return code.InvalidFrame
	}
	return code.Internal
}

// maxRetryAfter is the longest wait that is read from the server; longer ones are cut to it.
const maxRetryAfter = 24 * time.Hour

// seconds converts a number of seconds from the wire. Negative numbers and NaN are 0, and maxRetryAfter is the most.
func seconds(f float64) time.Duration {
	if !(f > 0) {
		return 0
	}
	return time.Duration(min(f, maxRetryAfter.Seconds()) * float64(time.Second))
}
