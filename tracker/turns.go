package tracker

import (
	"context"
	"runtime"
	"sync"
)

// maxLists is how many lists and counts are made at a time. Half of the processors are left to the shards.
var maxLists = max(1, runtime.GOMAXPROCS(0)/2)

// turns is a semaphore that is fair to tenants: a free place goes to the tenants that wait in turn,
// however many requests one of them has waiting.
type turns struct {
	mu      sync.Mutex                 // guards all below
	room    int                        // free places
	waiting map[string][]chan struct{} // requests that wait, by tenant, the oldest first
	tenants []string                   // tenants that have requests waiting, in the order of their turns
}

func newTurns(room int) *turns { return &turns{room: room, waiting: map[string][]chan struct{}{}} }

// enter waits for a place. It returns nil when it has one, which leave must give back, or ctx's error.
func (t *turns) enter(ctx context.Context, tenant string) error {
	t.mu.Lock()
	if t.room > 0 {
		t.room--
		t.mu.Unlock()
		return nil
	}
	place := make(chan struct{})
	if len(t.waiting[tenant]) == 0 {
		t.tenants = append(t.tenants, tenant)
	}
	t.waiting[tenant] = append(t.waiting[tenant], place)
	t.mu.Unlock()
	select {
	case <-place:
		return nil
	case <-ctx.Done():
	}
	// The place may still be given to this request: it is passed on then.
	go func() {
		<-place
		t.leave()
	}()
	return ctx.Err()
}

// leave gives the place back, or to the next request that waits.
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
