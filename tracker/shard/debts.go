package shard

import (
	"container/heap"
	"time"

	"github.com/ackwire/ackwire/tracker/fold"
)

// What a job owes follows from its document alone (fold.NextDebt), so there is no outbox
// to keep: a debt that was paid is armed again until its event is folded.

// After an event was appended and is not folded yet, it is appended again; the wait doubles.
const (
	rearmMin = time.Second
	rearmMax = 8 * time.Second
)

// debts is what a shard's jobs owe soon, and the one timer of the next that is due. Owned by the shard's goroutine.
type debts struct {
	jobs    *memory
	clock   *logClock
	sender  *sender
	handOut func(*entry) // pays the debt of a next dispatch, which takes more than an event

	due         dueHeap
	loadMore    bool                 // there was more to load than fits
	scheduledBy time.Duration        // clock.ahead.by when all timers were last armed
	readyAt     time.Time            // when the shard had caught up; zero before
	graced      []*entry             // runs that have a grace after the takeover
	expiring    map[string]time.Time // jobs whose expired was appended, and when
	nextExpiry  int64                // nothing expires before, by the log's clock in Unix milliseconds
}

func newDebts(jobs *memory, clock *logClock, out *sender, handOut func(*entry)) debts {
	return debts{jobs: jobs, clock: clock, sender: out, handOut: handOut, expiring: map[string]time.Time{}}
}

// begin arms the timers of all jobs in memory: from now on debts are paid.
func (d *debts) begin(now time.Time) {
	d.scheduledBy, d.readyAt = d.clock.ahead.by, now
	for _, e := range d.jobs.all {
		if e.job != nil && !e.job.Ended() {
			e.seen = d.heard(e, now)
			d.schedule(e)
		}
	}
}

// changed arms the timer of an entry's job that has changed, unless the shard is catching up.
func (d *debts) changed(e *entry) {
	if e.job == nil {
		delete(d.expiring, e.id)
	}
	if !d.readyAt.IsZero() {
		d.schedule(e)
	}
}

// schedule arms the entry's timer for what its job owes next. The expiry of ended jobs is
// found in the store instead.
func (d *debts) schedule(e *entry) {
	if e.job == nil || e.job.Ended() || e.paying || !d.assess(e) {
		d.disarm(e)
		return
	}
	if e.index < 0 {
		heap.Push(&d.due, e)
	} else {
		heap.Fix(&d.due, e.index)
	}
}

// assess computes what the entry's job owes next, and when by the local clock; false is
// nothing.
func (d *debts) assess(e *entry) bool {
	e.owed = fold.NextDebt(e.job, e.seen.Add(-d.clock.ahead.by))
	e.due = e.owed.At.Add(d.clock.ahead.by)
	if e.due.Before(e.notBefore) {
		e.due = e.notBefore
	}
	return e.owed.Kind != fold.None
}

// rearmShift is how far the estimate of the log's clock may move before all timers are armed anew.
const rearmShift = time.Second

// rearm arms all timers anew if the estimate of the log's clock has moved.
func (d *debts) rearm() {
	if moved := d.clock.ahead.by - d.scheduledBy; -rearmShift <= moved && moved <= rearmShift {
		return
	}
	d.sender.log.Info("local clock differs from the log's", "ahead", d.clock.ahead.by)
	d.scheduledBy = d.clock.ahead.by
	for _, e := range d.due {
		d.assess(e)
	}
	heap.Init(&d.due)
}

// disarm stops the entry's timer.
func (d *debts) disarm(e *entry) {
	if e.index >= 0 {
		heap.Remove(&d.due, e.index)
	}
}

// arm sets the loop's one timer to the first due entry.
func (d *debts) arm(timer *time.Timer) {
	if len(d.due) == 0 {
		timer.Reset(time.Hour)
		return
	}
	timer.Reset(time.Until(d.due[0].due))
}

// pay pays what is due.
func (d *debts) pay(now time.Time) {
	for len(d.due) > 0 && !d.due[0].due.After(now) {
		e := d.due[0]
		if d.schedule(e); e.index < 0 || e.due.After(now) {
			continue // the estimate of the log's clock has moved
		}
		kind := e.owed.Kind
		if kind == fold.HandOut {
			// A job that cannot be handed out must not miss its deadline for it.
			if at, ok := fold.DeadlineAt(e.job); !ok || at.Add(d.clock.ahead.by).After(now) {
				d.disarm(e)
				d.handOut(e)
				continue
			}
			kind = fold.Deadline
		}
		e.notBefore = now.Add(min(rearmMin<<min(e.tries, 10), rearmMax))
		e.tries++
		d.schedule(e)
		d.sender.append(fold.DebtEvent(e.job, kind), e.traced.context())
	}
}
