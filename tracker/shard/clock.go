package shard

import (
	"container/heap"
	"time"
)

// aheadClock estimates how far the local clock is ahead of the log's: the least distance
// seen lately, for each one is the difference of the clocks and the record's way here. The
// log's times are the broker's; timers run on the local clock.
type aheadClock struct {
	by           time.Duration
	recent, last time.Duration // least of this window, and of the one before
	since        time.Time     // when this window began
}

// aheadWindow is half of what "lately" means.
const aheadWindow = time.Minute

func (a *aheadClock) observe(now, logTime time.Time) {
	d := now.Sub(logTime)
	switch {
	case a.since.IsZero():
		a.recent, a.last, a.since = d, d, now
	case now.Sub(a.since) > aheadWindow:
		a.recent, a.last, a.since = d, a.recent, now
	case d < a.recent:
		a.recent = d
	}
	a.by = min(a.recent, a.last)
}

// rearmShift is how far the estimate may move before all timers are armed anew.
const rearmShift = time.Second

// observe compares the clocks by a record that was just read. While the shard catches up
// records are old, and show no more than that the local clock is behind.
func (s *Shard) observe(now, logTime time.Time) {
	if s.ready.Load() {
		s.ahead.observe(now, logTime)
	} else if d := now.Sub(logTime); d < s.ahead.by {
		s.ahead.by = d
	}
	if moved := s.ahead.by - s.scheduledBy; s.ready.Load() && (moved > rearmShift || moved < -rearmShift) {
		s.log.Info("local clock differs from the log's", "ahead", s.ahead.by)
		s.scheduledBy = s.ahead.by
		for _, e := range s.due {
			s.assess(e)
		}
		heap.Init(&s.due)
	}
}
