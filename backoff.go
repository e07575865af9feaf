package ackwire

import (
	"math/rand/v2"
	"time"
)

// Backoff is an exponential backoff with full jitter: the wait before the n-th retry in a row is random,
// between 0 and min(Cap, Base × 2^(n-1)). Full jitter spreads clients that lost the same server evenly, so
// that they do not all reconnect at once.
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

// wait returns a random wait after n failures in a row, on top of atLeast, which is the wait that the server
// asked for (0 for none, cut to maxReconnectAfter).
func (b Backoff) wait(n int, atLeast time.Duration) time.Duration {
	d := time.Duration(rand.Int64N(int64(b.ceiling(n)) + 1))
	return d + min(atLeast, maxReconnectAfter)
}
