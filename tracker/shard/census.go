package shard

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/store"
)

// census counts a shard's jobs that have not ended, in memory or not, and has the tracker's gauges count the same. It
// has what happened to jobs lately, too. Owned by the shard's goroutine.
type census struct {
	metrics  *Metrics
	activity activity
	active   int64
	open     map[*lane]map[job.State]int64 // the same jobs, as the gauges of their lanes have them
	asOf     atomic.Int64                  // when the log last ended where the counts do, in Unix nanoseconds; 0 if never
}

func newCensus(m *Metrics, a activity) census {
	return census{metrics: m, activity: a, open: map[*lane]map[job.State]int64{}}
}

// begin counts what the store has.
func (c *census) begin(p *store.Partition) (err error) {
	c.active = p.Totals().Active
	c.metrics.active.Add(float64(c.active))
	r := p.Reader()
	defer func() { err = errors.Join(err, r.Close()) }()
	return r.AllCounts(p, func(t store.Tuple, n int64) {
		if !t.State.Terminal() && n != 0 {
			c.add(c.metrics.Lanes.kind(t.Lane, t.Type).lane, t.State, n)
		}
	})
}

// end takes away from the gauges what another tracker will have.
func (c *census) end() {
	c.metrics.active.Sub(float64(c.active))
	for l, counts := range c.open {
		for state, n := range counts {
			l.jobs[state].Sub(float64(n))
			if waits(state) {
				l.waiting.Add(-n)
			}
		}
	}
	clear(c.open)
	c.activity.log.Close()
}

// measure tells what an event has done to an entry's job that was another one before.
func (c *census) measure(e *entry, was *fold.Job, by *event.Event) {
	if e.job == nil {
		return
	}
	if e.kind == nil {
		e.kind = c.metrics.Lanes.kind(e.job.Doc.Lane, e.job.Doc.Type)
	}
	e.kind.measure(was, e.job, by)
}

// changed counts an entry's job that was another one before; nil is none.
func (c *census) changed(e *entry, was *fold.Job) {
	j := e.job
	c.tally(e, was, j)
	wasActive, isActive := was != nil && !was.Ended(), j != nil && !j.Ended()
	switch {
	case isActive && !wasActive:
		c.active++
		c.metrics.active.Inc()
	case wasActive && !isActive:
		c.active--
		c.metrics.active.Dec()
	}
	if wasActive && j != nil && j.Ended() || was == nil && j != nil && j.Ended() {
		c.metrics.ended.WithLabelValues(string(j.Doc.State)).Inc()
	}
}

// tally counts a job whose state may have changed in its lane.
func (c *census) tally(e *entry, was, j *fold.Job) {
	var before, now job.State
	if was != nil && !was.Ended() {
		before = was.Doc.State
	}
	if j != nil && !j.Ended() {
		now = j.Doc.State
	}
	if before == now {
		if j == nil {
			e.kind = nil // the ID's next job may be of another kind
		}
		return
	}
	if e.kind == nil {
		known := j
		if known == nil {
			known = was
		}
		e.kind = c.metrics.Lanes.kind(known.Doc.Lane, known.Doc.Type)
	}
	c.add(e.kind.lane, before, -1)
	c.add(e.kind.lane, now, 1)
	if now == job.Processing {
		e.kind.started.Add(1)
	}
}

func (c *census) add(l *lane, state job.State, n int64) {
	if state == "" {
		return
	}
	counts := c.open[l]
	if counts == nil {
		counts = map[job.State]int64{}
		c.open[l] = counts
	}
	counts[state] += n
	l.jobs[state].Add(float64(n))
	if waits(state) {
		l.waiting.Add(n)
	}
}

// waits reports whether a job of this state waits for a worker's slot.
func waits(s job.State) bool { return s == job.Pending || s == job.Queued }

// reached notes that all before next is counted.
func (c *census) reached(f *freshness, next int64) {
	if next >= f.end && !f.endedAt.IsZero() {
		c.asOf.Store(f.endedAt.UnixNano())
	}
}

// Counted returns when the log last ended where the shard's counts of its jobs do, or the zero time while the shard is
// not ready. It may be called from any goroutine.
func (s *Shard) Counted() time.Time {
	if at := s.census.asOf.Load(); at != 0 && s.catching.ready.Load() {
		return time.Unix(0, at)
	}
	return time.Time{}
}
