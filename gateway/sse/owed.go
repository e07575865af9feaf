package sse

import (
	"context"
	"errors"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// A status for which the outbox has no room is parked: it is owed to the client, and loaded again once there is room.
const (
	loadBatch = 4                      // parked statuses for which room is reserved at a time
	loadAgain = 200 * time.Millisecond // wait before the next try when there is no room
)

// Room bounds the memory of a stream, and says how statuses for which there was no room are loaded again.
type Room struct {
	Bytes   int            // bound on the bytes of statuses that wait or are being written
	Account outbox.Account // the budget of the stream's user
	// Load returns the current document of a job that is in the scope, or the error NoJob.
	Load  func(ctx context.Context, scope *auth.Scope, jobID string) (*trackerpb.Job, error)
	NoJob error
}

// loadOwed loads parked statuses for which there is room now. some reports that there were any; again, that it should
// be called again after a while.
func (s *Stream) loadOwed(ctx context.Context) (some, again bool) {
	due, later := s.out.Due(loadBatch)
	some = len(due) > 0
	for _, owed := range due {
		var scope *auth.Scope
		jobID := owed.Key
		sub, single := owed.Owner.(*subscription)
		if single {
			scope, jobID = sub.Scope, sub.JobID
		} else {
			scope = auth.SubjectScope(s.subject.Tenant, s.subject.Subject)
		}
		j, err := s.room.Load(ctx, scope, jobID)
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

// loaded queues a parked status that was loaded. If the hub had ended the subscription with that status, but the job
// runs again by now, it subscribes anew.
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
	if left && !j.Terminal { // the job was retried meanwhile
		sub.After, sub.Patient = j.Version, true
		s.hub.Subscribe(&sub.Subscription)
	}
}

// parks handles the outbox's outcome of a status. After a terminal status it ends the subscription, unless that status
// was parked.
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
