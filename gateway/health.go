package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
)

// health knows whether Kafka answers, so that a submit that could only run into its bound
// is refused at once, with nothing written. One produce without an outcome proves little:
// it makes health ask, and only a Kafka of which no broker answers is away. Health asks every
// calmInterval, too, so that a gateway that is cut off is not ready before a submit finds it out.
type health struct {
	reason  atomic.Pointer[error] // why submits are refused; nil: it answers
	silent  atomic.Pointer[error] // why the gateway is not ready though submits are still tried
	suspect atomic.Bool
	started atomic.Bool // the topics are there

	lost   atomic.Int32 // writes in a row whose outcome is not known
	lostAt atomic.Int64 // when the last of them ended, Unix nanoseconds
}

// up ends the start.
func (h *health) up() {
	h.started.Store(true)
	h.reason.Store(nil)
}

const (
	pingInterval = 500 * time.Millisecond // between two questions while there is doubt
	calmInterval = 2 * time.Second        // between two questions otherwise
	pingTimeout  = 2 * time.Second

	// manyLost writes in a row without an outcome make a gateway not ready. It is ready again with the
	// next write that is taken, or after lostFor: where nobody is sent to it, nothing is written.
	manyLost = 5
	lostFor  = 10 * time.Second
)

var errStarting = errors.New("starting: Kafka has not answered yet")

func (h *health) err() error {
	if e := h.reason.Load(); e != nil {
		return *e
	}
	return nil
}

// ready is err, or why no broker answers though no submit has found that out.
func (h *health) ready() error {
	if e := h.silent.Load(); e != nil && h.reason.Load() == nil {
		return *e
	}
	if err := h.err(); err != nil {
		return err
	}
	return h.writes()
}

// writes says that brokers answer and take no writes, as when too few replicas are in sync.
func (h *health) writes() error {
	lost := h.lost.Load()
	if lost < manyLost || time.Since(time.Unix(0, h.lostAt.Load())) > lostFor {
		return nil
	}
	return fmt.Errorf("kafka answers and takes no writes: the outcome of the last %d is not known", lost)
}

func (h *health) down(err error) { h.reason.Store(&err) }

// observe notes a produce's outcome. When no broker answers questions either, that is enough.
func (h *health) observe(err error) {
	if err == nil {
		h.lost.Store(0)
		return
	}
	if errors.Is(err, kafka.ErrUnknown) {
		h.lost.Add(1)
		h.lostAt.Store(time.Now().UnixNano())
	}
	h.suspect.Store(true)
	if silent := h.silent.Load(); silent != nil {
		h.down(*silent)
	}
}

// watch asks whether Kafka answers, more often while there is doubt.
func (h *health) watch(ctx context.Context, cl *kgo.Client) error {
	pinger := kafka.NewPinger(cl)
	defer pinger.Wait()
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	var asked time.Time
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		away := h.err() != nil && h.started.Load()
		doubt := away || h.suspect.Swap(false)
		if !doubt && (!h.started.Load() || time.Since(asked) < calmInterval && h.silent.Load() == nil) {
			continue
		}
		asked = time.Now()
		try, cancel := context.WithTimeout(ctx, pingTimeout)
		err := pinger.Ping(try)
		cancel()
		switch {
		case err == nil:
			h.silent.Store(nil)
			if away {
				h.reason.Store(nil)
			}
		case ctx.Err() == nil:
			err = fmt.Errorf("no broker of Kafka answers: %w", err)
			h.silent.Store(&err)
			if doubt {
				h.down(err)
			}
		}
	}
}

// trackersUp says why the trackers that there are cannot be reached from here.
func (g *Gateway) trackersUp() error {
	up := g.streams.Load()
	if up == nil {
		return nil
	}
	return up.Ready()
}
