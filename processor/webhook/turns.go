package webhook

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// The slots of the webhook lane are shared by all tenants. Without limits one endpoint that answers slowly, or not at
// all, could occupy all of them, and all other webhooks would have to wait.
//
// So an endpoint may use at most a quarter of the slots, and a tenant half. A delivery beyond that waits for a moment,
// since most endpoints answer quickly. If it waits in vain it is handed back, which costs no attempt, and for a while
// the deliveries that follow are handed back without a wait.
const (
	endpointShare = 4 // an endpoint may use 1/4 of the slots
	tenantShare   = 2 // a tenant may use 1/2 of the slots
	turnWait      = 250 * time.Millisecond
	slowFor       = 5 * time.Second // after a wait in vain, how long deliveries to the endpoint do not wait
	defaultSlots  = 64
)

// turns limits how many slots each endpoint and each tenant uses. It is safe for concurrent use.
type turns struct {
	perEndpoint, perTenant int // set by newTurns, then only read

	mu      sync.Mutex // guards the fields below
	hosts   map[place]*usage
	tenants map[string]*usage
	waiting list.List // of *turn, the oldest first
}

// usage is the use of slots by an endpoint or a tenant.
type usage struct {
	active int       // slots in use
	slow   time.Time // until then deliveries do not wait
}

// turn is a delivery that waits for a slot.
type turn struct {
	place place
	given chan struct{} // closed, with turns.mu held, when it has a slot
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

// take reserves a slot for a delivery to p, until done is called. It reports false if the share of the endpoint or of
// its tenant is used up and stays so for turnWait.
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
	case <-mine.given: // just before mu was taken
		return done, true
	default:
	}
	t.waiting.Remove(at)
	if full := t.full(p); full != nil && ctx.Err() == nil {
		full.slow = time.Now().Add(slowFor)
	}
	return nil, false
}

// give counts a slot for p, if p's shares have room for it. mu is held.
func (t *turns) give(p place) bool {
	if t.full(p) != nil {
		return false
	}
	of(t.hosts, p).active++
	of(t.tenants, p.tenant).active++
	return true
}

// full returns the share of p that is used up, its endpoint's or its tenant's; nil when there is room. mu is held.
func (t *turns) full(p place) *usage {
	if u := t.hosts[p]; u != nil && u.active >= t.perEndpoint {
		return u
	}
	if u := t.tenants[p.tenant]; u != nil && u.active >= t.perTenant {
		return u
	}
	return nil
}

// done frees a slot and gives it to the waiting deliveries that may have one now.
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
