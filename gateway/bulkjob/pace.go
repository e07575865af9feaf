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
	settle     = time.Second           // between two halvings because of refused orders
	// remembered is how long the quickest orders are what others are compared with. When a machine has become slower
	// for good, the orders given at the slowest pace show what they take without any load of ours.
	remembered = 30 * time.Second
)

// pace decides how many orders a second a bulk action gives. An order takes as long as its record takes to be durable
// and to be folded, which is what live submits and events wait for, too. So when orders take twice as long as the
// quickest took of late, or are refused because something is overloaded, the pace is halved; while they do not it rises
// again. Orders that are refused together halve it once.
type pace struct {
	most    float64
	limiter *rate.Limiter

	mu       sync.Mutex // guards the fields below
	current  float64
	quickest time.Duration // the shortest mean of adaptAfter orders of late; 0 before the first
	since    time.Time     // when quickest was measured
	took     time.Duration // of the orders since the last change, all together
	orders   int
	halved   time.Time // because of a refused order
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
	if now := time.Now(); p.quickest == 0 || mean < p.quickest || now.Sub(p.since) > remembered {
		p.quickest, p.since = mean, now
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
	if now := time.Now(); now.Sub(p.halved) >= settle {
		p.halved = now
		p.set(p.current / 2)
	}
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
