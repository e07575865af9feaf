package processor

import (
	"context"
	"strconv"
	"time"
)

// keepPulse gives every run its pulses, for beats, repetitions, conflated progress and the ends of leases. It sleeps
// while there are no runs.
func (p *Processor) keepPulse(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.busy:
		}
		ticker := time.NewTicker(pulse)
		for runs := p.snapshot(); len(runs) > 0; runs = p.snapshot() {
			select {
			case <-ctx.Done():
				ticker.Stop()
				return nil
			case <-ticker.C:
			}
			for _, r := range runs {
				r.pulse()
			}
		}
		ticker.Stop()
	}
}

// met reports whether this worker was given the dispatch before, and remembers it.
func (p *Processor) met(jobID string, dispatch int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dispatches.meet(jobID + "/" + strconv.Itoa(dispatch))
}

func (p *Processor) add(r *run) {
	p.mu.Lock()
	p.runs[r.id] = r
	p.mu.Unlock()
	p.busy.Send()
}

func (p *Processor) remove(r *run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.runs, r.id)
	if len(p.runs) == 0 && p.emptied != nil {
		close(p.emptied)
		p.emptied = nil
	}
}

func (p *Processor) runOf(id string) *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runs[id]
}

func (p *Processor) snapshot() []*run {
	p.mu.Lock()
	defer p.mu.Unlock()
	runs := make([]*run, 0, len(p.runs))
	for _, r := range p.runs {
		runs = append(runs, r)
	}
	return runs
}
