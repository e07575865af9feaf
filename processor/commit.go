package processor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/internal/pause"

	"github.com/twmb/franz-go/pkg/kerr"
)

// assigned adds new partitions to the lane and returns them.
func (l *lane) assigned(numbers []int32) []*partition {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.joined = true
	parts := make([]*partition, len(numbers))
	for i, n := range numbers {
		parts[i] = &partition{number: n, committed: -1}
		l.partitions[n] = parts[i]
	}
	return parts
}

// forget removes partitions from the lane. Runs of their requests go on; their marks have no effect any more.
func (l *lane) forget(numbers []int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range numbers {
		delete(l.partitions, n)
	}
}

// learnBacklog asks Kafka for the end offsets of new partitions, until it gets them. Records below the end may have
// been delivered to another worker before; while the end is not known, any record may. An end that is asked for after
// the assignment may be too high but never too low, so a run may wait for a grant that it did not need.
func (l *lane) learnBacklog(ctx context.Context, parts []*partition) {
	for {
		err := l.askBacklog(ctx, parts)
		if err == nil || ctx.Err() != nil {
			return
		}
		l.log.Debug("end offsets not known yet, asking again", "err", err)
		pause.For(ctx, pollPause)
	}
}

func (l *lane) askBacklog(ctx context.Context, parts []*partition) error {
	ctx, cancel := context.WithTimeout(ctx, l.p.bounds.Steps)
	defer cancel()
	ends, err := kadm.NewClient(l.p.client).ListEndOffsets(ctx, l.topic)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, part := range parts {
		end, ok := ends.Lookup(l.topic, part.number)
		switch {
		case part.backlogKnown:
		case !ok:
			err = fmt.Errorf("partition %d has no end offset", part.number)
		case end.Err != nil:
			err = end.Err
		default:
			part.backlogKnown, part.backlog = true, end.Offset
		}
	}
	return err
}

// commitLoop commits the marks that have moved, every commitEvery.
func (l *lane) commitLoop(ctx context.Context) {
	ticker := time.NewTicker(commitEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			l.commit(ctx, nil)
		}
	}
}

// commit commits the low-water marks that have moved: of the given partitions, or of all if only is nil. Only one
// commit is under way at a time, so that no older offset is written after a newer one. After a failure the marks are
// committed with the next commit; if there is none, Kafka delivers the requests again, which is harmless.
func (l *lane) commit(ctx context.Context, only []int32) {
	select {
	case l.committing <- struct{}{}:
		defer func() { <-l.committing }()
	case <-ctx.Done():
		return
	}
	moved := l.moved(only)
	if len(moved) == 0 {
		return
	}
	offsets := make(map[int32]kgo.EpochOffset, len(moved))
	for part, low := range moved {
		offsets[part.number] = kgo.EpochOffset{Epoch: -1, Offset: low}
	}
	ctx, cancel := context.WithTimeout(ctx, l.p.bounds.Ask)
	defer cancel()
	var failed error
	l.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{l.topic: offsets},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			failed = commitError(resp, err)
		})
	if failed != nil {
		l.p.metrics.commitFailures.Inc()
		l.log.Warn("commit offsets", "partitions", slices.Sorted(maps.Keys(offsets)), "err", failed)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for part, low := range moved {
		part.committed = low
	}
}

// moved returns the low-water marks that are not committed yet.
func (l *lane) moved(only []int32) map[*partition]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	moved := map[*partition]int64{}
	for _, part := range l.partitions {
		if only != nil && !slices.Contains(only, part.number) {
			continue
		}
		if low, ok := part.window.low(); ok && low != part.committed {
			moved[part] = low
		}
	}
	return moved
}

func commitError(resp *kmsg.OffsetCommitResponse, err error) error {
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("partition %d: %w", p.Partition, err)
			}
		}
	}
	return nil
}
