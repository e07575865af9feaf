package bulkjob

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of the pace.
const (
	slowest    = 5.0                   // orders a second, however slow they are
	steady     = 50 * time.Millisecond // orders that take at most so much longer than the quickest are no sign of load
	adaptAfter = 32                    // orders after which the pace may change
)

// pace decides how many orders a second a bulk action gives. An order takes as long as its record takes to be durable
// and to be folded, which is what live submits and events wait for, too. So when orders take twice as long as the
// quickest took, or are refused because something is overloaded, the pace is halved; while they do not it rises again.
type pace struct {
	most    float64
	limiter *rate.Limiter

	mu       sync.Mutex // guards the fields below
	current  float64
	quickest time.Duration // the shortest mean of adaptAfter orders; 0 before the first
	took     time.Duration // of the orders since the last change, all together
	orders   int
}

func newPace(perSecond float64) *pace {
	p := &pace{most: perSecond, current: min(perSecond, max(slowest, perSecond/4))}
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
	if p.orders < adaptAfter {
		return
	}
	mean := p.took / time.Duration(p.orders)
	p.took, p.orders = 0, 0
	if p.quickest == 0 || mean < p.quickest {
		p.quickest = mean
	}
	if mean > max(2*p.quickest, p.quickest+steady) {
		p.set(p.current / 2)
		return
	}
	p.set(p.current * 1.25)
}

// refused notes that an order could not be given now.
func (p *pace) refused() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took, p.orders = 0, 0
	p.set(p.current / 2)
}

// set changes the pace, within its bounds. mu is held.
func (p *pace) set(perSecond float64) {
	p.current = min(max(perSecond, min(slowest, p.most)), p.most)
	p.limiter.SetLimit(rate.Limit(p.current))
}

// perSecond returns the pace.
func (p *pace) perSecond() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}
