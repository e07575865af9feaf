package pace

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/loadtest/measure"
)

// within reports whether a latency is what it should be, to the histogram's precision.
func within(got, want time.Duration) bool {
	return got >= want-want/500-time.Microsecond && got <= want+want/500+time.Microsecond
}

// begins records when operations begin.
type begins struct {
	mu sync.Mutex // guards at
	at []time.Time
}

func (b *begins) now() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = append(b.at, time.Now())
}

func TestTheRateIsTheOneThatWasAskedFor(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		began := time.Now()
		var ops begins
		l := measure.NewLatencies()
		OpenLoop(t.Context(), 100, 10*time.Second, l, func(context.Context, int) error {
			ops.now()
			time.Sleep(3 * time.Millisecond)
			return nil
		})
		if len(ops.at) != 1000 {
			t.Fatalf("%d operations, want 1000", len(ops.at))
		}
		for i, at := range ops.at {
			want := time.Duration(i) * 10 * time.Millisecond
			if got := at.Sub(began).Round(time.Microsecond); got != want {
				t.Fatalf("operation %d began at %v, want %v", i, got, want)
			}
		}
		for _, q := range []float64{50, 99, 100} {
			if got := l.Quantile(q); !within(got, 3*time.Millisecond) {
				t.Errorf("p%v is %v", q, got)
			}
		}
	})
}

// A service that stands still for ten seconds is offered just as much work meanwhile, and
// is charged the wait of every operation that came then: the median shows it.
func TestAStalledServiceDoesNotLowerTheRate(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		began := time.Now()
		stallEnds := began.Add(10 * time.Second)
		var ops begins
		l := measure.NewLatencies()
		OpenLoop(t.Context(), 50, 12*time.Second, l, func(context.Context, int) error {
			ops.now()
			if wait := time.Until(stallEnds); wait > 0 {
				time.Sleep(wait)
			}
			return nil
		})
		during := 0
		for _, at := range ops.at {
			if at.Before(stallEnds) {
				during++
			}
		}
		if during != 500 || len(ops.at) != 600 {
			t.Errorf("%d operations during the stall and %d in all, want 500 and 600", during, len(ops.at))
		}
		if got := l.Quantile(100); !within(got, 10*time.Second) {
			t.Errorf("the first one waited %v", got)
		}
		// Operation i waited for 10 s - i/50; the median of the 600 is that of the 300th longest.
		if got := l.Quantile(50); !within(got, 4*time.Second) && !within(got, 4*time.Second+20*time.Millisecond) {
			t.Errorf("the median is %v", got)
		}
	})
}

// When the load generator itself is late, the operation is charged from when it was due.
func TestLatencyCountsFromTheIntendedStart(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		l := measure.NewLatencies()
		OpenLoop(late{t.Context(), time.Second}, 10, 300*time.Millisecond, l, func(context.Context, int) error { return nil })
		if n, _ := l.Counts(); n != 3 {
			t.Fatalf("%d operations, want 3", n)
		}
		if got := l.Quantile(100); got < 800*time.Millisecond {
			t.Errorf("the longest wait is %v though the loop stood still for a second", got)
		}
	})
}

// late is a context whose Done delays the caller.
type late struct {
	context.Context
	by time.Duration
}

func (l late) Done() <-chan struct{} {
	time.Sleep(l.by)
	return l.Context.Done()
}

func TestOpenLoopStopsWithItsContextAndWaitsForAll(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l := measure.NewLatencies()
		began := time.Now()
		OpenLoop(ctx, 10, time.Hour, l, func(ctx context.Context, i int) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			return ctx.Err()
		})
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %v", took)
		}
		if n, failed := l.Counts(); n != 0 || failed < 10 || failed > 11 {
			t.Errorf("%d succeeded and %d failed", n, failed)
		}
	})
}
