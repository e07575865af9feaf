// Package bench has benchmarks that compare Ackwire, in one run and as ratios, with the floor that Kafka sets: an ack
// with two plain produces one after the other, and a job from submit to completed with the same records sent by plain
// clients.
package bench

import (
	"context"
	"sync"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/loadtest/measure"
)

// OpenLoop begins an operation every 1/rate seconds for d, whether or not earlier ones have ended, and returns when all
// have. Each latency counts from when its operation was due, so that a server that stalls has high latencies for all
// operations that had to wait (no coordinated omission).
func OpenLoop(
	ctx context.Context, rate float64, d time.Duration, into *measure.Latencies, op func(context.Context, int) error,
) {
	var wg sync.WaitGroup
	defer wg.Wait()
	began := time.Now()
	for i := range int(rate * d.Seconds()) {
		due := began.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if wait := time.Until(due); wait > 0 {
			if !pause.For(ctx, wait) {
				return
			}
		}
		wg.Go(func() {
			err := op(ctx, i)
			into.Record(time.Since(due), err)
		})
	}
}
