package shard

import (
	"context"
	"time"
)

// KeepTicket keeps who a ticket is for.
func (s *Shard) KeepTicket(ctx context.Context, id string, identity []byte, ttl time.Duration) error {
	reply := make(chan answer[struct{}], 1)
	_, err := await(ctx, s, reply, func() {
		var a answer[struct{}]
		if !s.tickets.keep(id, identity, ttl, time.Now()) {
			a.err = s.metrics.overload(boundTickets)
		}
		reply <- a
	})
	return err
}

// TakeTicket answers who a ticket is for, once. Its error is then ErrNotFound, as for one
// that was never there or is too old.
func (s *Shard) TakeTicket(ctx context.Context, id string) ([]byte, error) {
	reply := make(chan answer[[]byte], 1)
	return await(ctx, s, reply, func() {
		identity, ok := s.tickets.take(id, time.Now())
		if !ok {
			reply <- answer[[]byte]{err: ErrNotFound}
			return
		}
		reply <- answer[[]byte]{value: identity}
	})
}
