package processor

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/strict"
)

// ending is the terminal event of a run, without the run's identity.
type ending struct {
	event   event.Type
	outcome outcome
	result  json.RawMessage
	file    *event.Blob
	failure *event.Failure
}

// end decides how a run ends after its handler has returned. cause is why the handler's context ended, nil if it
// did not; limit bounds the result's size, in bytes.
func end(result json.RawMessage, err, cause error, limit int) ending {
	switch {
	case errors.Is(cause, ErrCancelled):
		message := "cancelled while it ran"
		if err != nil {
			message = err.Error()
		}
		return ending{event: event.Failed, outcome: ranCancelled, failure: cancelled(message)}
	case err == nil:
		return endWith(result, limit)
	}
	if e, unable := handBack(err); unable {
		return e
	}
	switch {
	case errors.Is(cause, ErrShutdown):
		return ending{event: event.Released, outcome: ranReleased}
	default:
		return ending{event: event.Failed, outcome: ranFailed, failure: failureOf(err, cause)}
	}
}

func endWith(result json.RawMessage, limit int) ending {
	if len(result) > limit {
		return tooLarge(fmt.Sprintf("the result has %d bytes, above the limit of %d", len(result), limit))
	}
	if err := checkResult(result); err != nil {
		return ending{event: event.Failed, outcome: ranFailed, failure: event.InvalidResult(err)}
	}
	return ending{event: event.Completed, outcome: ranCompleted, result: result}
}

// checkResult returns an error if a result is not strict JSON.
func checkResult(result json.RawMessage) error {
	if len(result) == 0 {
		return nil
	}
	return strict.Check(result)
}

func tooLarge(message string) ending { return permanently(job.CodeResultTooLarge, message) }

func permanently(code, message string) ending {
	return ending{event: event.Failed, outcome: ranFailed,
		failure: &event.Failure{Error: job.Error{Code: code, Message: message}}}
}
