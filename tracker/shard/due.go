package shard

import (
	"fmt"
	"time"
)

// What is due within dueHorizon is in memory, and no more than maxDue of it that no run holds.
const (
	dueHorizon = 15 * time.Second
	maxDue     = 50_000
)

// load takes jobs into memory that will soon owe something.
func (d *debts) load(now time.Time) error {
	upTo := now.Add(dueHorizon - d.clock.ahead.by).UnixMilli()
	if upTo <= d.jobs.loadedTo+dueHorizon.Milliseconds()/3 && !d.loadMore {
		return nil
	}
	d.loadMore = false
	err := d.jobs.store.DueJobs(d.jobs.loadedTo, upTo, func(id string, due int64) (bool, error) {
		if e := d.jobs.all[id]; e != nil {
			d.schedule(e) // it may have come for those who watch it, before it owed anything soon
			return true, nil
		}
		if len(d.due) >= maxDue {
			d.jobs.loadedTo, d.loadMore = due, true
			return false, nil
		}
		e, err := d.jobs.lookup(id)
		if err != nil {
			return false, err
		}
		if e.job != nil && !e.job.Ended() {
			e.seen = now
			d.jobs.keep(e)
			d.schedule(e)
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("load due jobs: %w", err)
	}
	if !d.loadMore {
		d.jobs.loadedTo = upTo
	}
	return nil
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
