package tracker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/fetch"
	"github.com/ackwire/ackwire/tracker/shard"
	"github.com/ackwire/ackwire/tracker/store"
)

const (
	pollRecords = 5000            // bounds one poll
	endsTimeout = 3 * time.Second // bounds the question for the log's end at an assignment
)

// owner runs a shard for each partition that the consumer group assigns to this tracker.
type owner struct {
	// Set before run, then only read.
	names      topic.Names
	partitions int32
	store      *store.Store
	client     *kgo.Client // the group's
	admin      *kgo.Client
	fetcher    *fetch.Fetcher
	metrics    *shard.Metrics
	api        *api
	log        *slog.Logger
	failed     chan error // capacity 1: the first shard that could not go on

	mu     sync.Mutex // guards shards
	shards map[int32]*runningShard
}

type runningShard struct {
	*shard.Shard
	cancel context.CancelFunc
	ended  chan struct{}
}

// groupOptions make the client a member: cooperative, dynamic, without offset commits, for
// a partition's position is in its checkpoint. Rebalances wait for the batch in hand, so
// that a record never reaches a shard that was made after it was polled.
func (o *owner) groupOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.ConsumerGroup(o.names.TrackerGroup()),
		kgo.ConsumeTopics(o.names.Status()),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.KeepControlRecords(), // so that a position can reach the log's end
		kgo.AdjustFetchOffsetsFn(o.startOffsets),
		kgo.OnPartitionsAssigned(func(ctx context.Context, _ *kgo.Client, m map[string][]int32) { o.assigned(ctx, m[o.names.Status()]) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { o.revoked(m[o.names.Status()]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { o.revoked(m[o.names.Status()]) }),
	}
}

// assigned starts a shard for each new partition.
func (o *owner) assigned(ctx context.Context, partitions []int32) {
	var ends kadm.ListedOffsets
	if len(partitions) > 0 {
		ends = o.endOffsets(ctx)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shards == nil {
		o.shards = map[int32]*runningShard{}
	}
	defer o.api.joined()
	for _, p := range partitions {
		if o.shards[p] != nil {
			continue
		}
		st := o.store.Partition(p)
		err := o.checkEnd(st, p, ends)
		if err != nil {
			o.fail(err)
			return
		}
		s, err := shard.New(shard.Config{
			Partition: p, Partitions: o.partitions, Names: o.names, Store: st,
			Kafka: o, Metrics: o.metrics, Log: o.log,
		})
		if err != nil {
			o.fail(err)
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		running := &runningShard{Shard: s, cancel: cancel, ended: make(chan struct{})}
		o.shards[p] = running
		o.api.set(p, s)
		go func() {
			defer close(running.ended)
			if err := s.Run(ctx); err != nil {
				o.fail(err)
			}
		}()
	}
}

// endOffsets asks where the partitions end. Without an answer nothing is known; then it is
// the shard that finds out whether its store fits.
func (o *owner) endOffsets(ctx context.Context) kadm.ListedOffsets {
	ctx, cancel := context.WithTimeout(ctx, endsTimeout)
	defer cancel()
	ends, err := kadm.NewClient(o.admin).ListEndOffsets(ctx, o.names.Status())
	if err != nil {
		o.log.Warn("ends of the log are not known yet", "err", err)
	}
	return ends
}

// checkEnd clears what the store has of a partition whose log has lost its tail: the log
// gives the lost offsets to other records, which would be skipped as known.
func (o *owner) checkEnd(st *store.Partition, p int32, ends kadm.ListedOffsets) error {
	next, err := st.Position()
	if err != nil {
		return err
	}
	end, ok := ends.Lookup(o.names.Status(), p)
	if !ok || end.Err != nil || end.Offset >= next {
		return nil
	}
	o.metrics.Gap()
	o.log.Error("status has lost its tail; the partition is rebuilt from what it holds",
		"partition", p, "checkpoint", next, "end", end.Offset)
	return st.Clear()
}

// revoked stops shards and waits for their last checkpoints: the next owner may begin.
func (o *owner) revoked(partitions []int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range partitions {
		if running := o.shards[p]; running != nil {
			o.api.set(p, nil)
			running.cancel()
		}
	}
	for _, p := range partitions {
		if running := o.shards[p]; running != nil {
			<-running.ended
			delete(o.shards, p)
		}
	}
}

func (o *owner) fail(err error) {
	select {
	case o.failed <- err:
	default:
	}
}

// startOffsets begins each partition where its checkpoint ends; when the log no longer
// holds that, it goes on with what the log has.
func (o *owner) startOffsets(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	status := o.names.Status()
	starts, err := kadm.NewClient(o.admin).ListStartOffsets(ctx, status)
	if err != nil {
		return nil, fmt.Errorf("start of %s: %w", status, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for p := range offsets[status] {
		running := o.shards[p]
		if running == nil {
			continue
		}
		next := running.Position()
		if start, ok := starts.Lookup(status, p); ok && start.Err == nil && start.Offset > next {
			o.metrics.Gap()
			o.log.Error("status no longer holds what follows the checkpoint: its retention is too short; events are lost",
				"partition", p, "checkpoint", next, "start", start.Offset)
			next = start.Offset
			running.Advance(ctx, next)
		}
		offsets[status][p] = kgo.NewOffset().At(next)
	}
	return offsets, nil
}

// run hands polled records to the shards until ctx ends.
func (o *owner) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case err := <-o.failed:
			cancel(err)
		case <-ctx.Done():
		}
	})
	for ctx.Err() == nil {
		fetches := o.client.PollRecords(ctx, pollRecords)
		if fetches.IsClientClosed() {
			break
		}
		fetches.EachError(func(t string, p int32, err error) {
			if !errors.Is(err, context.Canceled) {
				o.log.Warn("fetch", "topic", t, "partition", p, "err", err)
			}
		})
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if s := o.shard(f.Partition); s != nil && len(f.Records) > 0 {
				s.Fold(ctx, f.Records)
			}
		})
		o.client.AllowRebalance()
	}
	// Leaving the group revokes the partitions, which stops their shards.
	o.client.CloseAllowingRebalance()
	o.mu.Lock()
	var left []int32
	for p := range o.shards {
		left = append(left, p)
	}
	o.mu.Unlock()
	o.revoked(left)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		cancel(nil)
		watching.Wait()
		return cause
	}
	cancel(nil)
	watching.Wait()
	return nil
}

func (o *owner) shard(p int32) *shard.Shard {
	o.mu.Lock()
	defer o.mu.Unlock()
	if running := o.shards[p]; running != nil {
		return running.Shard
	}
	return nil
}

// Produce implements shard.Log.
func (o *owner) Produce(rec *kgo.Record, done func(error)) {
	kafka.Produce(context.Background(), o.admin, rec, func(_ *kgo.Record, err error) { done(err) })
}

// EndOffset implements shard.Log.
func (o *owner) EndOffset(ctx context.Context, partition int32) (int64, error) {
	ends, err := kadm.NewClient(o.admin).ListEndOffsets(ctx, o.names.Status())
	if err != nil {
		return 0, err
	}
	end, ok := ends.Lookup(o.names.Status(), partition)
	if !ok {
		return 0, fmt.Errorf("no end offset of partition %d", partition)
	}
	return end.Offset, end.Err
}

// Record implements shard.Log.
func (o *owner) Record(ctx context.Context, pos event.Position) (*kgo.Record, error) {
	return o.fetcher.Record(ctx, pos)
}
