package pause_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/pause"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFor(t *testing.T) {
	for _, c := range []struct {
		name   string
		d      time.Duration
		ends   time.Duration // when the context ends; negative: before the wait
		want   bool
		passed time.Duration
	}{
		{"the time passes", time.Hour, 2 * time.Hour, true, time.Hour},
		{"the context ends first", time.Hour, time.Minute, false, time.Minute},
		{"the context had ended", time.Hour, -1, false, 0},
		{"no time at all", 0, time.Hour, true, 0},
		{"a time that is over", -time.Second, time.Hour, true, 0},
		{"no time at all in a context that had ended", 0, -1, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.ends)
				defer cancel()
				began := time.Now()
				if got := pause.For(ctx, c.d); got != c.want {
					t.Errorf("got %v", got)
				}
				if passed := time.Since(began); passed != c.passed {
					t.Errorf("returned after %v", passed)
				}
			})
		})
	}
}
