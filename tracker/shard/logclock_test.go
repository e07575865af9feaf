package shard

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/meter"
)

// stampedAt returns a record with a time, which the broker or its writer has set.
func stampedAt(at time.Time, byBroker bool) *kgo.Record {
	rec := &kgo.Record{Timestamp: at}
	if byBroker {
		rec.Attrs = kgo.NewRecordAttrs(kgo.RecordAttrsOpts{TimestampType: 1})
	}
	return rec
}

// TestLogClockBelieves compares when records count as appended that are read at noon. The log's clock is an hour behind
// the local one, and the log was last seen to end at half past ten by its own clock.
func TestLogClockBelieves(t *testing.T) {
	now := time2000().Add(12 * time.Hour)
	read := now.Add(-time.Hour) // by the log's clock
	ended := read.Add(-30 * time.Minute)
	for _, c := range []struct {
		why             string
		stamp           time.Time
		byBroker        bool
		clock, believed time.Time
		wrong           wrong
	}{
		{"the broker's word", read.Add(-20 * time.Hour), true, read.Add(-20 * time.Hour), read.Add(-20 * time.Hour), ""},
		{"a writer's, which may be", read.Add(-time.Second), false, read.Add(-time.Second), read.Add(-time.Second), ""},
		{"it waited to be read", read.Add(-time.Minute), false, read.Add(-stampTolerance), read.Add(-time.Minute), ""},
		{"before the log's last end", ended.Add(-time.Hour), false, read.Add(-stampTolerance),
			ended.Add(-stampTolerance), timeBehind},
		{"a little ahead", read.Add(time.Second), false, read, read, ""},
		{"far ahead", read.Add(time.Minute), false, read, read, timeAhead},
	} {
		c1 := newLogClock(false, NewMetrics(meter.New(prometheus.NewRegistry(), "tracker")), quiet)
		c1.ahead.by = time.Hour
		c1.goLive(ended.Add(time.Hour)) // asked by the local clock
		got := c1.appendedAt(stampedAt(c.stamp, c.byBroker), now)
		if want := (appended{c.clock, c.believed, !c.byBroker}); got != want {
			t.Errorf("%s: %v, want %v", c.why, got, want)
		}
		for _, is := range []wrong{timeAhead, timeBehind} {
			n := testutil.ToFloat64(c1.metrics.wildStamps.WithLabelValues(string(is)))
			if want := map[bool]float64{true: 1}[is == c.wrong]; n != want {
				t.Errorf("%s: %v times that are wrong, %s", c.why, n, is)
			}
		}
	}
}

// TestLogClockWhileCatchingUp: old records show no more than that the local clock is behind, and times of writers prove
// nothing.
func TestLogClockWhileCatchingUp(t *testing.T) {
	c := newLogClock(false, NewMetrics(meter.New(prometheus.NewRegistry(), "tracker")), quiet)
	now := time2000()
	c.observe(now, stampedAt(now.Add(-time.Hour), true))
	if c.ahead.by != 0 {
		t.Errorf("by an old record the local clock is %s ahead", c.ahead.by)
	}
	c.observe(now, stampedAt(now.Add(time.Minute), true))
	c.observe(now, stampedAt(now.Add(time.Hour), false))
	if c.ahead.by != -time.Minute {
		t.Errorf("it is %s ahead, and is a minute behind", c.ahead.by)
	}
	c.passed(appended{clock: now, byWriter: true})
	if !c.lastFolded.IsZero() || !c.fresh.asOf.IsZero() {
		t.Errorf("a writer's time has shown %s and %s", c.lastFolded, c.fresh.asOf)
	}
	c.goLive(now.Add(-time.Second))
	c.passed(appended{clock: now, byWriter: true})
	if !c.lastFolded.Equal(now) || !c.fresh.asOf.Equal(now.Add(-time.Second)) {
		t.Errorf("once it has caught up: %s and %s", c.lastFolded, c.fresh.asOf)
	}
	c.observe(now, stampedAt(now.Add(-time.Hour), true))
	if c.ahead.by != time.Hour {
		t.Errorf("it is %s ahead, and is an hour", c.ahead.by)
	}
}
