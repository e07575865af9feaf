package tracker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/fetch"
	"github.com/ackwire/ackwire/tracker/shard"
	"github.com/ackwire/ackwire/tracker/store"
	"github.com/ackwire/ackwire/tracker/view"
)

const (
	pollRecords  = 5000        // bounds one poll
	endsInterval = time.Second // between questions for the log's ends
	ownedTimeout = 3 * time.Second
)

// owner runs a shard for each partition that the consumer group assigns to this tracker.
// The group's client is only a member: what the shards fold comes from a client of its own,
// which begins each partition once its state is restored.
type owner struct {
	// Set before run, then only read.
	log        store.Identity // of status
	names      topic.Names
	partitions int32
	store      *store.Store
	view       *view.Config // nil: there is no topic view
	group      *kgo.Client
	reader     *kgo.Client
	admin      *kgo.Client
	fetcher    *fetch.Fetcher
	metrics    *shard.Metrics
	tracer     trace.Tracer // nil: no spans are made
	restores   *restoreMetrics
	backlog    *backlogMetrics
	api        *api
	evidence   *evidence
	logger     *slog.Logger
	failed     chan error // capacity 1: the first partition that could not go on

	mu        sync.Mutex // guards all below
	tenures   map[int32]*tenure
	begins    map[int32]int64    // partitions that the reader is to begin, and where
	interrupt context.CancelFunc // ends the reader's poll
}

// tenure is the time from a partition's assignment to its end.
type tenure struct {
	partition int32
	cancel    context.CancelFunc
	ended     chan struct{}
	shard     *shard.Shard // guarded by owner.mu; nil while the partition is being restored
}

// groupOptions make the client a member: cooperative, dynamic, without offset commits, for
// a partition's position is in its checkpoint.
func (o *owner) groupOptions() []kgo.Opt {
	status := o.names.Status()
	return []kgo.Opt{
		kgo.ConsumerGroup(o.names.TrackerGroup()),
		kgo.ConsumeTopics(status),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { o.assigned(m[status]) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { o.revoked(m[status]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { o.revoked(m[status]) }),
	}
}

// readerOptions make the client read what it is told to. An event counts when it is written,
// also by a client that writes in transactions: readers of status do not wait for commits.
func readerOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.KeepControlRecords(), // so that a position can reach the log's end
		kgo.FetchIsolationLevel(kgo.ReadUncommitted()),
	}
}

// assigned begins a tenure for each new partition. It does not wait for their restore: the
// group goes on meanwhile, and so do the partitions that stay.
func (o *owner) assigned(partitions []int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range partitions {
		if o.tenures[p] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		t := &tenure{partition: p, cancel: cancel, ended: make(chan struct{})}
		o.tenures[p] = t
		o.api.claim(p)
		o.evidence.began(p, time.Now())
		go func() {
			defer close(t.ended)
			o.serve(ctx, t)
		}()
	}
	o.api.joined()
}

// revoked ends tenures and waits for their last checkpoints: the next owner may begin.
func (o *owner) revoked(partitions []int32) {
	o.mu.Lock()
	var ending []*tenure
	for _, p := range partitions {
		if t := o.tenures[p]; t != nil {
			o.api.drop(p)
			o.evidence.ended(p)
			t.cancel()
			ending = append(ending, t)
		}
	}
	o.mu.Unlock()
	for _, t := range ending {
		<-t.ended
		o.mu.Lock()
		delete(o.tenures, t.partition)
		o.mu.Unlock()
	}
}

// serve restores the partition and runs its shard until ctx ends, again when somebody else
// wrote its view though it is still ours.
func (o *owner) serve(ctx context.Context, t *tenure) {
	for ctx.Err() == nil {
		err := o.hold(ctx, t)
		switch {
		case err == nil, ctx.Err() != nil && errors.Is(err, context.Canceled):
		case errors.Is(err, shard.ErrFenced):
			o.logger.Warn("another tracker has written the partition's view", "partition", t.partition, "err", err)
			o.awaitOwnership(ctx, t.partition)
		default:
			o.fail(err)
			return
		}
	}
}

// hold is one attempt to be the partition's owner.
func (o *owner) hold(ctx context.Context, t *tenure) error {
	p := t.partition
	var w *view.Writer
	cfg := shard.Config{
		Partition: p, Partitions: o.partitions, Names: o.names, Store: o.store.Partition(p), Kafka: o,
		Metrics: o.metrics, Tracer: o.tracer, Log: o.logger,
	}
	if o.view != nil {
		var err error
		if w, err = o.takeView(ctx, p); err != nil {
			return err
		}
		defer w.Close()
		cfg.View = w
	}
	next, err := o.restore(ctx, p, w)
	if err != nil {
		return err
	}
	s := shard.New(cfg)
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	s.Advance(ctx, next)
	o.mu.Lock()
	t.shard = s
	o.mu.Unlock()
	o.begin(p, next)
	if ctx.Err() == nil {
		o.api.set(p, s)
	}
	err = <-ran
	o.mu.Lock()
	t.shard = nil
	o.mu.Unlock()
	o.end(p)
	if ctx.Err() == nil {
		o.api.claim(p) // it may be ours again
	}
	return err
}

// awaitOwnership returns when the group says that the partition is still this tracker's; if
// it is not, ctx ends with its revocation.
func (o *owner) awaitOwnership(ctx context.Context, p int32) {
	for ctx.Err() == nil {
		owned, err := o.owned(ctx, p)
		if owned {
			return
		}
		if err != nil && ctx.Err() == nil {
			o.logger.Warn("who owns the partition is not known", "partition", p, "err", err)
		}
		pause.For(ctx, time.Second)
	}
}

