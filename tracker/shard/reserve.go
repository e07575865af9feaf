package shard

import (
	"context"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// A reservation keeps a hundred concurrent submits with one key from making a hundred
// requests. It lives in memory: one lost in a failover costs a superfluous request, never
// a wrong answer, because the ack waits for the fold's verdict.

const (
	maxReservations = 100_000 // and as many questions that wait for them
	// reservationSlack is how long a reservation lasts beyond its submit. A submit ends with the deadline of its
	// request to the tracker, which the gateway derives from --submit-timeout.
	reservationSlack = time.Second
	// reservationTTL bounds a reservation, and is that of a request without a deadline.
	reservationTTL = job.MaxSubmit + reservationSlack
)

// reservedUntil returns when the reservation of a submit ends that asks now.
func reservedUntil(ctx context.Context, now time.Time) time.Time {
	most := now.Add(reservationTTL)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(reservationSlack).Before(most) {
		return deadline.Add(reservationSlack)
	}
	return most
}

type reservation struct {
	holder string
	until  time.Time
	waits  []*ask
}

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
		now := time.Now()
		r := s.reserved[jobID]
		switch {
		case s.pos.closed():
			reply <- answer[Reserved]{value: Reserved{Closed: true}}
		case r == nil && len(s.reserved) >= maxReservations:
			a.fail(s.metrics.overload(boundReservations))
		case r == nil || r.holder == holder || now.After(r.until):
			if r == nil {
				r = &reservation{}
				s.reserved[jobID] = r
			}
			r.holder, r.until = holder, reservedUntil(ctx, now)
			reply <- answer[Reserved]{value: Reserved{Held: true}}
		case s.reserveWaits >= maxReservations:
			a.fail(s.metrics.overload(boundReservations))
		default:
			s.reserveWaits++
			r.waits = append(r.waits, a)
		}
	}
	return await(ctx, s, reply, func() { s.resolve(a) })
}

// Unreserve gives back what Reserve held for the holder: its submit has come to nothing. Who waits
// for the key is next.
func (s *Shard) Unreserve(ctx context.Context, jobID, holder string) error {
	return s.call(ctx, func() {
		if r := s.reserved[jobID]; r != nil && r.holder == holder {
			s.dissolve(jobID, r)
		}
	})
}

// unreserve ends the reservation of a job that is known by now.
func (s *Shard) unreserve(e *entry) {
	r := s.reserved[e.id]
	if r == nil || e.folded() == nil {
		return
	}
	s.dissolve(e.id, r)
}

// dissolve ends a reservation and asks again for those who waited for it.
func (s *Shard) dissolve(id string, r *reservation) {
	delete(s.reserved, id)
	s.reserveWaits -= len(r.waits)
	for _, a := range r.waits {
		s.resolve(a)
	}
}

// sweepReservations hands reservations that ran out to the next in line.
func (s *Shard) sweepReservations() {
	now := time.Now()
	for id, r := range s.reserved {
		if now.Before(r.until) {
			continue
		}
		s.dissolve(id, r)
	}
}
