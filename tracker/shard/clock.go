package shard

import (
	"container/heap"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/text"
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

// stampTolerance is how far a time that an event's writer gave may lie from the local clock
// before the local clock counts instead. Nothing falls due early by more than that.
const stampTolerance = 10 * time.Second

// writerClock is what a shard knows of times that were not given by the broker. A topic status
// with message.timestamp.type=CreateTime has only such: each is its writer's, and so anything.
type writerClock struct {
	latest time.Time // when the last record was appended, at the earliest
	told   time.Time // when a record's time was last complained of
}

// stampedByBroker reports whether the broker gave the record its time (LogAppendTime).
func stampedByBroker(rec *kgo.Record) bool { return rec.Attrs.TimestampType() == 1 }

// appendedAt tells when a record was appended: the broker's word where it is that, else the
// writer's as far as it can be true. It was not appended after now, not before the record before
// it and, when it has just come, not long ago.
func (s *Shard) appendedAt(rec *kgo.Record, now time.Time) time.Time {
	if stampedByBroker(rec) {
		return rec.Timestamp
	}
	at := rec.Timestamp
	earliest := s.writers.latest
	if s.ready.Load() {
		earliest = now
	}
	why := ""
	if earliest = earliest.Add(-stampTolerance); at.Before(earliest) {
		at, why = earliest, "behind"
	} else if at.After(now) {
		if at.After(now.Add(stampTolerance)) {
			why = "ahead"
		}
		at = now
	}
	if at.After(s.writers.latest) {
		s.writers.latest = at
	}
	if why != "" {
		s.metrics.wildStamps.WithLabelValues(why).Inc()
		if now.Sub(s.writers.told) >= stampComplaint {
			s.writers.told = now
			s.log.Error("a record's time cannot be true: its writer's clock is wrong, and the topic status takes its word; "+
				"set message.timestamp.type=LogAppendTime",
				"offset", rec.Offset, "key", text.Clip(string(rec.Key), maxDeadDetail), "stamped", rec.Timestamp, "counted", at,
				"is", why)
		}
	}
	return at
}

// stampComplaint is how long the log is silent about wrong times after it has said one.
const stampComplaint = time.Minute

// observe compares the clocks by a record that was just read, and that the broker has stamped.
// While the shard catches up records are old, and show no more than that the local clock is
// behind.
func (s *Shard) observe(now time.Time, rec *kgo.Record) {
	if !stampedByBroker(rec) {
		return // one writer's clock would move what all jobs are owed
	}
	logTime := rec.Timestamp
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
