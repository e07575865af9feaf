package webhook

import (
	"math/rand/v2"
	"sync"
	"time"
)

// An endpoint that fails time and again is left alone for a while, so that a lane's slots are
// not spent on waiting for it. Then one delivery tries, and the others follow if it gets
// through. Deliveries that are held back cost no attempt. What one path answers says nothing of
// the other paths of its host; the whole host is left alone only when it takes no connections.
const (
	pauseAfter   = 5 // failures in a row
	firstPause   = 30 * time.Second
	longestPause = time.Hour
	trialTime    = 30 * time.Second // that a try may take before another one may begin
	maxEndpoints = 10_000           // that are remembered; the one that failed longest ago makes room
)

// place is what failures are counted for: a path at an origin or, without a path, the host there.
// What one tenant's failures say is not said of another's.
type place struct{ tenant, origin, path string }

// host is the place of the host that p is at.
func (p place) host() place { return place{tenant: p.tenant, origin: p.origin} }

func (p place) String() string { return p.origin + p.path }

type health struct {
	failures int // in a row
	last     time.Time
	pauses   int // in a row
	until    time.Time
	trial    time.Time // when the try after a pause began
}

// left is how long the place is to be left alone; 0 when it may be called.
func (h *health) left(now time.Time) time.Duration {
	if h == nil || h.failures < pauseAfter {
		return 0
	}
	if left := h.until.Sub(now); left > 0 {
		return left
	}
	return max(trialTime-now.Sub(h.trial), 0)
}

// endpoints knows those that failed last.
type endpoints struct {
	mu     sync.Mutex // guards failed
	failed map[place]*health
}

// wait is how long the endpoint is to be left alone; 0 means that it may be called now.
func (e *endpoints) wait(p place) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	path, host := e.failed[p], e.failed[p.host()]
	if left := max(path.left(now), host.left(now)); left > 0 {
		return left + rand.N(left/4+time.Second) // not all of them at once
	}
	for _, h := range []*health{path, host} {
		if h != nil {
			h.trial = now
		}
	}
	return 0
}

// succeeded notes that the endpoint took a webhook.
func (e *endpoints) succeeded(p place) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.failed, p)
	delete(e.failed, p.host())
}

// refused notes that the endpoint answered otherwise, or not in time: its host is there. It
// reports whether the path is paused from now on.
func (e *endpoints) refused(p place) (paused bool, pause time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.failed, p.host())
	return e.failure(p)
}

// unconnected notes that the endpoint's host took no connection, which says nothing of the path.
// It reports whether the host is paused from now on.
func (e *endpoints) unconnected(p place) (paused bool, pause time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if h := e.failed[p]; h != nil {
		h.trial = time.Time{} // it was not tried
	}
	return e.failure(p.host())
}

// failure counts one of a place. It is called with mu held.
func (e *endpoints) failure(p place) (paused bool, pause time.Duration) {
	now := time.Now()
	h := e.failed[p]
	if h == nil {
		e.makeRoom()
		h = &health{}
		e.failed[p] = h
	}
	h.failures++
	h.last = now
	if h.failures < pauseAfter || now.Before(h.until) {
		return false, 0
	}
	pause = min(firstPause<<min(h.pauses, 10), longestPause)
	h.pauses++
	h.until, h.trial = now.Add(pause), time.Time{}
	return true, pause
}

// makeRoom forgets the place that failed longest ago among a few, where there are too many.
func (e *endpoints) makeRoom() {
	const few = 16
	if len(e.failed) < maxEndpoints {
		return
	}
	var oldest place
	var at time.Time
	looked := 0
	for p, h := range e.failed { // in no order
		if looked == 0 || h.last.Before(at) {
			oldest, at = p, h.last
		}
		looked++
		if looked == few {
			break
		}
	}
	delete(e.failed, oldest)
}

// paused counts the places that are left alone.
func (e *endpoints) paused() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.failed {
		if h.failures >= pauseAfter {
			n++
		}
	}
	return n
}
