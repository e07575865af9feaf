package external

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/strict"
)

// failure is what a handler says of why it failed. A field that it does not say is taken from how
// it ended: the exit code, the status, or neither for a callback.
type failure struct {
	code, message string
	retryable     *bool
	retryAfter    *time.Duration
}

// readFailure is the one reading of a failure for commands, endpoints and callbacks. It takes prose
// ("disk full"), an object with code, message (or detail, or title, as in RFC 9457), retryable and
// retryAfter in seconds, and an object whose error is one of these. A field of another type counts
// as not said: what went wrong is not lost for how it was told. It never returns nil.
func readFailure(raw json.RawMessage) *failure {
	f := &failure{}
	if json.Unmarshal(raw, &f.message) == nil && f.message != "" {
		return f
	}
	var said map[string]json.RawMessage
	if json.Unmarshal(raw, &said) != nil || said == nil {
		f.message = string(raw)
		return f
	}
	if inner, ok := said["error"]; ok && string(inner) != "null" {
		f = readFailure(inner)
	}
	text := func(into *string, name string) {
		var s string
		if json.Unmarshal(said[name], &s) == nil && *into == "" {
			*into = s
		}
	}
	text(&f.code, "code")
	for _, name := range []string{"message", "detail", "title"} {
		text(&f.message, name)
	}
	var retryable *bool
	if json.Unmarshal(said["retryable"], &retryable) == nil && f.retryable == nil {
		f.retryable = retryable
	}
	var after *job.Seconds
	if strict.Unmarshal(said["retryAfter"], &after) == nil && after != nil && f.retryAfter == nil {
		d := after.Duration()
		f.retryAfter = &d
	}
	return f
}

// end is how a handler ended: what holds of a failure that does not say otherwise.
type end struct {
	code, message string
	permanent     bool
	retryAfter    *time.Duration
}

// err gives the failure the class that a processor understands.
func (f *failure) err(e end) error {
	err := errors.New(first(f.message, e.message, "the handler reported a failure"))
	permanent := e.permanent
	if f.retryable != nil {
		permanent = !*f.retryable
	}
	after := e.retryAfter
	if f.retryAfter != nil {
		after = f.retryAfter
	}
	switch {
	case permanent:
		err = processor.Permanent(err)
	case after != nil:
		err = processor.RetryAfter(*after, err)
	}
	return processor.WithCode(first(f.code, e.code), err)
}

func first(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}
