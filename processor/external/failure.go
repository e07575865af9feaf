package external

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/strict"
)

// failure is a handler's own description of its failure. Fields that it leaves out are derived from how the handler
// ended: its exit code or its HTTP status.
type failure struct {
	code, message string
	retryable     *bool
	retryAfter    *time.Duration
}

// readFailure reads the failure that a command, an endpoint or a callback reports. It accepts a string ("disk full"),
// an object with code, message (or detail, or title, as in RFC 9457), retryable and retryAfter in seconds, and an
// object whose member error is one of these. A field of a wrong type is ignored, so that the rest of the description
// is not lost. It never returns nil.
func readFailure(raw json.RawMessage) *failure {
	f := &failure{}
	if json.Unmarshal(raw, &f.message) == nil && f.message != "" {
		return f
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil || fields == nil {
		f.message = string(raw)
		return f
	}
	if inner, ok := fields["error"]; ok && string(inner) != "null" {
		f = readFailure(inner)
	}
	text := func(into *string, name string) {
		var s string
		if json.Unmarshal(fields[name], &s) == nil && *into == "" {
			*into = s
		}
	}
	text(&f.code, "code")
	for _, name := range []string{"message", "detail", "title"} {
		text(&f.message, name)
	}
	var retryable *bool
	if json.Unmarshal(fields["retryable"], &retryable) == nil && f.retryable == nil {
		f.retryable = retryable
	}
	var after *job.Seconds
	if strict.Unmarshal(fields["retryAfter"], &after) == nil && after != nil && f.retryAfter == nil {
		d := after.Duration()
		f.retryAfter = &d
	}
	return f
}

// end says how a handler ended. It has the defaults for fields that a failure leaves out.
type end struct {
	code, message string
	permanent     bool
	retryAfter    *time.Duration
}

// err returns the failure as an error that a processor can classify.
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
