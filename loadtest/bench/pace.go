// Package bench measures Ackwire beside the floor that Kafka sets, in one run and as
// ratios: an ack beside two raw produces one after the other, and a job from submit to
// completed beside the same records sent by bare clients.
package bench

import (
	"context"
	"sync"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/loadtest/measure"
)

// OpenLoop begins an operation every 1/rate seconds for d, whether or not earlier ones have
// ended, and returns when all have. Each latency counts from when its operation was due:
// a server that stalls is charged for all whom it kept waiting (no coordinated omission).
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
