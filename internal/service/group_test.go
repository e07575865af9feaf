package service

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
)

// part returns a part that runs until its context ends, then needs linger to stop.
func part(stopped *atomic.Int32, linger time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		time.Sleep(linger)
		stopped.Add(1)
		return nil
	}
}

func TestGroupStopsCleanlyWithItsContext(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		g := NewGroup(ctx)
		var stopped atomic.Int32
		g.Go("quick", part(&stopped, time.Second))
		g.Go("slow", part(&stopped, time.Minute))
		g.Go("bare", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		stop()
		if err := g.Wait(); err != nil {
			t.Errorf("a stop that was asked for is no failure: %v", err)
		}
		if n := stopped.Load(); n != 2 {
			t.Errorf("Wait returned with %d of 2 parts stopped", n)
		}
	})
}

func TestGroupEndsWithItsFirstPart(t *testing.T) {
	failure := errors.New("disk is gone")
	for _, c := range []struct {
		name string
		ends func(context.Context) error
		want string
	}{
		{"that fails", func(context.Context) error { return failure }, "store: disk is gone"},
		{"that just ends", func(context.Context) error { return nil }, "store ended by itself"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				g := NewGroup(t.Context())
				var stopped atomic.Int32
				g.Go("other", part(&stopped, time.Second))
				g.Go("worse", func(ctx context.Context) error { <-ctx.Done(); time.Sleep(time.Minute); return errors.New("later") })
				g.Go("store", c.ends)
				if err := g.Wait(); err == nil || err.Error() != c.want {
					t.Errorf("got %v, want the first failure: %s", err, c.want)
				}
				if stopped.Load() != 1 {
					t.Error("the other part was not stopped and waited for")
				}
			})
		})
	}
}
