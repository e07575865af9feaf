package webhook

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ackwire/ackwire/schemas/fleet"
)

// An endpoint that fails several times in a row is paused: it is not called for a while, so that the lane's slots are
// not spent on waiting for it. After the pause one delivery tries, and the others follow if it succeeds. Deliveries
// that are held back cost no attempt. Failures of one path do not pause the other paths of its host; the whole host
// is paused only when it accepts no connections.
const (
	pauseAfter   = 5 // failures in a row
	firstPause   = 30 * time.Second
	longestPause = time.Hour
	trialTime    = 30 * time.Second // after a pause: how long the first try may take before another one is allowed
	maxEndpoints = 10_000           // places that are remembered; those that failed longest ago are forgotten first
)

// place is the unit for which failures are counted: a path at an origin or, with an empty path, the host. Tenants are
// counted apart, so that one tenant's failures do not pause another's webhooks.
type place struct{ tenant, origin, path string }

// host returns the place of p's host.
func (p place) host() place { return place{tenant: p.tenant, origin: p.origin} }

func (p place) String() string { return p.origin + p.path }

// health is what is known of a place that has failed.
type health struct {
	failures int       // in a row
	last     time.Time // of the last failure
	pauses   int       // in a row
	until    time.Time // the end of the current pause
	trial    time.Time // when the first try after a pause began
}

// left returns how much longer the place is paused; 0 when it may be called.
func (h *health) left(now time.Time) time.Duration {
	if h == nil || h.failures < pauseAfter {
		return 0
	}
	if left := h.until.Sub(now); left > 0 {
		return left
	}
	return max(trialTime-now.Sub(h.trial), 0)
}

// endpoints remembers the places that have failed.
type endpoints struct {
	mu     sync.Mutex // guards failed
	failed map[place]*health
}

// wait returns how long the endpoint must not be called; 0 means that it may be called now. After a pause it lets one
// caller through, whose try then holds up the others for trialTime.
func (e *endpoints) wait(p place) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	path, host := e.failed[p], e.failed[p.host()]
	if left := max(path.left(now), host.left(now)); left > 0 {
		return left + rand.N(left/4+time.Second) // jitter, so that not all deliveries come back at once
	}
	for _, h := range []*health{path, host} {
		if h != nil {
			h.trial = now
		}
	}
	return 0
}

// succeeded notes that the endpoint accepted a webhook.
func (e *endpoints) succeeded(p place) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.failed, p)
	delete(e.failed, p.host())
}

// refused notes that the endpoint accepted the connection but not the webhook, or did not answer in time: the path
// failed, its host did not. It reports whether the path is paused from now on, and for how long.
func (e *endpoints) refused(p place) (paused bool, pause time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.failed, p.host())
	return e.failure(p)
}

// unconnected notes that the endpoint's host accepted no connection, which says nothing about the path. It reports
// whether the host is paused from now on, and for how long.
func (e *endpoints) unconnected(p place) (paused bool, pause time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if h := e.failed[p]; h != nil {
		h.trial = time.Time{} // the path was not tried
	}
	return e.failure(p.host())
}

// failure counts a failure of a place and pauses it after pauseAfter in a row, each time for twice as long. It is
// called with mu held.
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

// list returns the places that are paused now, those with the most failures first, and whether there are more than an
// announcement may have.
func (e *endpoints) list() (all []fleet.Paused, more bool) {
	now := time.Now()
	e.mu.Lock()
	for p, h := range e.failed {
		if h.failures < pauseAfter || !h.until.After(now) {
			continue
		}
		if at := fleet.Endpoint(p.origin, p.path); at != "" {
			all = append(all, fleet.Paused{Tenant: p.tenant, Endpoint: at, Until: h.until.UTC().Truncate(time.Millisecond),
				Failures: h.failures})
		}
	}
	e.mu.Unlock()
	slices.SortFunc(all, func(a, b fleet.Paused) int {
		return cmp.Or(cmp.Compare(b.Failures, a.Failures), cmp.Compare(a.Endpoint, b.Endpoint),
			cmp.Compare(a.Tenant, b.Tenant))
	})
	if len(all) > fleet.MaxPaused {
		return all[:fleet.MaxPaused], true
	}
	return all, false
}

// makeRoom forgets a place if there are maxEndpoints: of 16 random ones, that which failed longest ago.
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

// paused returns the number of places that are paused.
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
