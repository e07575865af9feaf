package processor

import (
	"context"
	"io"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/processor/internal/bridge"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/fleet"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

func init() {
	bridge.Try = try
	bridge.WorkerLog = func(j any) *slog.Logger { return j.(*Job).own }
	bridge.Paused = func(p any, paused func() ([]fleet.Paused, bool)) (changed func()) {
		a := p.(*Processor).announcing
		a.mu.Lock()
		defer a.mu.Unlock()
		a.paused = paused
		return a.news.Send
	}
	bridge.Register = func(p any, register func(prometheus.Registerer)) error {
		return p.(*Processor).registry.all(register)
	}
}

// try implements bridge.Try: it runs a handler without Kafka, and so without claim, lease and conflation.
func try(ctx context.Context, p any, c bridge.Call) bridge.Ending {
	proc, req := p.(*Processor), c.Request
	if d := req.Policy.Timeout.Duration(); d > 0 {
		timed, stop := context.WithTimeoutCause(ctx, d, ErrTimeout)
		defer stop()
		ctx = timed
	}
	runID := newRunID()
	j := &Job{
		ID: req.JobID, Type: req.Job, Attempt: req.Attempt, MaxAttempts: req.Policy.Attempts,
		Dispatch: req.Dispatch, Run: runID, Tenant: req.Tenant, Subject: req.Subject, Tags: req.Tags,
		report: c.Progress,
		store: func(_ context.Context, f File) (*event.Blob, error) {
			content, err := io.ReadAll(f.Content)
			if err != nil {
				return nil, WithCode(job.CodeResultNotStored, err)
			}
			c.File(f.Name, f.ContentType, content)
			return &event.Blob{Key: event.ResultFolder(req.JobID, req.Life) + runID, Size: int64(len(content)),
				ContentType: f.ContentType, Name: f.Name}, nil
		},
	}
	written := newStreams(identity{req.JobID, req.Dispatch, runID}, proc.limitsOf(req.Job), proc.metrics.streams,
		func(piece stream.Chunk, done func(error)) {
			c.Piece(piece)
			go done(nil) // not here: it takes the lock under which pieces are sent
		})
	written.ctx = ctx
	j.connect(proc.log.With("job", req.JobID, "run", runID, "attempt", req.Attempt), written)
	err := proc.lacks(req.Job, "")
	var result []byte
	if err == nil {
		result, err = proc.handler(req.Job).call(ctx, j, c.Payload)
	}
	if err == nil {
		result, err = j.spill(ctx, result, proc.cfg.ResultLimit)
	}
	if unsaved := written.shut(proc.bounds.Delivery); err == nil {
		err = unsaved
	}
	e := end(result, err, context.Cause(ctx), proc.cfg.ResultLimit)
	return bridge.Ending{Event: e.event, Result: e.result, Failure: e.failure, Streams: written.seal()}
}
