// Package pace puts load on a system in open loops: operations begin at the times at which they are due, whether or not
// earlier ones have ended. It judges whether a system holds a rate, and searches for the highest rate that it holds.
package pace

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
	loop(ctx, rate, d, func(i int, due time.Time) {
		err := op(ctx, i)
		into.Record(time.Since(due), err)
	})
}

// loop calls op every 1/rate seconds for d, each time in a goroutine of its own, and returns when all calls have. It
// makes no more calls once ctx has ended.
func loop(ctx context.Context, rate float64, d time.Duration, op func(i int, due time.Time)) {
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
		if ctx.Err() != nil {
			return // also when the loop is late and does not wait
		}
		wg.Go(func() { op(i, due) })
	}
}
