package shard

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/tracker/store"
)

// Ready says why the shard cannot do its work; nil when it can.
func (s *Shard) Ready() error {
	switch {
	case !s.catching.ready.Load():
		return fmt.Errorf("%w: partition %d at offset %d", ErrNotReady, s.partition, s.Position())
	case s.saving.full.Load():
		return fmt.Errorf("partition %d: %w", s.partition, store.ErrFull)
	}
	if age := s.Unwritten(); age > checkpointSilence {
		return fmt.Errorf("partition %d: the disk has not taken a change for %s", s.partition, age.Round(time.Second))
	}
	if err := s.viewing.err(); err != nil {
		return fmt.Errorf("partition %d: %w", s.partition, err)
	}
	return nil
}

// Remaining is how many records a shard that is not ready has still to fold, as far as it knows.
func (s *Shard) Remaining() int64 { return max(s.catching.until.Load()-s.Position(), 0) }

// Unwritten is for how long the store has lacked something; 0 when it has all.
func (s *Shard) Unwritten() time.Duration {
	if since := s.saving.unwritten.oldest.Load(); since != 0 {
		return max(time.Since(time.Unix(0, since)), 0)
	}
	return 0
}

// ViewBehind is for how long transactions of the view have failed; 0 when the last one did not.
func (s *Shard) ViewBehind() time.Duration { return s.viewing.behind() }

// Ended tells where the log ended at a time, so that answers can say how fresh they are.
func (s *Shard) Ended(ctx context.Context, end int64, at time.Time) {
	_ = s.call(ctx, func() {
		s.clock.fresh.ends(end, at, s.pos.next)
		s.census.reached(&s.clock.fresh, s.pos.next)
	})
}

// learnEnd asks where the log ends: from there on the shard is ready.
func (s *Shard) learnEnd(ctx context.Context) {
	s.wg.Go(func() {
		for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
			asked := time.Now()
			end, err := s.sender.kafka.EndOffset(ctx, s.partition)
			if err == nil {
				_ = s.call(ctx, func() {
					if err := s.catching.learn(end, asked); err != nil {
						s.fail(err)
						return
					}
					s.caughtUp()
				})
				return
			}
			s.log.Warn("end of the log is not known yet", "err", err)
			if !pause.For(ctx, wait) {
				return
			}
		}
	})
}

// logEnd asks where the log ends now.
func (s *Shard) logEnd(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.bounds.Ask)
	defer cancel()
	return s.sender.kafka.EndOffset(ctx, s.partition)
}

// caughtUp makes the shard ready once everything that the log held at the start is folded.
func (s *Shard) caughtUp() {
	if !s.catching.reached(s.pos.next) {
		return
	}
	s.metrics.readyShards.Inc()
	s.clock.goLive(s.catching.endAt)
	s.debts.begin(time.Now())
	s.webhooks.begin()
	for _, order := range s.catching.granted(&s.jobs) {
		s.sender.order(order)
	}
	s.audience.coverAll(false)
	level := slog.LevelInfo
	if s.pos.next == 0 {
		level = slog.LevelDebug // nothing was restored: a new partition
	}
	s.check(s.debts.load(time.Now()))
	s.log.Log(context.Background(), level, "partition ready", "position", s.pos.next, "active", s.census.active)
}
