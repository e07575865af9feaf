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

// reservations are the keys that submits hold, by the ID of the key's job, and the questions that wait for them. Owned
// by the shard's goroutine.
type reservations struct {
	held  map[string]*reservation
	waits int // questions in held
}

type reservation struct {
	holder string
	until  time.Time
	waits  []*ask
}

// claim is the outcome of take.
type claim int

const (
	claimHeld claim = iota // the holder has the key
	claimWait              // another one has it
	claimFull              // there is no room
)

// take reserves a key for a holder, who may have it already. One that is overdue goes to whoever asks.
func (r *reservations) take(id, holder string, until, now time.Time) claim {
	held := r.held[id]
	switch {
	case held == nil && len(r.held) >= maxReservations:
		return claimFull
	case held == nil:
		held = &reservation{}
		r.held[id] = held
	case held.holder != holder && !now.After(held.until):
		return claimWait
	}
	held.holder, held.until = holder, until
	return claimHeld
}

// wait has a question wait for a key that is held; false when there is no room.
func (r *reservations) wait(id string, a *ask) bool {
	if r.waits >= maxReservations {
		return false
	}
	r.waits++
	held := r.held[id]
	held.waits = append(held.waits, a)
	return true
}

// free ends a reservation and returns the questions that waited for it.
func (r *reservations) free(id string) []*ask {
	held := r.held[id]
	if held == nil {
		return nil
	}
	delete(r.held, id)
	r.waits -= len(held.waits)
	return held.waits
}

// overdue returns the keys that were held for too long.
func (r *reservations) overdue(now time.Time) (ids []string) {
	for id, held := range r.held {
		if !now.Before(held.until) {
			ids = append(ids, id)
		}
	}
	return ids
}
