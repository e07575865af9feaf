package tracker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/fetch"
	"github.com/ackwire/ackwire/tracker/shard"
	"github.com/ackwire/ackwire/tracker/store"
)

// pollRecords bounds one poll.
const pollRecords = 5000

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
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { o.assigned(m[o.names.Status()]) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { o.revoked(m[o.names.Status()]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { o.revoked(m[o.names.Status()]) }),
	}
}

// assigned starts a shard for each new partition.
func (o *owner) assigned(partitions []int32) {
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
		s, err := shard.New(shard.Config{
			Partition: p, Partitions: o.partitions, Names: o.names, Store: o.store.Partition(p),
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
// holds that, the partition is rebuilt from what the log has.
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