// owned asks the group whether the partition is this tracker's.
func (o *owner) owned(ctx context.Context, p int32) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, ownedTimeout)
	defer cancel()
	group := o.names.TrackerGroup()
	described, err := kafka.DescribeGroups(ctx, o.admin, group)
	if err != nil {
		return false, err
	}
	if err := described[group].Err; err != nil {
		return false, err
	}
	me, _ := o.group.GroupMetadata()
	for _, m := range described[group].Members {
		if assigned, ok := m.Assigned.AsConsumer(); ok && m.MemberID == me {
			for _, t := range assigned.Topics {
				if t.Topic == o.names.Status() && slices.Contains(t.Partitions, p) {
					return true, nil
				}
			}
		}
	}
	return false, nil
}

func (o *owner) fail(err error) {
	select {
	case o.failed <- err:
	default:
	}
}

// begin lets the reader begin a partition. The reader does it between two polls: so what it
// has in hand is never of a tenure before.
func (o *owner) begin(p int32, next int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.begins[p] = next
	if o.interrupt != nil {
		o.interrupt()
	}
}

// end lets the reader forget a partition.
func (o *owner) end(p int32) {
	o.mu.Lock()
	delete(o.begins, p)
	o.mu.Unlock()
	o.reader.RemoveConsumePartitions(map[string][]int32{o.names.Status(): {p}})
}

// poll returns what the reader has, or nothing once there is a partition to begin.
func (o *owner) poll(ctx context.Context) kgo.Fetches {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o.mu.Lock()
	o.interrupt = cancel
	begins := map[int32]kgo.Offset{}
	for p, next := range o.begins {
		begins[p] = kgo.NewOffset().At(next)
	}
	clear(o.begins)
	o.mu.Unlock()
	if len(begins) > 0 {
		o.reader.AddConsumePartitions(map[string]map[int32]kgo.Offset{o.names.Status(): begins})
	}
	return o.reader.PollRecords(ctx, pollRecords)
}

// run hands polled records to the shards until ctx ends.
func (o *owner) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var beside sync.WaitGroup
	beside.Go(func() {
		select {
		case err := <-o.failed:
			cancel(err)
		case <-ctx.Done():
		}
	})
	beside.Go(func() { o.watchLog(ctx, cancel) })
	beside.Go(func() { o.watchLanes(ctx) })
	beside.Go(func() { o.watchRequests(ctx) })
	beside.Go(func() { o.drainGroup(ctx) })
	for ctx.Err() == nil {
		fetches := o.poll(ctx)
		if fetches.IsClientClosed() {
			break
		}
		fetches.EachError(func(t string, p int32, err error) {
			if !errors.Is(err, context.Canceled) {
				o.logger.Warn("fetch", "topic", t, "partition", p, "err", err)
			}
		})
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if s := o.shard(f.Partition); s != nil && len(f.Records) > 0 {
				s.Fold(ctx, f.Records)
			}
		})
	}
	// Leaving the group revokes the partitions, which stops their shards.
	o.group.Close()
	o.mu.Lock()
	var left []int32
	for p := range o.tenures {
		left = append(left, p)
	}
	o.mu.Unlock()
	o.revoked(left)
	o.reader.Close()
	cause := context.Cause(ctx)
	cancel(nil)
	beside.Wait()
	if errors.Is(cause, context.Canceled) {
		return nil
	}
	return cause
}

// drainGroup takes what the group's client has to say. It fetches nothing: its topic is
// paused.
func (o *owner) drainGroup(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := o.group.PollFetches(ctx)
		if fetches.IsClientClosed() {
			return
		}
		fetches.EachError(func(_ string, _ int32, err error) {
			if !errors.Is(err, context.Canceled) {
				o.logger.Warn("consumer group", "err", err)
			}
		})
	}
}

// watchLog asks where the log ends, so that answers can say how fresh they are, and whether
// it still has the partitions that it had.
func (o *owner) watchLog(ctx context.Context, stop context.CancelCauseFunc) {
	ticks := time.NewTicker(endsInterval)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
		asked := time.Now()
		ends, err := o.ends(ctx)
		o.evidence.told(ends, err, time.Now())
		// What no leader told is missing: those shards' answers grow old, and say so.
		if n := int32(len(ends)); err == nil && n != o.partitions {
			stop(fmt.Errorf("%w from %d to %d: jobs would be looked for where their events are not; see tracker/README.md, "+
				"\"More partitions\"",
				store.ErrPartitions, o.partitions, n))
			return
		}
		var remaining int64
		for p, end := range ends {
			if s := o.shard(p); s != nil && end.Err == nil {
				s.Ended(ctx, end.Offset, asked)
				if s.Ready() != nil {
					remaining += max(end.Offset-s.Position(), 0)
				}
			}
		}
		o.restores.remaining.Set(float64(remaining))
	}
}

// ends asks where the partitions end. With an error it has what the leaders that answered said.
func (o *owner) ends(ctx context.Context) (map[int32]kadm.ListedOffset, error) {
	ctx, cancel := context.WithTimeout(ctx, ownedTimeout)
	defer cancel()
	ends, err := kadm.NewClient(o.admin).ListEndOffsets(ctx, o.names.Status())
	return ends[o.names.Status()], err
}

func (o *owner) shard(p int32) *shard.Shard {
	o.mu.Lock()
	defer o.mu.Unlock()
	if t := o.tenures[p]; t != nil {
		return t.shard
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
