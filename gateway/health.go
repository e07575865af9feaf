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
// is refused at once, with nothing written.
type health struct {
	reason atomic.Pointer[error] // nil: it answers
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
	if err != nil && !errors.Is(err, context.Canceled) {
		h.down(fmt.Errorf("no broker of Kafka answers: %w", err))
	}
}

// watch asks a broker that was given up until it answers again.
func (h *health) watch(ctx context.Context, cl *kgo.Client) error {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if h.err() == nil {
			continue
		}
		try, cancel := context.WithTimeout(ctx, pingTimeout)
		if cl.Ping(try) == nil {
			h.reason.Store(nil)
		}
		cancel()
	}
}
