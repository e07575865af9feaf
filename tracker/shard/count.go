package shard

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/store"
)

// What a shard has, for its tracker's gauges.

// kindOf is where the entry's job is counted.
func (s *Shard) kindOf(e *entry) *kind {
	if e.kind == nil {
		e.kind = s.metrics.Lanes.kind(e.job.Lane, e.job.Doc.Type)
	}
	return e.kind
}

// tally counts a job whose state may have changed.
func (s *Shard) tally(e *entry, was, j *fold.Job) {
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
		e.kind = s.metrics.Lanes.kind(known.Lane, known.Doc.Type)
	}
	s.addOpen(e.kind.lane, before, -1)
	s.addOpen(e.kind.lane, now, 1)
}

func (s *Shard) addOpen(l *lane, state job.State, n int64) {
	if state == "" {
		return
	}
	counts := s.open[l]
	if counts == nil {
		counts = map[job.State]int64{}
		s.open[l] = counts
	}
	counts[state] += n
	l.jobs[state].Add(float64(n))
}

// countOpen counts what the store has.
func (s *Shard) countOpen() (err error) {
	r := s.store.Reader()
	defer func() { err = errors.Join(err, r.Close()) }()
	return r.AllCounts(s.store, func(t store.Tuple, n int64) {
		if !t.State.Terminal() && n != 0 {
			s.addOpen(s.metrics.Lanes.kind(t.Lane, t.Type).lane, t.State, n)
		}
	})
}

// uncountOpen takes away what another tracker will have.
func (s *Shard) uncountOpen() {
	for l, counts := range s.open {
		for state, n := range counts {
			l.jobs[state].Sub(float64(n))
		}
	}
	clear(s.open)
}

// age is since when the store lacks something. One goroutine changes it, any may ask.
type age struct {
	since   time.Time // of what came after the checkpoint that is being written; zero is none
	flushed time.Time // of what that has
	oldest  atomic.Int64
}

func (a *age) changed(at time.Time) {
	if a.since.IsZero() {
		a.since = at
		a.publish()
	}
}

// writing begins a checkpoint.
func (a *age) writing() {
	a.flushed, a.since = a.since, time.Time{}
	a.publish()
}

// written ends it.
func (a *age) written() {
	a.flushed = time.Time{}
	a.publish()
}

// failed ends one that wrote nothing.
func (a *age) failed() {
	if !a.flushed.IsZero() {
		a.since, a.flushed = a.flushed, time.Time{}
	}
	a.publish()
}

func (a *age) publish() {
	oldest := a.flushed
	if oldest.IsZero() {
		oldest = a.since
	}
	if oldest.IsZero() {
		a.oldest.Store(0)
		return
	}
	a.oldest.Store(oldest.UnixNano())
}

// Unwritten is for how long the store has lacked something; 0 when it has all.
func (s *Shard) Unwritten() time.Duration {
	if since := s.unwritten.oldest.Load(); since != 0 {
		return max(time.Since(time.Unix(0, since)), 0)
	}
	return 0
}
