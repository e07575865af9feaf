package shard

import (
	"context"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Snapshot is a job as a question finds it.
type Snapshot struct {
	Job         *trackerpb.Job
	State       job.State
	Source      event.Position
	PayloadHash string
	Round       int
	Life        string
	ResultBlob  *event.Blob
	Lane        string
	Request     *event.Position
	Deliveries  []event.Delivery
	AsOf        time.Time
	// Created is when the job was created, and Updated when it changed last, as its document has it.
	Created, Updated time.Time
	// Folded is the offset up to which the log is folded.
	Folded int64
}

// snapshot returns the entry's job as it is now.
func (s *Shard) snapshot(e *entry) Snapshot {
	j := e.job
	return Snapshot{Job: e.document(), State: j.Doc.State, Source: j.Source, PayloadHash: j.PayloadHash,
		Round: j.Round, Life: j.Life,
		ResultBlob: j.ResultBlob,
		Lane:       j.Doc.Lane, Request: j.Request, Deliveries: j.Deliveries, AsOf: s.clock.fresh.asOf,
		Created: j.Doc.CreatedAt, Updated: j.Doc.UpdatedAt, Folded: s.pos.next}
}

// Query is a question for one job.
type Query struct {
	JobID string
	Scope Scope
	// MinVersion waits until the log is folded up to here.
	MinVersion int64
	// After waits until the job's version is above it.
	After int64
	// UntilTerminal waits until the job has ended.
	UntilTerminal bool
}

// answer is the reply to a question, or why there is none.
type answer[T any] struct {
	value T
	err   error
}

// Get answers q, waiting as long as it asks for and ctx allows.
func (s *Shard) Get(ctx context.Context, q Query) (Snapshot, error) {
	reply := make(chan answer[Snapshot], 1)
	a := &ask{ctx: ctx, id: q.JobID, scope: q.Scope, min: q.MinVersion}
	a.missing = func() { reply <- answer[Snapshot]{err: ErrNotFound} }
	a.fail = func(err error) { reply <- answer[Snapshot]{err: err} }
	a.found = func(e *entry) {
		if q.UntilTerminal && e.job.Ended() && !a.fresh && q.MinVersion == 0 {
			s.questions.wantEnd(a) // a retry may be acked that is not folded yet
			return
		}
		if e.job.Version <= q.After || q.UntilTerminal && !e.job.Ended() {
			s.questions.poll(e, a)
			return
		}
		reply <- answer[Snapshot]{value: s.snapshot(e)}
	}
	return await(ctx, s, reply, func() { s.questions.resolve(a) })
}

// await runs f on the shard's goroutine and waits for its reply.
func await[T any](ctx context.Context, s *Shard, reply chan answer[T], f func()) (T, error) {
	var none T
	if err := s.call(ctx, f); err != nil {
		return none, err
	}
	select {
	case r := <-reply:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	case <-s.done:
		return none, ErrNotOwner
	}
}
