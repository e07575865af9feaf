package shard

import (
	"context"
	"time"
)

// A ticket lets its holder in once, within seconds. It lives in the memory of one shard, so
// that taking it is final: it is gone, and nobody else ever had it.

const (
	maxTickets   = 10_000
	maxTicketTTL = time.Minute
)

type ticket struct {
	identity []byte
	until    time.Time
}

// KeepTicket keeps who a ticket is for.
func (s *Shard) KeepTicket(ctx context.Context, id string, identity []byte, ttl time.Duration) error {
	reply := make(chan answer[struct{}], 1)
	_, err := await(ctx, s, reply, func() {
		if len(s.tickets) >= maxTickets {
			s.dropTickets()
		}
		if len(s.tickets) >= maxTickets {
			reply <- answer[struct{}]{err: s.overloaded(boundTickets)}
			return
		}
		s.tickets[id] = ticket{identity, time.Now().Add(min(ttl, maxTicketTTL))}
		reply <- answer[struct{}]{}
	})
	return err
}

// TakeTicket answers who a ticket is for, once. Its error is then ErrNotFound, as for one
// that was never there or is too old.
func (s *Shard) TakeTicket(ctx context.Context, id string) ([]byte, error) {
	reply := make(chan answer[[]byte], 1)
	return await(ctx, s, reply, func() {
		t, ok := s.tickets[id]
		delete(s.tickets, id)
		if !ok || time.Now().After(t.until) {
			reply <- answer[[]byte]{err: ErrNotFound}
			return
		}
		reply <- answer[[]byte]{value: t.identity}
	})
}

// dropTickets forgets those that nobody took in time.
func (s *Shard) dropTickets() {
	now := time.Now()
	for id, t := range s.tickets {
		if now.After(t.until) {
			delete(s.tickets, id)
		}
	}
}
