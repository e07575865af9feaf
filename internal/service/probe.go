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

// Probe tries a function again and again, and reports an error when the last try failed or has not returned for
// probeSilence. Tries run on Run's goroutine, so Err never waits for one that hangs, such as a sync on a disk
// that has stalled.
type Probe struct {
	what string
	try  func() error

	mu    sync.Mutex // guards all below
	since time.Time  // when the try that runs began; zero while none runs
	last  error      // result of the last try that has returned
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

// Err returns why the function does not work; nil when it works, or was not tried yet.
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
