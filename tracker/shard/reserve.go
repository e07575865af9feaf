package shard

import (
	"context"
	"time"
)

// Reserved is the answer to Reserve: the key is held for the asker, or the job exists, or neither can be.
type Reserved struct {
	Held   bool
	Closed bool // the partition is closed, and has no such job
	Job    Snapshot
}

// Reserve checks the key that a job's ID was made from. While another submit holds it, it
// waits for that one's outcome. The error is ErrNotFound while the ID is that of an erased job.
func (s *Shard) Reserve(ctx context.Context, jobID string, scope Scope, holder string) (Reserved, error) {
	reply := make(chan answer[Reserved], 1)
	a := &ask{ctx: ctx, id: jobID, scope: scope}
	a.fail = func(err error) { reply <- answer[Reserved]{err: err} }
	a.found = func(e *entry) { reply <- answer[Reserved]{value: Reserved{Job: s.snapshot(e)}} }
	a.missing = func() {
		e, err := s.jobs.lookup(jobID)
		if err == nil && e.erased != nil {
			err = ErrNotFound
		}
		if err != nil {
			a.fail(err)
			return
		}
		if s.pos.closed() {
			reply <- answer[Reserved]{value: Reserved{Closed: true}}
			return
		}
		keys, now := &s.questions.keys, time.Now()
		c := keys.take(jobID, holder, reservedUntil(ctx, now), now)
		switch {
		case c == claimHeld:
			reply <- answer[Reserved]{value: Reserved{Held: true}}
		case c == claimFull || !keys.wait(jobID, a):
			a.fail(s.metrics.overload(boundReservations))
		}
	}
	return await(ctx, s, reply, func() { s.questions.resolve(a) })
}

// Unreserve gives back what Reserve held for the holder: its submit has come to nothing. Who waits
// for the key is next.
func (s *Shard) Unreserve(ctx context.Context, jobID, holder string) error {
	return s.call(ctx, func() {
		if r := s.questions.keys.held[jobID]; r != nil && r.holder == holder {
			s.questions.freed(jobID)
		}
	})
}
