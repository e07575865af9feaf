package processor

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
)

// contactEvery is the interval of pings to the brokers.
const contactEvery = 2 * time.Second

// contact records when any broker last answered. A worker that is cut off gets no errors: the Kafka client repeats its
// fetches and heartbeats for ever.
type contact struct {
	heard atomic.Int64          // when any broker last answered, in Unix nanoseconds; 0 before watch has begun
	cause atomic.Pointer[error] // of the last ping that failed

	silence atomic.Int64 // how long all brokers may be silent before the worker is not ready; set before heard
}

// watch pings the brokers until ctx ends.
func (c *contact) watch(ctx context.Context, cl *kgo.Client, b kafka.Bounds) error {
	c.silence.Store(int64(b.Silence))
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
		try, cancel := context.WithTimeout(ctx, b.Ping)
		err := pinger.Ping(try)
		cancel()
		switch {
		case err == nil:
			c.heard.Store(time.Now().UnixNano())
		case ctx.Err() == nil:
			err = kafka.Hint(err)
			c.cause.Store(&err)
		}
	}
}

// err returns an error if no broker has answered for too long.
func (c *contact) err() error {
	heard := c.heard.Load()
	if heard == 0 {
		return nil // not started: Processor.notReady says why
	}
	silent := time.Since(time.Unix(0, heard))
	if silent <= time.Duration(c.silence.Load()) {
		return nil
	}
	err := fmt.Errorf("no broker of Kafka has answered for %s", silent.Round(time.Second))
	if cause := c.cause.Load(); cause != nil {
		return fmt.Errorf("%w: %w", err, *cause)
	}
	return err
}
