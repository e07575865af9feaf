// Package pause has a sleep that ends early when a context ends.
package pause

import (
	"context"
	"time"
)

// For waits for the duration d. It returns true when d has passed, and false as soon as ctx ends. If d is zero
// or less it returns at once, true unless ctx has ended.
func For(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
