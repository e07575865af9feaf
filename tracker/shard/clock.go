package shard

import (
	"container/heap"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
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

// A topic status with message.timestamp.type=CreateTime has the times of its records' writers, and these may
// be anything. So there the log has no clock, and timers go by the clock of the partition's owner: a record
// counts as appended when the owner has read it first, or up to stampTolerance earlier if its time says so.
// A timer is then early by stampTolerance at most, and late by the time that the record waited for an owner.
//
// That needs no other record to compare with, so the first record after a restart is no special case. A job
// keeps the clock of its events in the store and in the view. Rules do not decide by it (see fold.Meta): another
// tracker that reads the same log later has the same documents and takes the same events.

// stampTolerance is how far a time that an event's writer gave may lie before the owner's clock.
const stampTolerance = 10 * time.Second

// wrong says how a record's time cannot be true.
type wrong string

const (
	timeAhead  wrong = "ahead"
	timeBehind wrong = "behind"
)

// writerClock is what a shard knows of the times that writers gave their records.
type writerClock struct {
	latest time.Time           // when the last record was appended, as far as writers are believed
	told   map[wrong]time.Time // when a record's time was last complained of
}

// appended is what a shard takes for the time at which a record was appended.
type appended struct {
	clock    time.Time // timers count from it
	believed time.Time // as the record says, unless that cannot be true; only metrics go by it
	byWriter bool      // the writer set the record's time, and not the broker
}

// stamped reports whether the broker gave the record its time (LogAppendTime).
func (s *Shard) stamped(rec *kgo.Record) bool {
	return s.brokerTimes || rec.Attrs.TimestampType() == 1
}

// appendedAt tells when a record was appended.
func (s *Shard) appendedAt(rec *kgo.Record, now time.Time) appended {
	if s.stamped(rec) {
		return appended{clock: rec.Timestamp, believed: rec.Timestamp}
	}
	read := now.Add(-s.ahead.by) // by the log's clock, if it has one
	at := appended{clock: rec.Timestamp, believed: rec.Timestamp, byWriter: true}
	if least := read.Add(-stampTolerance); at.clock.Before(least) {
		at.clock = least
	} else if at.clock.After(read) {
		at.clock = read
	}
	var is wrong
	if earliest := s.appendedAfter().Add(-stampTolerance); at.believed.Before(earliest) {
		at.believed, is = earliest, timeBehind
	} else if at.believed.After(read) {
		at.believed = read
		if rec.Timestamp.After(read.Add(stampTolerance)) {
			is = timeAhead
		}
	}
	if at.believed.After(s.writers.latest) {
		s.writers.latest = at.believed
	}
	if is != "" {
		s.complain(rec, is, read, now)
	}
	return at
}

// appendedAfter returns a time by the log's clock at which the next record was not yet appended: when the log was
// last seen to end before it or, while the shard catches up, the time of the record before it.
func (s *Shard) appendedAfter() time.Time {
	if s.ready.Load() {
		return s.fresh.asOf.Add(-s.ahead.by)
	}
	return s.writers.latest
}

// complain counts a record's wrong time, and logs it unless one that is wrong in the same way was logged
// within stampComplaint.
func (s *Shard) complain(rec *kgo.Record, is wrong, read, now time.Time) {
	s.metrics.wildStamps.WithLabelValues(string(is)).Inc()
	if told, ok := s.writers.told[is]; ok && now.Sub(told) < stampComplaint {
		return
	}
	s.writers.told[is] = now
	e, _ := event.Decode(rec.Value)
	s.log.Error("a record's time cannot be true: its writer's clock is wrong, and the topic status takes its word; "+
		"set message.timestamp.type=LogAppendTime",
		"offset", rec.Offset, "key", text.Clip(string(rec.Key), maxDeadDetail), "type", e.Type,
		"worker", text.Clip(e.Worker, maxDeadDetail), "is", is, "stamped", rec.Timestamp, "read", read)
}

// stampComplaint is how long the log is silent about times that are wrong in one way after it has said so.
const stampComplaint = time.Minute

// observe compares the clocks by a record that was just read, and that the broker has stamped.
// While the shard catches up records are old, and show no more than that the local clock is
// behind.
func (s *Shard) observe(now time.Time, rec *kgo.Record) {
	if !s.stamped(rec) {
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
