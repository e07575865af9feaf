package processor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

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
