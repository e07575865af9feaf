// Package processortest runs job handlers in tests, without Kafka and without a tracker:
// the handler sees what a processor would show it, and the test sees the event that the
// processor would append at the end.
package processortest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/internal/bridge"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Job is what the handler is given. Only Type is needed.
type Job struct {
	// Type is the job type, whose handler is run.
	Type string
	// Payload is encoded as JSON, unless it is a json.RawMessage, which is handed on untouched.
	Payload any
	// ID is the job's, "test-job" where it is not set.
	ID string
	// Attempt and Dispatch are 1 where they are not set, MaxAttempts 3. Job.Run is another one in each call of Run.
	Attempt     int
	Dispatch    int
	MaxAttempts int
	Tenant      string
	Subject     string
	// Timeout bounds the handler's context; 0 does not.
	Timeout job.Seconds
}

// Outcome is what the processor would have appended to the job's log.
type Outcome struct {
	// Event is event.Completed, event.Failed or event.Released.
	Event event.Type
	// Result is the result of a completed job.
	Result json.RawMessage
	// Failure is set for event.Failed, and for event.Released when the worker could not run the job.
	Failure *event.Failure
	// File is what the handler attached, or a result above the inline limit; nil when there
	// is none.
	File *File
	// Progress holds every call, in order; a processor would have conflated them.
	Progress []job.Progress
}

// File is a result as it would be in the blob store.
type File struct {
	// Name and ContentType are what the handler gave, or "result.json" and "application/json".
	Name, ContentType string
	// Content is all of it.
	Content []byte
}

// Run registers handlers with a processor that never sees Kafka and runs one of them. To
// see how a handler takes its context's end, cancel ctx with the cause a processor would
// give: processor.ErrCancelled, processor.ErrShutdown. opts are those of processor.New, such as
// processor.WithResultCheck; nothing is logged unless one sets a logger.
func Run(
	ctx context.Context, register func(*processor.Processor), j Job, opts ...processor.Option,
) (Outcome, error) {
	quiet := processor.WithLogger(slog.New(slog.DiscardHandler))
	p, err := processor.New(processor.Config{}, append([]processor.Option{quiet}, opts...)...)
	if err != nil {
		return Outcome{}, err
	}
	register(p)
	payload, err := encode(j.Payload)
	if err != nil {
		return Outcome{}, fmt.Errorf("encode payload: %w", err)
	}
	var (
		mu       sync.Mutex // handlers may report from any goroutine
		progress []job.Progress
		highest  float64
		file     *File
	)
	e := bridge.Try(ctx, p, bridge.Call{
		Request: topic.Request{
			JobID: cmp.Or(j.ID, "test-job"), Job: j.Type, Dispatch: max(j.Dispatch, 1), Attempt: max(j.Attempt, 1),
			Tenant: j.Tenant, Subject: j.Subject,
			Policy: job.Policy{Attempts: attempts(j.MaxAttempts), Timeout: j.Timeout},
		},
		Payload: payload,
		Progress: func(p job.Progress) {
			mu.Lock()
			defer mu.Unlock()
			highest = max(highest, p.Percent)
			p.Percent = highest
			progress = append(progress, p)
		},
		File: func(name, contentType string, content []byte) {
			mu.Lock()
			defer mu.Unlock()
			file = &File{name, contentType, content}
		},
	})
	mu.Lock()
	defer mu.Unlock()
	return Outcome{Event: e.Event, Result: e.Result, Failure: e.Failure, File: file, Progress: progress}, nil
}

func attempts(n int) int {
	if n == 0 {
		return 3
	}
	return n
}

func encode(payload any) ([]byte, error) {
	if raw, ok := payload.(json.RawMessage); ok {
		return raw, nil
	}
	return plainjson.Marshal(payload)
}
