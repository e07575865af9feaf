package webhook

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// A lane's slots are shared by all tenants: one endpoint that answers slowly, or not at all, would else
// have all of them, and everybody's webhooks would wait for it.
//
// An endpoint has at most a quarter of the slots, a tenant at most half. Beyond that a delivery waits for a moment, for
// most endpoints answer quickly; if that is not enough it is handed back, which costs no attempt, and
// for a while those that follow are handed back at once.
const (
	endpointShare = 4 // one part in so many
	tenantShare   = 2
	turnWait      = 250 * time.Millisecond
	slowFor       = 5 * time.Second // after a wait in vain nobody waits at that endpoint for so long
	defaultSlots  = 64
)

// turns shares the slots out. It may be used from any goroutine.
type turns struct {
	perEndpoint, perTenant int // set by newTurns, then only read

	mu      sync.Mutex // guards all below
	hosts   map[place]*usage
	tenants map[string]*usage
	waiting list.List // of *turn, the oldest first: none of them could be given now
}

// usage is what an endpoint, or a tenant, has of the slots.
type usage struct {
	active int
	slow   time.Time // until when nobody waits
}

// turn is one that is waited for.
type turn struct {
	place place
	given chan struct{} // closed with turns.mu held
}

func newTurns(slots int) *turns {
	if slots <= 0 {
		slots = defaultSlots
	}
	return &turns{
		perEndpoint: max(1, slots/endpointShare), perTenant: max(1, slots/tenantShare),
		hosts: map[place]*usage{}, tenants: map[string]*usage{},
	}
}

func of[K comparable](all map[K]*usage, k K) *usage {
	u := all[k]
	if u == nil {
		u = &usage{}
		all[k] = u
	}
	return u
}

// take takes a slot's turn for an endpoint, until done is called; false when its share, or its tenant's, is
// used up and stays so for turnWait.
func (t *turns) take(ctx context.Context, p place) (done func(), ok bool) {
	p = p.host()
	done = func() { t.done(p) }
	t.mu.Lock()
	if t.give(p) {
		t.mu.Unlock()
		return done, true
	}
	if time.Now().Before(t.full(p).slow) {
		t.mu.Unlock()
		return nil, false
	}
	mine := &turn{place: p, given: make(chan struct{})}
	at := t.waiting.PushBack(mine)
	t.mu.Unlock()
	timer := time.NewTimer(turnWait)
	defer timer.Stop()
	select {
	case <-mine.given:
		return done, true
	case <-timer.C:
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-mine.given: // in this moment
		return done, true
	default:
	}
	t.waiting.Remove(at)
	if full := t.full(p); full != nil && ctx.Err() == nil {
		full.slow = time.Now().Add(slowFor)
	}
	return nil, false
}

// give counts a turn for p, if there is room for it. mu is held.
func (t *turns) give(p place) bool {
	if t.full(p) != nil {
		return false
	}
	of(t.hosts, p).active++
	of(t.tenants, p.tenant).active++
	return true
}

// full is the share of p that is used up, its endpoint's or its tenant's; nil when there is room. mu is held.
func (t *turns) full(p place) *usage {
	if u := t.hosts[p]; u != nil && u.active >= t.perEndpoint {
		return u
	}
	if u := t.tenants[p.tenant]; u != nil && u.active >= t.perTenant {
		return u
	}
	return nil
}

// done ends a turn and gives those that can be given now.
func (t *turns) done(p place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u := t.hosts[p]; u.active > 1 {
		u.active--
	} else {
		delete(t.hosts, p)
	}
	if u := t.tenants[p.tenant]; u.active > 1 {
		u.active--
	} else {
		delete(t.tenants, p.tenant)
	}
	for e := t.waiting.Front(); e != nil; {
		next := e.Next()
		if w := e.Value.(*turn); t.give(w.place) {
			t.waiting.Remove(e)
			close(w.given)
		}
		e = next
	}
}
