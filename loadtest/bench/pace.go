// Package bench measures Ackwire beside the floor that Kafka sets, in one run and as
// ratios: an ack beside two raw produces one after the other, and a job from submit to
// completed beside the same records sent by bare clients.
package bench

import (
	"context"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Bounds of a histogram: microseconds, three digits.
const (
	lowest  = 1
	highest = int64(time.Minute / time.Microsecond)
	digits  = 3
)

// Latencies is a histogram of durations that many goroutines may record into.
type Latencies struct {
	mu     sync.Mutex // guards all below
	h      *hdrhistogram.Histogram
	failed int
}

// NewLatencies returns an empty histogram.
func NewLatencies() *Latencies {
	return &Latencies{h: hdrhistogram.New(lowest, highest, digits)}
}

// Record adds one outcome.
func (l *Latencies) Record(d time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed++
		return
	}
	_ = l.h.RecordValue(min(max(d.Microseconds(), lowest), highest))
}

// Quantile returns the latency below which q percent lie.
func (l *Latencies) Quantile(q float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Duration(l.h.ValueAtQuantile(q)) * time.Microsecond
}

// Counts is how many succeeded and failed.
func (l *Latencies) Counts() (succeeded int64, failed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.h.TotalCount(), l.failed
}

// OpenLoop begins an operation every 1/rate seconds for d, whether or not earlier ones have
// ended, and returns when all have. Each latency counts from when its operation was due:
// a server that stalls is charged for all whom it kept waiting (no coordinated omission).
func OpenLoop(ctx context.Context, rate float64, d time.Duration, into *Latencies, op func(context.Context, int) error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	began := time.Now()
	for i := range int(rate * d.Seconds()) {
		due := began.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if wait := time.Until(due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
		}
		wg.Go(func() {
			err := op(ctx, i)
			into.Record(time.Since(due), err)
		})
	}
}
