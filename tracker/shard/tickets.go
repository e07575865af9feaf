package shard

import "time"

// A ticket lets its holder in once, within seconds. It lives in the memory of one shard, so
// that taking it is final: it is gone, and nobody else ever had it.

const (
	maxTickets   = 10_000
	maxTicketTTL = time.Minute
)

// tickets are those that nobody has taken yet. Owned by the shard's goroutine.
type tickets struct {
	held map[string]ticket // by ID
}

type ticket struct {
	identity []byte
	until    time.Time
}

func newTickets() tickets { return tickets{held: map[string]ticket{}} }

// keep keeps a ticket; false when there is no room.
func (t *tickets) keep(id string, identity []byte, ttl time.Duration, now time.Time) bool {
	if len(t.held) >= maxTickets {
		t.sweep(now)
	}
	if len(t.held) >= maxTickets {
		return false
	}
	t.held[id] = ticket{identity, now.Add(min(ttl, maxTicketTTL))}
	return true
}

// take removes a ticket and returns who it is for; false when there is none, or it is too old.
func (t *tickets) take(id string, now time.Time) ([]byte, bool) {
	held, ok := t.held[id]
	delete(t.held, id)
	return held.identity, ok && !now.After(held.until)
}

// sweep forgets those that nobody took in time.
func (t *tickets) sweep(now time.Time) {
	for id, held := range t.held {
		if now.After(held.until) {
			delete(t.held, id)
		}
	}
}
