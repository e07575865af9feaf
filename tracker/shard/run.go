package shard

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// choreInterval is how often that is done which may wait: expiry, timers to load, the view.
const choreInterval = time.Second

// Run owns the partition until ctx ends; then it writes a last checkpoint, tells its
// watchers that it is no longer the owner, and waits for all that it started.
func (s *Shard) Run(ctx context.Context) (err error) {
	s.metrics.shards.Inc()
	ctx, cancel := context.WithCancel(ctx)
	s.life = ctx
	defer func() {
		cancel()
		close(s.done)
		s.wg.Wait()
		err = errors.Join(err, s.leave())
	}()
	if err := s.restore(); err != nil {
		return err
	}
	s.catching.begin(s.pos.next, time.Now())
	s.learnEnd(ctx)

	checkpoints := newAlarm() // runs only while there is something to write
	defer checkpoints.Stop()
	chores := time.NewTicker(choreInterval)
	defer chores.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s.debts.arm(timer)
		if s.unsaved() {
			checkpoints.set(s.saving.wait())
		}
		select {
		case <-ctx.Done():
			return nil
		case records := <-s.recordsIfRoom():
			s.foldAll(records)
		case f := <-s.calls:
			f()
		case <-timer.C:
			s.debts.pay(time.Now())
		case now := <-chores.C:
			s.chores(now)
		case <-checkpoints.C:
			checkpoints.rang()
			s.checkpoint()
		case err := <-s.saving.checkpointed:
			s.settle(err)
		case err := <-s.viewing.written:
			s.viewWritten(err)
		}
		s.answerCalls()
		if s.broken != nil {
			return s.broken
		}
	}
}

// chores are what may wait for a second.
func (s *Shard) chores(now time.Time) {
	if attrs := s.catching.progress(s.pos.next, now); attrs != nil {
		s.log.Info("restoring from status", attrs...)
	}
	if s.catching.ready.Load() {
		s.check(s.debts.expire(time.Now()))
		s.check(s.debts.load(time.Now()))
	}
	s.debts.endGrace(now)
	s.questions.sweep(time.Now())
	s.tickets.sweep(time.Now())
	s.writeView()
}

// recordsIfRoom is where records come from: nowhere while more changes wait for the store
// than memory should hold.
func (s *Shard) recordsIfRoom() <-chan []decoded {
	if s.saving.crowded() {
		return nil
	}
	return s.records
}

// fail ends Run with the first error. What the store does not have by then is folded again
// by the next owner.
func (s *Shard) fail(err error) {
	if s.broken == nil {
		s.broken = fmt.Errorf("partition %d: %w", s.partition, err)
	}
}

// check ends Run if there is an error.
func (s *Shard) check(err error) {
	if err != nil {
		s.fail(err)
	}
}

// restore loads the jobs that a run holds, or that owe a webhook. Their timers start once the shard is ready.
func (s *Shard) restore() error {
	if err := s.census.begin(s.jobs.store); err != nil {
		s.fail(fmt.Errorf("count jobs: %w", err))
		return s.broken
	}
	var running []*entry
	err := s.jobs.store.DueJobs(0, 1, func(id string, _ int64) (bool, error) {
		e, err := s.jobs.lookup(id)
		if err == nil {
			s.jobs.keep(e)
			running = append(running, e)
		}
		return true, err
	})
	s.holdings.begin(running)
	if err != nil {
		s.fail(fmt.Errorf("load running jobs: %w", err))
	}
	return s.broken
}

// leave is the end of Run: the shard's goroutine is its only one by now.
func (s *Shard) leave() error {
	s.metrics.shards.Dec()
	s.left = true
	s.questions.close()
	s.handOuts.close()
	s.webhooks.close()
	if s.catching.leave() {
		s.metrics.readyShards.Dec()
	}
	var err error
	if s.broken == nil {
		err = s.lastWords()
	}
	for {
		select {
		case f := <-s.calls:
			f() // answers ErrNotOwner, or says that something has ended
			continue
		default:
		}
		break
	}
	s.questions.answerAll(ErrNotOwner)
	s.census.end()
	s.audience.dismiss()
	return err
}

// maxCalls is how many calls at most are answered before records get their turn.
const maxCalls = 64

// answerCalls runs the calls that wait: questions are short, and whoever asks waits for the answer, while records that
// are folded a moment later harm nobody. One that breaks the shard is the last.
func (s *Shard) answerCalls() {
	for n := 0; n < maxCalls && s.broken == nil; n++ {
		select {
		case f := <-s.calls:
			f()
		default:
			return
		}
	}
}

// call runs f on the shard's goroutine. After ErrNotOwner f may or may not have run.
func (s *Shard) call(ctx context.Context, f func()) error {
	select {
	case s.calls <- f:
	case <-s.done:
		return ErrNotOwner
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-s.done: // f may lie in a queue that nobody reads any more
		return ErrNotOwner
	default:
		return nil
	}
}

// aside runs work on a goroutine of its own, then done with its result on the shard's, unless Run has ended.
func (s *Shard) aside(work func(context.Context) error, done func(error)) {
	s.wg.Go(func() {
		err := work(s.life)
		_ = s.call(s.life, func() { done(err) })
	})
}

// alarm is a timer that is set once until it rings.
type alarm struct {
	*time.Timer
	isSet bool
}

func newAlarm() *alarm {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &alarm{Timer: t}
}

func (a *alarm) set(d time.Duration) {
	if !a.isSet {
		a.isSet = true
		a.Reset(d)
	}
}

func (a *alarm) rang() { a.isSet = false }
