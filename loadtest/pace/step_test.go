package pace

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
)

// server acks after 1 ms and serves one job at a time, each for a given time.
func server(each time.Duration) Job {
	queue := make(chan struct{}, 1)
	return func(ctx context.Context, _ int, acked func()) error {
		time.Sleep(time.Millisecond)
		acked()
		select {
		case queue <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		time.Sleep(each)
		<-queue
		return nil
	}
}

func TestAStepIsJudgedAfterItsWarmUp(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		began := time.Now()
		var times []time.Duration
		var first atomic.Int64
		serve := server(2 * time.Millisecond)
		r, err := Step{
			Rate: 100, WarmUp: 2 * time.Second, For: 5 * time.Second,
			During: func(ctx context.Context) error {
				times = append(times, time.Since(began))
				<-ctx.Done()
				times = append(times, time.Since(began))
				return nil
			},
		}.Run(t.Context(), func(ctx context.Context, i int, acked func()) error {
			if first.Add(1) == 1 {
				time.Sleep(time.Second) // a cold start
			}
			return serve(ctx, i, acked)
		})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(times, []time.Duration{2 * time.Second, 7 * time.Second}) {
			t.Errorf("During ran from and until %v", times)
		}
		if r.Ack.Count != 500 || r.End.Count != 500 || r.Ended != 500 || r.Failed != 0 || r.Problem != "" ||
			r.Ack.Max < 1 || r.Ack.Max > 1.1 || r.End.P99 < 3 || r.End.P99 > 3.1 {
			t.Errorf("%+v", r)
		}
		if !(Bounds{Ack: 2 * time.Millisecond, End: 4 * time.Millisecond}).Hold(r) {
			t.Error("it does not hold")
		}
		for _, b := range []Bounds{
			{Ack: time.Millisecond / 2}, {Ack: 2 * time.Millisecond, End: 2 * time.Millisecond},
		} {
			if b.Hold(r) {
				t.Errorf("%+v hold", b)
			}
		}
	})
}

// A system at twice its rate is left alone as soon as it is far behind, and a search finds its rate.
func TestASystemThatIsFarBehindEndsItsStep(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := Bounds{Ack: 50 * time.Millisecond, End: time.Second}
		serve := server(10 * time.Millisecond)
		began := time.Now()
		r, err := Step{Rate: 200, For: time.Minute, Behind: b.Behind()}.Run(t.Context(), serve)
		if took := time.Since(began); err != nil || !strings.Contains(r.Problem, "too far behind") || took > 15*time.Second ||
			b.Hold(r) {
			t.Errorf("after %v: %+v, %v", took, r, err)
		}
		steps := 0
		search, step := Search{From: 10, Most: 1000, Precision: 0.05}, Step{WarmUp: time.Second, For: 20 * time.Second}
		rate, err := search.Run(t.Context(), step, b, serve, func(Result, bool) { steps++ })
		if err != nil || rate < 95 || rate > 106 || steps < 8 {
			t.Errorf("the highest rate is %v after %d steps, %v", rate, steps, err)
		}
	})
}

func TestAFailedJobDoesNotHold(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		r, err := Step{Rate: 10, For: 2 * time.Second}.Run(t.Context(), func(_ context.Context, i int, acked func()) error {
			if i == 7 {
				return errors.New("refused")
			}
			acked()
			return nil
		})
		if err != nil || r.Failed != 1 || r.Problem != "refused" || r.Ack.Count != 19 || (Bounds{Ack: time.Hour}).Hold(r) {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// A job whose end never comes fails, and does not hold up the search.
func TestALostJobEndsWithItsPatience(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		began := time.Now()
		r, err := Step{Rate: 1, For: time.Second}.Run(t.Context(), func(ctx context.Context, _ int, acked func()) error {
			acked()
			<-ctx.Done()
			return ctx.Err()
		})
		if took := time.Since(began); err != nil || took != patience || r.Failed != 1 {
			t.Errorf("after %v: %+v, %v", took, r, err)
		}
	})
}

func TestABrokenOffStepHasNoResult(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := (Step{Rate: 10, For: time.Hour}).Run(ctx, server(0)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		failing := errors.New("no profile")
		step := Step{Rate: 10, For: time.Second, During: func(context.Context) error { return failing }}
		_, err := step.Run(t.Context(), server(0))
		if !errors.Is(err, failing) {
			t.Error(err)
		}
	})
}
