package ackwire

import (
	"math/rand/v2"
	"time"
)

// Backoff is a wait with full jitter: before the n-th try in a row it lies
// anywhere between 0 and min(Cap, Base × 2^(n-1)). Full jitter spreads clients that lost
// the same server evenly, so that they do not come back as one wave.
type Backoff struct {
	// Base bounds the first wait; 0 means DefaultBackoffBase.
	Base time.Duration
	// Cap bounds every wait; 0 means DefaultBackoffCap.
	Cap time.Duration
}

func (b Backoff) withDefaults() Backoff {
	if b.Base <= 0 {
		b.Base = DefaultBackoffBase
	}
	if b.Cap <= 0 {
		b.Cap = DefaultBackoffCap
	}
	b.Cap = max(b.Cap, b.Base)
	return b
}

// ceiling is the longest wait after n failures in a row, n from 0.
func (b Backoff) ceiling(n int) time.Duration {
	d := b.Base
	for ; n > 0 && d < b.Cap; n-- {
		d *= 2
	}
	return min(d, b.Cap)
}

// wait draws the wait after n failures in a row; never less than atLeast, which
// is what the server asked for.
func (b Backoff) wait(n int, atLeast time.Duration) time.Duration {
	d := time.Duration(rand.Int64N(int64(b.ceiling(n)) + 1))
	return d + min(atLeast, maxReconnectAfter)
}
