package bulkjob

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of the pace.
const (
	// slowest is how many orders a second are given however slow they are, and slowestPart the part of the most that is
	// never gone below, if it is more: who allows many means to be done today.
	slowest     = 5.0
	slowestPart = 1.0 / 60
	steady      = 50 * time.Millisecond // orders that take at most so much longer than the quickest are no sign of load
	// The pace may change after adaptAfter orders, or after adaptWithin if there were adaptFew. It is not halved again
	// within adaptWithin: orders that are slow or refused together have one cause.
	adaptAfter  = 32
	adaptFew    = 4
	adaptWithin = time.Second
	// remembered is how long the quickest orders are what others are compared with. When a machine has become slower
	// for good, the orders given at the slowest pace show what they take without any load of ours.
	remembered = 30 * time.Second
)

// pace decides how many orders a second a bulk action gives. An order takes as long as its record takes to be durable
// and to be folded, which is what live submits and events wait for, too. So when orders take twice as long as the
// quickest took of late, or are refused because something is overloaded, the pace is halved; while they do not it rises
// again.
type pace struct {
	most, least float64
	limiter     *rate.Limiter

	mu       sync.Mutex // guards the fields below
	current  float64
	quickest time.Duration // the shortest mean of late; 0 before the first
	since    time.Time     // when quickest was measured
	took     time.Duration // of the orders since the last change, all together
	orders   int
	changed  time.Time
	halved   time.Time
}

func newPace(perSecond float64) *pace {
	p := &pace{most: perSecond, least: min(max(slowest, perSecond*slowestPart), perSecond), changed: time.Now()}
	p.current = max(p.least, perSecond/4)
	p.limiter = rate.NewLimiter(rate.Limit(p.current), inFlight)
	return p
}

// wait waits until one more order may be given.
func (p *pace) wait(ctx context.Context) error { return p.limiter.Wait(ctx) }

// ordered notes how long an order took.
func (p *pace) ordered(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took += took
	p.orders++
	now := time.Now()
	if p.orders < adaptAfter && (p.orders < adaptFew || now.Sub(p.changed) < adaptWithin) {
		return
	}
	mean := p.took / time.Duration(p.orders)
	if p.quickest == 0 || mean <= p.quickest || now.Sub(p.since) > remembered {
		p.quickest, p.since = mean, now
	}
	if mean > max(2*p.quickest, p.quickest+steady) {
		p.halve(now)
		return
	}
	p.set(p.current*1.25, now)
}

// refused notes that an order could not be given now.
func (p *pace) refused() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.halve(time.Now())
}

// halve halves the pace, unless that was done just now. mu is held.
func (p *pace) halve(now time.Time) {
	if now.Sub(p.halved) < adaptWithin {
		p.set(p.current, now)
		return
	}
	p.halved = now
	p.set(p.current/2, now)
}

// set changes the pace, within its bounds, and begins to measure anew. mu is held.
func (p *pace) set(perSecond float64, now time.Time) {
	p.current = min(max(perSecond, p.least), p.most)
	p.limiter.SetLimit(rate.Limit(p.current))
	p.took, p.orders, p.changed = 0, 0, now
}

// perSecond returns the pace.
func (p *pace) perSecond() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}
