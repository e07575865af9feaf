// Package bridge lets the packages below processor do what programs cannot: processortest runs a
// handler as a processor would, webhook registers its metrics beside the processor's. Package
// processor sets the functions; p is a *processor.Processor.
package bridge

import (
	"context"
	"encoding/json"

	"github.com/prometheus/client_golang/prometheus"

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

// Try runs the handler that p has for the call's job type.
var Try func(ctx context.Context, p any, c Call) Ending

// Register runs what makes metrics in the registry of p; after an error there are none of them.
var Register func(p any, register func(prometheus.Registerer)) error
