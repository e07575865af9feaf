package processor

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Ready says why the processor takes no work, nil when it does. It does not block.
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
	return errors.Join(append(problems, p.appending.recent())...)
}

func (p *Processor) setReady(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notReady = err
}

// noteProduce counts what Kafka did not confirm and tells Ready.
func (p *Processor) noteProduce(what string, err error) {
	switch {
	case err == nil:
		p.appending.over()
	case !errors.Is(err, context.Canceled):
		p.metrics.produceFailures.WithLabelValues(what).Inc()
		p.appending.note(fmt.Errorf("append to the log: %w", err))
	}
}

// trouble is the last error of something that is tried again and again. It counts until a
// try succeeds, or for troubleLasts when nothing had to be tried since.
type trouble struct {
	last atomic.Pointer[troubleAt]
}

type troubleAt struct {
	err error
	at  time.Time
}

const troubleLasts = 15 * time.Second

func (t *trouble) note(err error) { t.last.Store(&troubleAt{err, time.Now()}) }

func (t *trouble) over() {
	if t.last.Load() != nil {
		t.last.Store(nil)
	}
}

func (t *trouble) recent() error {
	if last := t.last.Load(); last != nil && time.Since(last.at) < troubleLasts {
		return last.err
	}
	return nil
}
