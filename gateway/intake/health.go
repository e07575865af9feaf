package intake

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
)

// Health records whether Kafka answers. While it does not, submits are refused at once, with nothing written, instead
// of timing out. A single produce without an outcome proves little: it only makes health ping the brokers, and Kafka
// counts as away only if no broker answers. Health also pings every calmInterval, so that a gateway that is cut off
// reports that it is not ready even without submits.
type Health struct {
	bounds  kafka.Bounds          // set by NewHealth, then only read
	reason  atomic.Pointer[error] // why submits are refused; nil while Kafka answers
	silent  atomic.Pointer[error] // why the gateway is not ready though submits are still tried
	client  atomic.Pointer[kgo.Client]
	suspect atomic.Bool
	started atomic.Bool // the topics exist

	lost   atomic.Int32 // writes in a row whose outcome is not known
	lostAt atomic.Int64 // when the last of them ended, Unix nanoseconds
}

// NewHealth returns the health of a Kafka that has not answered yet.
func NewHealth(b kafka.Bounds) *Health {
	h := &Health{bounds: b}
	h.Down(errStarting)
	return h
}

// Up ends the start: the topics exist.
func (h *Health) Up() {
	h.started.Store(true)
	h.reason.Store(nil)
}

const (
	pingInterval = 500 * time.Millisecond // interval of pings while it is in doubt whether Kafka answers
	calmInterval = 2 * time.Second        // interval of pings otherwise

	// ManyLost is the number of writes in a row without an outcome after which a gateway is not ready. It is
	// ready again after the next successful write, or after kafka.Bounds.Lost: a gateway that is not ready gets
	// no submits, and so makes no writes.
	ManyLost = 5
)

var errStarting = errors.New("starting: Kafka has not answered yet")

func (h *Health) err() error {
	if e := h.reason.Load(); e != nil {
		return *e
	}
	return nil
}

// Ready returns why submits are refused, or why the gateway is not ready though they are not refused. If Kafka is
// slower than the gateway's timeouts were made for, it says so.
func (h *Health) Ready() error {
	err := h.trouble()
	if cl := h.client.Load(); err != nil && cl != nil {
		if slow := kafka.TooSlow(cl); slow != nil {
			err = fmt.Errorf("%w; %w", err, slow)
		}
	}
	return err
}

func (h *Health) trouble() error {
	if e := h.silent.Load(); e != nil && h.reason.Load() == nil {
		return *e
	}
	if err := h.err(); err != nil {
		return err
	}
	return h.writes()
}

// writes returns an error if brokers answer but accept no writes, as when too few replicas are in sync.
func (h *Health) writes() error {
	lost := h.lost.Load()
	if lost < ManyLost || time.Since(time.Unix(0, h.lostAt.Load())) > h.bounds.Lost {
		return nil
	}
	return fmt.Errorf("kafka answers and takes no writes: the outcome of the last %d is not known", lost)
}

// Down has submits refused, for the reason err.
func (h *Health) Down(err error) { h.reason.Store(&err) }

// observe records a produce's outcome. If it is not known, and no broker answers pings either, submits are refused.
func (h *Health) observe(err error) {
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
		h.Down(*silent)
	}
}

// Watch pings Kafka until ctx ends, more often while it is in doubt whether Kafka answers.
func (h *Health) Watch(ctx context.Context, cl *kgo.Client) error {
	h.client.Store(cl)
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
		try, cancel := context.WithTimeout(ctx, h.bounds.Ping)
		err := pinger.Ping(try)
		cancel()
		switch {
		case err == nil:
			h.silent.Store(nil)
			if away {
				h.reason.Store(nil)
			}
		case ctx.Err() == nil:
			err = fmt.Errorf("no broker of Kafka answers: %w", kafka.Hint(err))
			h.silent.Store(&err)
			if doubt {
				h.Down(err)
			}
		}
	}
}
