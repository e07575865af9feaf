package shard

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ackwire/ackwire/tracker/store"
)

const (
	maxDirty           = 50_000                 // changed jobs that the store does not have: above it no record is folded
	checkpointInterval = 200 * time.Millisecond // how much folding a crash repeats, at most
	// a change that the store has not had for so long makes the shard not ready
	checkpointSilence = 5 * time.Second
	// fullWait is how long a checkpoint waits that found the disk full.
	fullWait = time.Second
)

// saving is what the store lacks, and the one checkpoint that may be being written. Owned by the shard's goroutine.
type saving struct {
	// Set before Run, then only read.
	store   *store.Partition
	metrics *Metrics
	log     *slog.Logger
	spawn   func(func()) // runs a function on a goroutine that the shard waits for

	// Any goroutine may read these.
	full      atomic.Bool // the disk has no room for a checkpoint
	unwritten age         // of what the store lacks

	stored       int64          // the position that the store has
	dirty        []*entry       // changed since the last checkpoint
	checkpointed <-chan error   // nil while no checkpoint is being written
	flushing     []*entry       // in the checkpoint that is being written
	flushed      []store.Change // what it writes, in the order of flushing
	flushedTo    int64          // its position
}

// open sets what the saving needs, and the position that the store has.
func (s *saving) open(p *store.Partition, m *Metrics, log *slog.Logger, spawn func(func())) {
	s.store, s.metrics, s.log = p, m, log
	s.spawn, s.stored = spawn, p.Position()
}

// changed notes that the store lacks a change of an entry.
func (s *saving) changed(e *entry) {
	if !e.dirty {
		e.dirty = true
		s.dirty = append(s.dirty, e)
	}
}

// busy reports whether a checkpoint is being written.
func (s *saving) busy() bool { return s.checkpointed != nil }

// lacks reports whether the store lacks a change or the position.
func (s *saving) lacks(next int64) bool { return len(s.dirty) > 0 || next != s.stored }

// crowded reports that more changes wait for the store than memory should hold.
func (s *saving) crowded() bool { return len(s.dirty)+len(s.flushing) >= maxDirty }

// wait is how long a change waits for its checkpoint: others come with it.
func (s *saving) wait() time.Duration {
	switch {
	case s.full.Load():
		return fullWait
	case len(s.dirty) >= maxDirty/2:
		return 0
	}
	return checkpointInterval
}

// checkpoint hands what changed to a goroutine that writes it. Folding goes on meanwhile;
// one checkpoint at a time.
func (s *saving) checkpoint(next, viewed, closedAt int64) {
	s.flushing, s.dirty = s.dirty, nil
	s.flushed, s.flushedTo = changes(s.flushing), next
	s.unwritten.writing()
	flushed := s.flushed
	result := make(chan error, 1)
	s.checkpointed = result
	s.spawn(func() { result <- s.write(flushed, next, viewed, closedAt) })
}

func changes(entries []*entry) []store.Change {
	changes := make([]store.Change, len(entries))
	for i, e := range entries {
		e.dirty, e.flushing = false, true
		changes[i] = store.Change{ID: e.id, Job: e.folded(), Was: e.saved, Over: e.over}
		e.over = nil
		if e.public != nil {
			changes[i].Doc = e.public.Document
		}
	}
	return changes
}

// write writes a checkpoint. One goroutine at a time may call it.
func (s *saving) write(changes []store.Change, next, viewed, closedAt int64) error {
	began := time.Now()
	// Before the position passes the mark. A position before it does no harm, as later events alone count by it.
	if err := s.store.Close(closedAt); err != nil {
		return err
	}
	if err := s.store.Checkpoint(changes, next, viewed); err != nil {
		return err
	}
	s.metrics.checkpoint.Observe(time.Since(began).Seconds())
	s.metrics.changes.Add(float64(len(changes)))
	return nil
}

// settle ends a checkpoint with its outcome, and returns the entries that the store has now. The error is the outcome;
// after store.ErrFull nothing was written, and all is to be written again.
func (s *saving) settle(outcome error) ([]*entry, error) {
	s.checkpointed = nil
	flushing, flushed := s.flushing, s.flushed
	s.flushing, s.flushed = nil, nil
	switch {
	case errors.Is(outcome, store.ErrFull):
		if !s.full.Swap(true) {
			s.log.Error("no checkpoint: all goes on in memory until the disk has room", "err", outcome)
		}
		s.metrics.diskFull.Inc()
		s.unwritten.failed()
		for i, e := range flushing {
			e.flushing = false
			e.over = append(flushed[i].Over, e.over...)
			s.changed(e)
		}
		return nil, outcome
	case outcome != nil:
		return nil, outcome
	}
	if s.full.Swap(false) {
		s.log.Info("the disk has room again")
	}
	s.unwritten.written()
	s.stored = s.flushedTo
	for i, e := range flushing {
		e.flushing = false
		e.saved = flushed[i].Now
	}
	return flushing, nil
}
