package bridge

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/fleet"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Call is one execution of a handler.
type Call struct {
	Request  topic.Request
	Payload  []byte
	Progress func(job.Progress)
	File     func(name, contentType string, content []byte)
	Piece    func(stream.Chunk) // a piece of a stream; the pieces of each stream come in order
}

// Ending is the terminal event that a run would append to the job's log.
type Ending struct {
	Event   event.Type
	Result  json.RawMessage
	Failure *event.Failure
	Streams job.Streams
}

// Try runs the handler that is registered with p for the call's job type.
var Try func(ctx context.Context, p any, c Call) Ending

// WorkerLog returns the logger of a *processor.Job that writes to the worker's log alone: the job's owner does not see
// its lines.
var WorkerLog func(job any) *slog.Logger

// Paused has the announcements of p tell which endpoints of webhooks are paused, and whether there are more than it
// lists. changed is to be called when there is another one.
var Paused func(p any, paused func() (list []fleet.Paused, more bool)) (changed func())

// Register calls register with the registry of p. After an error none of its metrics are registered.
var Register func(p any, register func(prometheus.Registerer)) error
