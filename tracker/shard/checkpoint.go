package shard

import (
	"errors"
	"time"

	"github.com/ackwire/ackwire/tracker/store"
)

// fullWait is how long a checkpoint waits that found the disk full.
const fullWait = time.Second

// unsaved reports whether the store lacks something.
func (s *Shard) unsaved() bool {
	return s.checkpointed == nil && (len(s.dirty) > 0 || s.pos.next != s.stored || s.viewing.viewed > s.viewing.stored)
}

// checkpointWait is how long a change waits for its checkpoint: others come with it.
func (s *Shard) checkpointWait() time.Duration {
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
func (s *Shard) checkpoint() {
	if !s.unsaved() {
		return
	}
	s.flushing, s.dirty = s.dirty, nil
	s.flushed, s.flushedTo = changes(s.flushing), s.pos.next
	s.unwritten.writing()
	flushed, next, viewed := s.flushed, s.flushedTo, s.viewing.viewed
	closedAt := s.pos.closedAt
	result := make(chan error, 1)
	s.checkpointed = result
	s.wg.Go(func() { result <- s.write(flushed, next, viewed, closedAt) })
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

func (s *Shard) write(changes []store.Change, next, viewed, closedAt int64) error {
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

// settle ends a checkpoint and lets go of what the store now stands for. On a full disk
// nothing was written: all is to be written again.
func (s *Shard) settle(err error) {
	s.checkpointed = nil
	flushing, flushed := s.flushing, s.flushed
	s.flushing, s.flushed = nil, nil
	switch {
	case errors.Is(err, store.ErrFull):
		if !s.full.Swap(true) {
			s.log.Error("no checkpoint: all goes on in memory until the disk has room", "err", err)
		}
		s.metrics.diskFull.Inc()
		s.unwritten.failed()
		for i, e := range flushing {
			e.flushing = false
			e.over = append(flushed[i].Over, e.over...)
			if !e.dirty {
				e.dirty = true
				s.dirty = append(s.dirty, e)
			}
		}
		return
	case err != nil:
		s.fail(err)
		return
	}
	if s.full.Swap(false) {
		s.log.Info("the disk has room again")
	}
	s.unwritten.written()
	s.stored, s.viewing.stored = s.flushedTo, max(s.viewing.stored, s.viewing.viewed)
	for i, e := range flushing {
		e.flushing = false
		e.saved = flushed[i].Now
		s.debts.saved(e.saved)
		s.viewing.note(e.id)
		s.jobs.release(e)
	}
	if s.viewing.wanted {
		s.writeView()
	}
}

// lastWords are written when the shard's goroutines have ended: what the store lacks, then
// what the view lacks. After a checkpoint that failed there is none: its position would
// stand for jobs that the store does not have.
func (s *Shard) lastWords() error {
	if s.checkpointed != nil {
		s.settle(<-s.checkpointed)
	}
	if s.viewing.written != nil {
		s.viewWritten(<-s.viewing.written)
	}
	if s.broken != nil {
		return s.broken
	}
	if s.unsaved() {
		if s.checkpoint(); s.checkpointed != nil {
			s.settle(<-s.checkpointed)
		}
	}
	if s.full.Load() && s.broken == nil {
		s.log.Error("the last checkpoint was not written: what it lacks is folded again")
		return nil
	}
	if err := s.lastView(); err != nil {
		return err
	}
	if s.broken != nil {
		return s.broken
	}
	return nil
}
