package service

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Bounds of a Probe.
const (
	probeInterval = 3 * time.Second // between two tries
	probeSilence  = 5 * time.Second // a try that takes longer has not succeeded
)

// Probe tries something again and again, and says why it does not work: the last try has failed,
// or has not returned for probeSilence. Tries run on Run's goroutine, so one that hangs (a flush of a disk
// that has stalled) holds up nobody who asks.
type Probe struct {
	what string
	try  func() error

	mu    sync.Mutex // guards all below
	since time.Time  // of the try that is running; zero is none
	last  error      // of the try before
}

// NewProbe returns a probe; Run runs it.
func NewProbe(what string, try func() error) *Probe { return &Probe{what: what, try: try} }

// Run tries until ctx ends and the last try has returned.
func (p *Probe) Run(ctx context.Context) {
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		p.once()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *Probe) once() {
	p.mu.Lock()
	p.since = time.Now()
	p.mu.Unlock()
	err := p.try()
	p.mu.Lock()
	p.since, p.last = time.Time{}, err
	p.mu.Unlock()
}

// Err says why it does not work; nil when it does, or was not tried yet.
func (p *Probe) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.since.IsZero() && time.Since(p.since) > probeSilence:
		return fmt.Errorf("%s has not answered for %s", p.what, time.Since(p.since).Round(time.Second))
	case p.last != nil:
		return fmt.Errorf("%s: %w", p.what, p.last)
	}
	return nil
}
