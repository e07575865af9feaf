package processor

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
)

// Rhythm and bound of asking whether Kafka is there.
const (
	contactEvery   = 2 * time.Second
	contactTimeout = 2 * time.Second

	// kafkaSilence is how long no broker may answer before the worker is not ready.
	kafkaSilence = 6 * time.Second
)

// contact knows when any broker last answered. A worker that is cut off sees nothing fail: its
// fetches and heartbeats are tried again and again, and it hears nothing.
type contact struct {
	heard atomic.Int64 // when any broker last answered, Unix nanoseconds; 0 before watch began
	cause atomic.Pointer[error]
}

// watch asks all brokers, again and again, until ctx ends.
func (c *contact) watch(ctx context.Context, cl *kgo.Client) error {
	c.heard.Store(time.Now().UnixNano())
	pinger := kafka.NewPinger(cl)
	defer pinger.Wait()
	tick := time.NewTicker(contactEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		try, cancel := context.WithTimeout(ctx, contactTimeout)
		err := pinger.Ping(try)
		cancel()
		switch {
		case err == nil:
			c.heard.Store(time.Now().UnixNano())
		case ctx.Err() == nil:
			c.cause.Store(&err)
		}
	}
}

// err says since when no broker has answered, when that is for too long.
func (c *contact) err() error {
	heard := c.heard.Load()
	if heard == 0 {
		return nil // the start says why it is not ready
	}
	silent := time.Since(time.Unix(0, heard))
	if silent <= kafkaSilence {
		return nil
	}
	err := fmt.Errorf("no broker of Kafka has answered for %s", silent.Round(time.Second))
	if cause := c.cause.Load(); cause != nil {
		return fmt.Errorf("%w: %w", err, *cause)
	}
	return err
}
