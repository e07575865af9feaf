package tracker

import (
	"context"
	"runtime"
	"sync"
)

// maxLists is how many lists and counts are made at a time: they leave processors to the shards.
var maxLists = max(1, runtime.GOMAXPROCS(0)/2)

// turns lets some of those who come go on at a time, and the others wait for theirs: tenants one
// after the other, however many a tenant has waiting. The zero turns has no room: see newTurns.
type turns struct {
	mu      sync.Mutex // guards all below
	room    int
	waiting map[string][]chan struct{} // by tenant, the oldest first
	tenants []string                   // of those who wait, in the order of their turns
}

func newTurns(room int) *turns { return &turns{room: room, waiting: map[string][]chan struct{}{}} }

// enter waits for a turn of the tenant's; leave must follow, unless ctx ended first.
func (t *turns) enter(ctx context.Context, tenant string) error {
	t.mu.Lock()
	if t.room > 0 {
		t.room--
		t.mu.Unlock()
		return nil
	}
	mine := make(chan struct{})
	if len(t.waiting[tenant]) == 0 {
		t.tenants = append(t.tenants, tenant)
	}
	t.waiting[tenant] = append(t.waiting[tenant], mine)
	t.mu.Unlock()
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
	}
	// When the turn comes later, it is passed on.
	go func() {
		<-mine
		t.leave()
	}()
	return ctx.Err()
}

// leave gives the turn to who is next.
func (t *turns) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.tenants) == 0 {
		t.room++
		return
	}
	tenant := t.tenants[0]
	t.tenants = t.tenants[1:]
	next := t.waiting[tenant][0]
	t.waiting[tenant] = t.waiting[tenant][1:]
	if len(t.waiting[tenant]) > 0 {
		t.tenants = append(t.tenants, tenant)
	} else {
		delete(t.waiting, tenant)
	}
	close(next)
}
