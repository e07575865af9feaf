package webhook

import (
	"math/rand/v2"
	"sync"
	"time"
)

// An endpoint that fails time and again is left alone for a while, so that a lane's slots are
// not spent on waiting for it. Then one delivery tries, and the others follow if it gets
// through.
const (
	pauseAfter   = 5 // failures in a row
	firstPause   = 30 * time.Second
	longestPause = time.Hour
	trialTime    = 30 * time.Second // that a try may take before another one may begin
	maxEndpoints = 10_000           // that are remembered; others are never paused
)

// place is an endpoint: what one tenant's failures say is not said of another's.
type place struct{ tenant, origin string }

type health struct {
	failures int // in a row
	pauses   int // in a row
	until    time.Time
	trial    time.Time // when the try after a pause began
}

// endpoints knows those that failed last.
type endpoints struct {
	mu     sync.Mutex // guards failing
	failed map[place]*health
}

// wait is how long the endpoint is to be left alone; 0 means that it may be called now.
func (e *endpoints) wait(p place) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.failed[p]
	if h == nil || h.failures < pauseAfter {
		return 0
	}
	now := time.Now()
	left := h.until.Sub(now)
	if left <= 0 {
		left = trialTime - now.Sub(h.trial)
	}
	if left <= 0 {
		h.trial = now
		return 0
	}
	return left + rand.N(left/4+time.Second) // not all of them at once
}

func (e *endpoints) succeeded(p place) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.failed, p)
}

// failure reports whether the endpoint is paused from now on.
func (e *endpoints) failure(p place) (paused bool, pause time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.failed[p]
	if h == nil {
		if len(e.failed) >= maxEndpoints {
			return false, 0
		}
		h = &health{}
		e.failed[p] = h
	}
	h.failures++
	if h.failures < pauseAfter || time.Now().Before(h.until) {
		return false, 0
	}
	pause = min(firstPause<<min(h.pauses, 10), longestPause)
	h.pauses++
	h.until, h.trial = time.Now().Add(pause), time.Time{}
	return true, pause
}

// paused counts those that are left alone.
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
