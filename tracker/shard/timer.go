package shard

import (
	"container/heap"
	"fmt"
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

// schedule arms the entry's timer for what its job owes next. The expiry of ended jobs is
// found in the store instead.
func (s *Shard) schedule(e *entry) {
	if e.job == nil || e.job.Ended() || e.paying || !s.assess(e) {
		s.disarm(e)
		return
	}
	if e.index < 0 {
		heap.Push(&s.due, e)
	} else {
		heap.Fix(&s.due, e.index)
	}
}

// assess computes what the entry's job owes next, and when by the local clock; false is
// nothing.
func (s *Shard) assess(e *entry) bool {
	e.owed = fold.NextDebt(e.job, e.seen.Add(-s.clock.ahead.by))
	e.due = e.owed.At.Add(s.clock.ahead.by)
	if e.due.Before(e.notBefore) {
		e.due = e.notBefore
	}
	return e.owed.Kind != fold.None
}

// rearmShift is how far the estimate of the log's clock may move before all timers are armed anew.
const rearmShift = time.Second

// rearm arms all timers anew if the estimate of the log's clock has moved.
func (s *Shard) rearm() {
	if moved := s.clock.ahead.by - s.scheduledBy; -rearmShift <= moved && moved <= rearmShift {
		return
	}
	s.log.Info("local clock differs from the log's", "ahead", s.clock.ahead.by)
	s.scheduledBy = s.clock.ahead.by
	for _, e := range s.due {
		s.assess(e)
	}
	heap.Init(&s.due)
}

func (s *Shard) disarm(e *entry) {
	if e.index >= 0 {
		heap.Remove(&s.due, e.index)
	}
}

// arm sets the loop's one timer to the first due entry.
func (s *Shard) arm(timer *time.Timer) {
	if len(s.due) == 0 {
		timer.Reset(time.Hour)
		return
	}
	timer.Reset(time.Until(s.due[0].due))
}

// payDebts pays what is due.
func (s *Shard) payDebts() {
	now := time.Now()
	for len(s.due) > 0 && !s.due[0].due.After(now) {
		e := s.due[0]
		if s.schedule(e); e.index < 0 || e.due.After(now) {
			continue // the estimate of the log's clock has moved
		}
		kind := e.owed.Kind
		if kind == fold.HandOut {
			// A job that cannot be handed out must not miss its deadline for it.
			if at, ok := fold.DeadlineAt(e.job); !ok || at.Add(s.clock.ahead.by).After(now) {
				s.disarm(e)
				s.handOuts.add(e)
				continue
			}
			kind = fold.Deadline
		}
		e.notBefore = now.Add(min(rearmMin<<min(e.tries, 10), rearmMax))
		e.tries++
		s.schedule(e)
		s.sender.append(fold.DebtEvent(e.job, kind), e.traced.context())
	}
}

// expiredRearm is after how long an expired that was appended and not folded is appended
// again.
const expiredRearm = 30 * time.Second

// expire appends expired for jobs whose retention is over.
func (s *Shard) expire() {
	if !s.ready.Load() {
		return
	}
	now := time.Now()
	for id, at := range s.expiring {
		if now.Sub(at) > expiredRearm {
			delete(s.expiring, id)
		}
	}
	if len(s.expiring) >= expiryBatch {
		return
	}
	over := now.Add(-s.clock.ahead.by)
	if over.UnixMilli() < s.nextExpiry {
		return
	}
	ids, err := s.store.Expired(over.UnixMilli(), expiryBatch)
	if err == nil && len(ids) == 0 {
		s.nextExpiry, err = s.store.NextExpiry()
	}
	if err != nil {
		s.fail(fmt.Errorf("look for expired jobs: %w", err))
		return
	}
	for _, id := range ids {
		if _, asked := s.expiring[id]; asked {
			continue
		}
		e, err := s.jobs.lookup(id)
		if err != nil {
			s.fail(err)
			return
		}
		j := e.folded()
		if j == nil || !j.Ended() || fold.NextDebt(j, now).At.After(over) {
			continue // it was retried or removed, and the store does not know yet
		}
		s.expiring[id] = now
		s.sender.append(fold.DebtEvent(j, fold.Expiry), nil)
	}
}

// What is due within dueHorizon is in memory, and no more than maxDue of it that no run holds.
const (
	dueHorizon = 15 * time.Second
	maxDue     = 50_000
)

// loadDue takes jobs into memory that will soon owe something.
func (s *Shard) loadDue() {
	if !s.ready.Load() {
		return
	}
	now := time.Now()
	upTo := now.Add(dueHorizon - s.clock.ahead.by).UnixMilli()
	if upTo <= s.jobs.loadedTo+dueHorizon.Milliseconds()/3 && !s.loadMore {
		return
	}
	s.loadMore = false
	err := s.store.DueJobs(s.jobs.loadedTo, upTo, func(id string, due int64) (bool, error) {
		if e := s.jobs.all[id]; e != nil {
			s.schedule(e) // it may have come for those who watch it, before it owed anything soon
			return true, nil
		}
		if len(s.due) >= maxDue {
			s.jobs.loadedTo, s.loadMore = due, true
			return false, nil
		}
		e, err := s.jobs.lookup(id)
		if err != nil {
			return false, err
		}
		if e.job != nil && !e.job.Ended() {
			e.seen = now
			s.jobs.keep(e)
			s.schedule(e)
		}
		return true, nil
	})
	if err != nil {
		s.fail(fmt.Errorf("load due jobs: %w", err))
		return
	}
	if !s.loadMore {
		s.jobs.loadedTo = upTo
	}
}

// dueHeap orders entries by when they are due.
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	e.index = -1
	return e
}
