package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// health knows whether Kafka answers, so that a submit that could only run into its bound
// is refused at once, with nothing written. One produce without an outcome proves little:
// it makes health ask, and only a Kafka of which no broker answers is away.
type health struct {
	reason  atomic.Pointer[error] // nil: it answers
	suspect atomic.Bool
	started atomic.Bool // the topics are there
}

// up ends the start.
func (h *health) up() {
	h.started.Store(true)
	h.reason.Store(nil)
}

const (
	pingInterval = 500 * time.Millisecond
	pingTimeout  = 2 * time.Second
)

var errStarting = errors.New("starting: Kafka has not answered yet")

func (h *health) err() error {
	if e := h.reason.Load(); e != nil {
		return *e
	}
	return nil
}

func (h *health) down(err error) { h.reason.Store(&err) }

// observe notes a produce's outcome.
func (h *health) observe(err error) {
	if err != nil {
		h.suspect.Store(true)
	}
}

// watch asks while there is doubt.
func (h *health) watch(ctx context.Context, cl *kgo.Client) error {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		away := h.err() != nil && h.started.Load()
		if !away && !h.suspect.Swap(false) {
			continue
		}
		try, cancel := context.WithTimeout(ctx, pingTimeout)
		err := cl.Ping(try)
		cancel()
		switch {
		case err != nil && ctx.Err() == nil:
			h.down(fmt.Errorf("no broker of Kafka answers: %w", err))
		case away:
			h.reason.Store(nil)
		}
	}
}
