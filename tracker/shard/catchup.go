package shard

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
)

// errAhead ends a shard whose store reflects records that the log does not hold.
var errAhead = errors.New("store is ahead of the log, which has lost its tail")

// progressInterval is the time between two log lines of a shard that catches up.
const progressInterval = 5 * time.Second

// catchUp is the time from a shard's start until it has folded everything that the log held then. Until it is over the
// shard is not ready: it answers nothing, pays no debts and sends no orders, for what it knows may be long past.
type catchUp struct {
	// Any goroutine may read these.
	ready atomic.Bool  // it is over
	until atomic.Int64 // end

	// Owned by the shard's goroutine.
	was      bool                   // it was over when the shard ended
	restored int64                  // the position when Run began
	end      int64                  // the log's end when Run began; -1 while it is not known
	endAt    time.Time              // when that was asked
	began    time.Time              // when Run began
	told     time.Time              // when progress was last logged
	grants   map[string]event.Order // the last one of each job, by its ID: they are sent once it is over
}

func newCatchUp() catchUp { return catchUp{end: -1, grants: map[string]event.Order{}} }

// begin notes where the shard begins to fold, and when.
func (c *catchUp) begin(restored int64, now time.Time) {
	c.restored, c.began, c.told = restored, now, now
}

// learn takes where the log ended at a time.
func (c *catchUp) learn(end int64, at time.Time) error {
	if end < c.restored {
		// Records at offsets that the store has seen would be skipped.
		return fmt.Errorf("%w: it ends at %d, the store at %d", errAhead, end, c.restored)
	}
	c.end, c.endAt = end, at
	c.until.Store(end)
	return nil
}

// reached reports, once, that the position is where the log ended at the start: the shard is ready from then on.
func (c *catchUp) reached(next int64) bool {
	if c.ready.Load() || c.end < 0 || next < c.end {
		return false
	}
	c.ready.Store(true)
	return true
}

// leave ends readiness with the shard. It reports whether the shard was ready.
func (c *catchUp) leave() bool {
	c.was = c.ready.Swap(false)
	return c.was
}

// hold remembers an order; a grant is sent once the shard has caught up. Others are earned again.
func (c *catchUp) hold(o event.Order) {
	if o.Type == event.Granted {
		c.grants[o.JobID] = o
	}
}

// granted returns the grants of runs that still hold their jobs, and forgets all.
func (c *catchUp) granted(jobs *memory) (orders []event.Order) {
	for id, order := range c.grants {
		if e := jobs.all[id]; e != nil && e.job != nil && e.job.Run == order.Run {
			orders = append(orders, order)
		}
	}
	c.grants = nil
	return orders
}

// progress returns how far catching up has come, as a log line's attributes, every few seconds; else nil.
func (c *catchUp) progress(next int64, now time.Time) []any {
	if c.ready.Load() || now.Sub(c.told) < progressInterval {
		return nil
	}
	c.told = now
	folded := next - c.restored
	attrs := []any{"records", folded, "per_second", int64(float64(folded) / now.Sub(c.began).Seconds())}
	if c.end >= 0 {
		attrs = append(attrs, "remaining", c.end-next)
	}
	return attrs
}
