package external

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/strict"
)

// MaxResult bounds a handler's answer, in bytes. A result above the processor's limit for inline results goes to the
// blob store.
const MaxResult = 8 << 20

// word is a handler's message about its run. One of its fields is set.
type word struct {
	Progress *progress
	Result   json.RawMessage
	Error    *failure
	Chunk    *chunk
}

type progress struct {
	Percent float64         `json:"percent"`
	Message string          `json:"message"`
	Current int64           `json:"current"`
	Total   int64           `json:"total"`
	Stage   string          `json:"stage"`
	Data    json.RawMessage `json:"data"`
}

// tell reports p. It fails, and reports nothing, if the stage or the data is not valid.
func (p *progress) tell(j *processor.Job) error {
	return j.Advance(processor.Progress{
		Percent: p.Percent, Message: p.Message, Current: p.Current, Total: p.Total, Stage: p.Stage, Data: p.Data,
	})
}

// parseWord reads a message from strict JSON: an object with the one key result, progress or error, or with the keys of
// a chunk. ok is false for any other JSON, which is then a result itself.
func parseWord(b []byte) (w word, ok bool, err error) {
	var keys map[string]json.RawMessage
	if json.Unmarshal(b, &keys) != nil {
		return w, false, nil
	}
	if isChunk(keys) {
		w.Chunk, err = parseChunk(b)
		return w, true, err
	}
	if len(keys) != 1 {
		return w, false, nil
	}
	if value, ok := keys["result"]; ok {
		return word{Result: value}, true, nil
	}
	if value, ok := keys["progress"]; ok {
		err = strict.Unmarshal(value, &w.Progress)
		if err == nil && w.Progress == nil {
			err = errors.New("the value is null")
		}
		return w, true, err
	}
	if value, ok := keys["error"]; ok {
		if string(value) == "null" {
			return w, true, errors.New("the value is null")
		}
		w.Error = readFailure(value)
		return w, true, nil
	}
	return w, false, nil
}

func invalidResult(format string, args ...any) error {
	return processor.WithCode(processor.CodeInvalidResult, processor.Permanent(fmt.Errorf(format, args...)))
}

var errTooLarge = processor.WithCode(job.CodeResultTooLarge,
	processor.Permanent(fmt.Errorf("the handler answered with more than %d bytes", MaxResult)))

// grace is how long a command that is told to stop may take before it is killed.
const grace = 2 * time.Second
