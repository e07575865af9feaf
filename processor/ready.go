package processor

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Ready returns why the processor takes no work, or nil if it does. It does not block.
func (p *Processor) Ready() error {
	p.mu.Lock()
	err := p.notReady
	p.mu.Unlock()
	if err != nil {
		return err
	}
	problems := []error{p.contact.err()}
	for _, l := range p.lanes {
		problems = append(problems, l.ready())
	}
	return errors.Join(append(problems, p.appending.recent(p.bounds.Trouble), p.keeper.Err())...)
}

func (p *Processor) setReady(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notReady = err
}

// noteProduce records the outcome of a produce, for the metric and for Ready.
func (p *Processor) noteProduce(what string, err error) {
	switch {
	case err == nil:
		p.appending.over()
	case !errors.Is(err, context.Canceled):
		p.metrics.produceFailures.WithLabelValues(what).Inc()
		p.appending.note(fmt.Errorf("append to the log: %w", err))
	}
}

// trouble holds the last error of an operation that is repeated. The error counts until a try succeeds, or for
// a time (kafka.Bounds.Trouble) if nothing was tried since.
type trouble struct {
	last atomic.Pointer[troubleAt]
}

type troubleAt struct {
	err error
	at  time.Time
}

func (t *trouble) note(err error) { t.last.Store(&troubleAt{err, time.Now()}) }

func (t *trouble) over() {
	if t.last.Load() != nil {
		t.last.Store(nil)
	}
}

func (t *trouble) recent(within time.Duration) error {
	if last := t.last.Load(); last != nil && time.Since(last.at) < within {
		return last.err
	}
	return nil
}
