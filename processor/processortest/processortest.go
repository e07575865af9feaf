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
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Job describes the job that the handler gets. Only Type is required.
type Job struct {
	// Type is the job type, whose handler is run.
	Type string
	// Payload is encoded as JSON, unless it is a json.RawMessage, which is passed on unchanged.
	Payload any
	// ID is the job's ID; "test-job" if it is not set.
	ID string
	// Attempt and Dispatch are 1 if they are not set, MaxAttempts is 3. The handler's Job.Run is a new one in each
	// call of Run.
	Attempt     int
	Dispatch    int
	MaxAttempts int
	Tenant      string
	Subject     string
	Tags        map[string]string
	// Timeout bounds the handler's context; 0 means no bound.
	Timeout job.Seconds
}

// Outcome is the event that the processor would append to the job's log.
type Outcome struct {
	// Event is event.Completed, event.Failed or event.Released.
	Event event.Type
	// Result is the result of a completed job.
	Result json.RawMessage
	// Failure is set for event.Failed, and for event.Released when the worker could not run the job.
	Failure *event.Failure
	// File is the file that the handler attached, or a result above the inline limit; nil if there
	// is none.
	File *File
	// Progress holds every call of Progress or Advance that was valid, in order; a processor would conflate them.
	Progress []job.Progress
	// Streams holds what the handler wrote to its streams, by name; the job's log is "log". It is nil if the handler wrote
	// nothing.
	Streams map[string]Stream
}

// Stream is what a handler wrote to one stream.
type Stream struct {
	// Kind says which of the others is set.
	Kind job.StreamKind
	// Text is the whole text, of the kind text.
	Text string
	// Items are all values, of the kind json.
	Items []json.RawMessage
}

// File is a result as it would be in the blob store.
type File struct {
	// Name and ContentType are those of the attached file; "result.json" and "application/json" for a result.
	Name, ContentType string
	// Content is the whole content.
	Content []byte
}

// Run registers handlers with a processor that does not connect to Kafka, and runs the handler of j.Type. To test how a
// handler reacts to the end of its context, cancel ctx with a cause that a processor would give, such as
// processor.ErrCancelled or processor.ErrShutdown. opts are those of processor.New, such as processor.WithResultCheck;
// nothing is logged unless one of them sets a logger.
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
		written  = map[string]Stream{}
	)
	e := bridge.Try(ctx, p, bridge.Call{
		Request: topic.Request{
			JobID: cmp.Or(j.ID, "test-job"), Job: j.Type, Dispatch: max(j.Dispatch, 1), Attempt: max(j.Attempt, 1),
			Tenant: j.Tenant, Subject: j.Subject, Tags: j.Tags,
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
		Piece: func(c stream.Chunk) {
			mu.Lock()
			defer mu.Unlock()
			written[c.Stream] = appended(written[c.Stream], c)
		},
	})
	mu.Lock()
	defer mu.Unlock()
	if len(written) == 0 {
		written = nil
	}
	return Outcome{Event: e.Event, Result: e.Result, Failure: e.Failure, File: file, Progress: progress,
		Streams: written}, nil
}

// appended returns a stream with one more piece.
func appended(s Stream, c stream.Chunk) Stream {
	s.Kind = c.Kind
	if c.Kind == job.StreamText {
		s.Text += string(c.Value)
		return s
	}
	items, err := stream.Items(c.Value)
	if err != nil {
		panic("processortest: a processor sends a piece that is no array: " + err.Error())
	}
	s.Items = append(s.Items, items...)
	return s
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
