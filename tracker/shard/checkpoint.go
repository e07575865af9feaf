package shard

import (
	"context"
	"errors"

	"github.com/ackwire/ackwire/tracker/store"
)

// unsaved reports whether the store lacks something, and no checkpoint is being written.
func (s *Shard) unsaved() bool {
	return !s.saving.busy() && (s.saving.lacks(s.pos.next) || s.viewing.ahead())
}

// checkpoint begins to write what the store lacks.
func (s *Shard) checkpoint() {
	if s.unsaved() {
		s.saving.checkpoint(s.pos.next, s.viewing.viewed, s.pos.closedAt)
	}
}

// settle ends a checkpoint and lets go of what the store now stands for.
func (s *Shard) settle(outcome error) {
	saved, err := s.saving.settle(outcome)
	switch {
	case errors.Is(err, store.ErrFull):
		return
	case err != nil:
		s.fail(err)
		return
	}
	s.viewing.saved()
	for _, e := range saved {
		s.debts.saved(e.saved)
		s.viewing.note(e.id)
		s.jobs.release(e)
	}
	if s.viewing.wanted {
		s.writeView()
	}
}

// writeView begins a transaction of the view, if one is due.
func (s *Shard) writeView() {
	if s.catching.ready.Load() {
		s.viewing.write(s.life, s.saving.stored, s.saving.busy())
	}
}

// viewWritten ends a transaction of the view.
func (s *Shard) viewWritten(outcome error) { s.check(s.viewing.settle(outcome)) }

// lastWords are written when the shard's goroutines have ended: what the store lacks, then
// what the view lacks. After a checkpoint that failed there is none: its position would
// stand for jobs that the store does not have.
func (s *Shard) lastWords() error {
	if s.saving.busy() {
		s.settle(<-s.saving.checkpointed)
	}
	if s.viewing.written != nil {
		s.viewWritten(<-s.viewing.written)
	}
	if s.broken != nil {
		return s.broken
	}
	if s.unsaved() {
		if s.checkpoint(); s.saving.busy() {
			s.settle(<-s.saving.checkpointed)
		}
	}
	if s.saving.full.Load() && s.broken == nil {
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

// lastView is the last transaction of an owner that leaves in order: who takes over from
// the view then has nothing to fold.
func (s *Shard) lastView() error {
	v := &s.viewing
	if v.view == nil || !s.catching.was || !v.lacks(s.saving.stored) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.bounds.Ask)
	defer cancel()
	v.transact(ctx)
	s.viewWritten(<-v.written)
	if s.broken != nil {
		return s.broken
	}
	if v.viewed == v.stored {
		return nil
	}
	return s.saving.write(nil, s.saving.stored, v.viewed, s.pos.closedAt)
}
