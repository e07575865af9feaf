package shard

import (
	"log/slog"
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

// logClock is what a shard knows of the times in its log: how far the local clock is ahead of it, when records were
// appended, and up to when all that was appended is folded. Owned by the shard's goroutine.
type logClock struct {
	// Set before Run, then only read.
	brokerTimes bool // see Config
	metrics     *Metrics
	log         *slog.Logger

	live       bool // the shard has caught up: a record is read soon after it was appended
	ahead      aheadClock
	fresh      freshness
	writers    writerClock
	lastFolded time.Time // the time of the last record that was folded, by the log's clock
}

func newLogClock(brokerTimes bool, m *Metrics, log *slog.Logger) logClock {
	return logClock{brokerTimes: brokerTimes, metrics: m, log: log, writers: writerClock{told: map[wrong]time.Time{}}}
}

// goLive notes that the shard has caught up with the log as it was at a time.
func (c *logClock) goLive(at time.Time) {
	c.live = true
	c.fresh.folded(at)
}

// appended is what a shard takes for the time at which a record was appended.
type appended struct {
	clock    time.Time // timers count from it
	believed time.Time // as the record says, unless that cannot be true; only metrics go by it
	byWriter bool      // the writer set the record's time, and not the broker
}

// stamped reports whether the broker gave the record its time (LogAppendTime).
func (c *logClock) stamped(rec *kgo.Record) bool {
	return c.brokerTimes || rec.Attrs.TimestampType() == 1
}

// appendedAt tells when a record was appended.
func (c *logClock) appendedAt(rec *kgo.Record, now time.Time) appended {
	if c.stamped(rec) {
		return appended{clock: rec.Timestamp, believed: rec.Timestamp}
	}
	read := now.Add(-c.ahead.by) // by the log's clock, if it has one
	at := appended{clock: rec.Timestamp, believed: rec.Timestamp, byWriter: true}
	if least := read.Add(-stampTolerance); at.clock.Before(least) {
		at.clock = least
	} else if at.clock.After(read) {
		at.clock = read
	}
	var is wrong
	if earliest := c.appendedAfter().Add(-stampTolerance); at.believed.Before(earliest) {
		at.believed, is = earliest, timeBehind
	} else if at.believed.After(read) {
		at.believed = read
		if rec.Timestamp.After(read.Add(stampTolerance)) {
			is = timeAhead
		}
	}
	if at.believed.After(c.writers.latest) {
		c.writers.latest = at.believed
	}
	if is != "" {
		c.complain(rec, is, read, now)
	}
	return at
}

// appendedAfter returns a time by the log's clock at which the next record was not yet appended: when the log was
// last seen to end before it or, while the shard catches up, the time of the record before it.
func (c *logClock) appendedAfter() time.Time {
	if c.live {
		return c.fresh.asOf.Add(-c.ahead.by)
	}
	return c.writers.latest
}

// complain counts a record's wrong time, and logs it unless one that is wrong in the same way was logged
// within stampComplaint.
func (c *logClock) complain(rec *kgo.Record, is wrong, read, now time.Time) {
	c.metrics.wildStamps.WithLabelValues(string(is)).Inc()
	if told, ok := c.writers.told[is]; ok && now.Sub(told) < stampComplaint {
		return
	}
	c.writers.told[is] = now
	e, _ := event.Decode(rec.Value)
	c.log.Error("a record's time cannot be true: its writer's clock is wrong, and the topic status takes its word; "+
		"set message.timestamp.type=LogAppendTime",
		"offset", rec.Offset, "key", text.Clip(string(rec.Key), maxDeadDetail), "type", e.Type,
		"worker", text.Clip(e.Worker, maxDeadDetail), "is", is, "stamped", rec.Timestamp, "read", read)
}

// stampComplaint is how long the log is silent about times that are wrong in one way after it has said so.
const stampComplaint = time.Minute

// observe compares the clocks by a record that was just read, and that the broker has stamped.
// While the shard catches up records are old, and show no more than that the local clock is
// behind.
func (c *logClock) observe(now time.Time, rec *kgo.Record) {
	if !c.stamped(rec) {
		return // one writer's clock would move what all jobs are owed
	}
	logTime := rec.Timestamp
	if c.live {
		c.ahead.observe(now, logTime)
	} else if d := now.Sub(logTime); d < c.ahead.by {
		c.ahead.by = d
	}
}

// passed notes the time of a record that was folded. A time that its writer gave proves nothing of what is
// folded, nor, while the shard catches up, of what runs could have said since.
func (c *logClock) passed(at appended) {
	if !at.byWriter {
		c.fresh.folded(at.clock)
	}
	if !at.byWriter || c.live {
		c.lastFolded = at.clock
	}
}
