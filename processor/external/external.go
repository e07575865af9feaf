// Package external runs handlers that are written in any language: an HTTP endpoint
// (Endpoint) or a command (Command). Both speak the same words about a run: progress, a
// result or an error.
package external

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/job"
)

// MaxResult bounds what a handler may answer, in bytes. What is above the processor's own
// limit for inline results goes to the blob store.
const MaxResult = 8 << 20

// word is what a handler says about its run: one of progress, result and error.
type word struct {
	Progress *progress       `json:"progress"`
	Result   json.RawMessage `json:"result"`
	Error    *failure        `json:"error"`
}

type progress struct {
	Percent float64 `json:"percent"`
	Message string  `json:"message"`
	Current int64   `json:"current"`
	Total   int64   `json:"total"`
}

func (p *progress) tell(j *processor.Job) {
	j.Advance(processor.Progress{Percent: p.Percent, Message: p.Message, Current: p.Current, Total: p.Total})
}

type failure struct {
	Code       string       `json:"code"`
	Message    string       `json:"message"`
	Retryable  *bool        `json:"retryable"` // true unless said otherwise
	RetryAfter *job.Seconds `json:"retryAfter"`
}

// err gives the failure the class that a processor understands.
func (f *failure) err(defaultCode string) error {
	message := f.Message
	if message == "" {
		message = "the handler reported a failure"
	}
	err := errors.New(message)
	switch {
	case f.Retryable != nil && !*f.Retryable:
		err = processor.Permanent(err)
	case f.RetryAfter != nil:
		err = processor.RetryAfter(f.RetryAfter.Duration(), err)
	}
	code := f.Code
	if code == "" {
		code = defaultCode
	}
	return processor.WithCode(code, err)
}

// parseWord reads one word; said is false for JSON that is none, which is then a result
// itself.
func parseWord(b []byte) (w word, said bool, err error) {
	var keys map[string]json.RawMessage
	if json.Unmarshal(b, &keys) != nil || len(keys) != 1 {
		return w, false, nil
	}
	for key := range keys {
		if key != "progress" && key != "result" && key != "error" {
			return w, false, nil
		}
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&w); err != nil {
		return w, true, err
	}
	if w.Progress == nil && w.Error == nil && len(w.Result) == 0 {
		return w, true, errors.New("the value is null")
	}
	return w, true, nil
}

func invalidResult(format string, args ...any) error {
	return processor.WithCode(processor.CodeInvalidResult, processor.Permanent(fmt.Errorf(format, args...)))
}

var errTooLarge = processor.WithCode(job.CodeResultTooLarge, processor.Permanent(fmt.Errorf("the handler answered with more than %d bytes", MaxResult)))

// grace is how long a handler that is told to stop may take.
const grace = 2 * time.Second
