package sse

import (
	"context"
	"errors"
	"time"

	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Rhythm of loading what is owed.
const (
	loadBatch = 4 // statuses that have their room before they are loaded
	loadAgain = 200 * time.Millisecond
)

// Room is what a stream may take for what waits.
type Room struct {
	Bytes   int            // of statuses that wait, or are being written
	Account outbox.Account // of the user that it is for
	// Load returns a job as it is now, or NoJob.
	Load  func(ctx context.Context, tenant, jobID string) (*trackerpb.Job, error)
	NoJob error
}

// loadOwed loads statuses whose bytes there was no room for: some, or none and it is to be tried
// again in a while.
func (s *Stream) loadOwed(ctx context.Context) (some, again bool) {
	due, later := s.out.Due(loadBatch)
	some = len(due) > 0
	for _, owed := range due {
		tenant, jobID := "", owed.Key
		sub, single := owed.Owner.(*subscription)
		if single {
			tenant, jobID = sub.Tenant, sub.JobID
		} else {
			tenant = s.mine.Tenant
		}
		j, err := s.room.Load(ctx, tenant, jobID)
		switch {
		case errors.Is(err, s.room.NoJob):
			s.out.Unowed(owed)
			if single {
				sub.Over()
			}
		case err != nil:
			s.out.Again(owed)
			some, later = false, true
		case !single:
			s.put(s.out.PutOwed(owed, outbox.NewFrame(wire.EncodeMineStatus(j.Version, j.Document), j)))
		default:
			sub.loaded(owed, j)
		}
	}
	return some, later
}

// loaded puts a status that was owed.
func (sub *subscription) loaded(owed outbox.Owed, j *trackerpb.Job) {
	s := sub.stream
	o := s.out.PutOwed(owed, outbox.NewFrame(wire.EncodeStatus(j.Version, j.Document), j))
	s.put(o)
	if o == outbox.Parked {
		return
	}
	s.mu.Lock()
	left := sub.left
	sub.left = false
	if j.Terminal {
		sub.end()
	}
	s.mu.Unlock()
	if left && !j.Terminal { // the job was opened again
		sub.After, sub.Patient = j.Version, true
		s.hub.Subscribe(&sub.Subscription)
	}
}

// parks notes what became of a status, and ends the subscription to a job that has ended, unless
// that status is owed.
func (sub *subscription) parks(o outbox.Outcome, terminal bool) {
	s := sub.stream
	s.mu.Lock()
	sub.sent = true
	switch {
	case !terminal:
	case o == outbox.Parked:
		sub.left = true
	default:
		sub.end()
	}
	s.mu.Unlock()
	s.put(o)
}

// Withheld implements hub.Subscriber.
func (sub *subscription) Withheld(version int64, size int) {
	sub.parks(sub.stream.out.Park(&sub.slot, version, size), true)
}
