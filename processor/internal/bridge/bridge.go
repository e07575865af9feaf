// Package bridge lets processortest run a handler as a processor would, without making
// that a part of package processor's own face.
package bridge

import (
	"context"
	"encoding/json"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Call is one execution of a handler.
type Call struct {
	Request  topic.Request
	Payload  []byte
	Progress func(job.Progress)
	File     func(name, contentType string, content []byte)
}

// Ending is the terminal event that a run would append.
type Ending struct {
	Event   event.Type
	Result  json.RawMessage
	Failure *event.Failure
}

// Try runs the handler that p (a *processor.Processor) has for the call's job type. Package
// processor sets it.
var Try func(ctx context.Context, p any, c Call) Ending
