package shard

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// ask is a question about one job on its way to an answer. Exactly one of found, missing
// and fail is called, on the shard's goroutine; none blocks.
type ask struct {
	ctx   context.Context
	id    string
	scope Scope
	// min is the position below which the question waits; below it nothing is known.
	min int64
	// fresh is set once min covers all that the log held after the question arrived: only
	// then may "no such job" be said, or "it has ended" to those who wait for the end.
	fresh bool

	found   func(*entry)
	missing func()
	fail    func(error)
	// reached is called in place of found and missing by a question that is not about one
	// job, once the log is folded up to min.
	reached func()
}

// resolve answers the question or parks it.
func (s *Shard) resolve(a *ask) {
	switch {
	case s.left:
		a.fail(ErrNotOwner)
		return
	case a.ctx.Err() != nil:
		a.fail(a.ctx.Err())
		return
	case !s.catching.ready.Load():
		a.fail(ErrNotReady)
		return
	case s.pos.next < a.min:
		s.park(a)
		return
	case a.reached != nil:
		a.reached()
		return
	}
	e, err := s.jobs.find(a.id, a.scope)
	switch {
	case err != nil:
		a.fail(err)
	case e != nil:
		a.found(e)
	case a.fresh:
		a.missing()
	default:
		s.wantEnd(a)
	}
}

// wantEnd resolves the question again once all that the log holds now is folded.
func (s *Shard) wantEnd(a *ask) {
	if len(s.endWanted) >= maxParked {
		a.fail(s.metrics.overload(boundParked))
		return
	}
	s.endWanted = append(s.endWanted, a)
	s.askEnd()
}

func (s *Shard) park(a *ask) {
	if len(s.parked) >= maxParked {
		a.fail(s.metrics.overload(boundParked))
		return
	}
	s.parked = append(s.parked, a)
}

// unpark looks again at the questions that waited for the log.
func (s *Shard) unpark() {
	if len(s.parked) == 0 {
		return
	}
	waiting := s.parked
	s.parked = nil
	for i, a := range waiting {
		if s.pos.next < a.min && a.ctx.Err() == nil {
			s.parked = append(s.parked, waiting[i])
			continue
		}
		s.resolve(a)
	}
}

// askEnd learns where the log ends now. One request serves all questions that arrived
// before it was sent; those that arrive later wait for the next.
func (s *Shard) askEnd() {
	if s.endAsking || len(s.endWanted) == 0 || s.left {
		return
	}
	s.endAsking = true
	s.endAsked, s.endWanted = s.endWanted, nil
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(s.life, s.bounds.Ask)
		defer cancel()
		end, err := s.sender.kafka.EndOffset(ctx, s.partition)
		// Has the shard ended, leave answers them.
		_ = s.call(s.life, func() {
			asks := s.endAsked
			s.endAsking, s.endAsked = false, nil
			for _, a := range asks {
				if err != nil {
					a.fail(fmt.Errorf("%w: %w", ErrLogAway, err))
					continue
				}
				a.min, a.fresh = max(a.min, end), true
				s.resolve(a)
			}
			s.askEnd()
		})
	})
}

// sweep drops questions whose asker has gone.
func (s *Shard) sweep() {
	gone := func(a *ask) bool {
		if a.ctx.Err() == nil {
			return false
		}
		a.fail(a.ctx.Err())
		return true
	}
	s.parked = slices.DeleteFunc(s.parked, gone)
	for e := range s.polled {
		had := len(e.waits)
		e.waits = slices.DeleteFunc(e.waits, gone)
		s.polls -= had - len(e.waits)
		if len(e.waits) == 0 {
			delete(s.polled, e)
			s.jobs.release(e)
		}
	}
	s.sweepReservations()
	s.tickets.sweep(time.Now())
}

// Snapshot is a job as a question finds it.
type Snapshot struct {
	Job         *trackerpb.Job
	Source      event.Position
	PayloadHash string
	Round       int
	Life        string
	ResultBlob  *event.Blob
	Lane        string
	Request     *event.Position
	Deliveries  []event.Delivery
	AsOf        time.Time
}

func (s *Shard) snapshot(e *entry) Snapshot {
	j := e.job
	return Snapshot{Job: e.document(), Source: j.Source, PayloadHash: j.PayloadHash, Round: j.Round, Life: j.Life,
		ResultBlob: j.ResultBlob,
		Lane:       j.Lane, Request: j.Request, Deliveries: j.Deliveries, AsOf: s.clock.fresh.asOf}
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
			s.wantEnd(a) // a retry may be acked that is not folded yet
			return
		}
		if e.job.Version <= q.After || q.UntilTerminal && !e.job.Ended() {
			s.poll(e, a)
			return
		}
		reply <- answer[Snapshot]{value: s.snapshot(e)}
	}
	return await(ctx, s, reply, func() { s.resolve(a) })
}

// poll lets the question wait for its job to change.
func (s *Shard) poll(e *entry, a *ask) {
	if s.polls >= maxPolls {
		a.fail(s.metrics.overload(boundPolls))
		return
	}
	s.jobs.keep(e)
	s.polls++
	s.polled[e] = struct{}{}
	e.waits = append(e.waits, a)
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
