package shard

import (
	"fmt"
	"time"

	"github.com/ackwire/ackwire/tracker/store"
)

// checkpoint hands what changed to a goroutine that writes it. Folding goes on meanwhile;
// one checkpoint at a time.
func (s *Shard) checkpoint() {
	if s.checkpointed != nil || len(s.dirty) == 0 && s.next == s.stored {
		return
	}
	s.stored = s.next
	s.flushing, s.dirty = s.dirty, nil
	changes := s.changes(s.flushing)
	next := s.next
	result := make(chan error, 1)
	s.checkpointed = result
	s.wg.Go(func() { result <- s.write(changes, next) })
}

func (s *Shard) changes(entries []*entry) []store.Change {
	changes := make([]store.Change, len(entries))
	for i, e := range entries {
		e.dirty, e.flushing = false, true
		changes[i] = store.Change{ID: e.id, Job: e.job}
	}
	return changes
}

func (s *Shard) write(changes []store.Change, next int64) error {
	began := time.Now()
	if err := s.store.Checkpoint(changes, next); err != nil {
		return err
	}
	s.metrics.checkpoint.Observe(time.Since(began).Seconds())
	s.metrics.changes.Add(float64(len(changes)))
	return nil
}

// settle lets go of what the store now stands for.
func (s *Shard) settle() {
	s.checkpointed = nil
	for _, e := range s.flushing {
		e.flushing = false
		s.release(e)
	}
	s.flushing = nil
}

// lastCheckpoint is written when the shard's goroutines have ended. After a checkpoint that
// failed there is none: its position would stand for jobs that the store does not have.
func (s *Shard) lastCheckpoint() error {
	if s.checkpointed != nil {
		if err := <-s.checkpointed; err != nil {
			return fmt.Errorf("partition %d: %w", s.partition, err)
		}
		s.settle()
	}
	if err := s.write(s.changes(s.dirty), s.next); err != nil {
		return fmt.Errorf("partition %d: %w", s.partition, err)
	}
	return nil
}
