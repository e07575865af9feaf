package tracker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/activity"
	"github.com/ackwire/ackwire/tracker/fetch"
	"github.com/ackwire/ackwire/tracker/shard"
	"github.com/ackwire/ackwire/tracker/store"
	"github.com/ackwire/ackwire/tracker/view"
)

const (
	pollRecords  = 5000        // at most, of one poll
	endsInterval = time.Second // between two questions for the end offsets of status
)

// owner runs a shard for each partition that the consumer group assigns to this tracker. The group's
// client is only a member and reads nothing: another client, the reader, reads the records for the
// shards, each partition from where its restored state ends.
type owner struct {
	// Set before run, then only read.
	log         store.Identity // of status
	names       topic.Names
	partitions  int32
	brokerTimes bool // see Config
	store       *store.Store
	view        *view.Config // nil: there is no topic view
	group       *kgo.Client
	reader      *kgo.Client
	admin       *kgo.Client
	fetcher     *fetch.Fetcher
	metrics     *shard.Metrics
	tracer      trace.Tracer // nil: no spans are made
	activity    *activity.Budget
	restores    *restoreMetrics
	backlog     *backlogMetrics
	streams     streamsClients
	api         *api
	evidence    *evidence
	bounds      kafka.Bounds
	logger      *slog.Logger
	failed      chan error // capacity 1: the first partition that could not go on

	served atomic.Pointer[map[string]bool] // by lane: its consumer group has members; nil while that is not known

	mu        sync.Mutex // guards all below
	tenures   map[int32]*tenure
	begins    map[int32]int64    // partitions that the reader is to add, with the offset to read from
	interrupt context.CancelFunc // ends the reader's poll
}

// tenure is the ownership of a partition, from its assignment to its revocation.
type tenure struct {
	partition int32
	cancel    context.CancelFunc
	ended     chan struct{}
	shard     *shard.Shard // guarded by owner.mu; nil while the partition is being restored
}

// groupOptions are the options of the client that is the group's member: cooperative, dynamic, and without
// offset commits, for a partition's position is in its checkpoint.
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

// readerOptions are the options of the client that reads status. It reads uncommitted records: an event
// counts once it is written, even if its producer uses transactions.
func readerOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.KeepControlRecords(), // so that a position can reach the log's end
		kgo.FetchIsolationLevel(kgo.ReadUncommitted()),
	}
}

// assigned begins a tenure for each new partition. It does not wait until they are restored, for that
// would hold up the group and the partitions that this tracker keeps.
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

// revoked ends tenures and returns when their last checkpoints are written, after which the next owner
// may begin.
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

// serve restores the partition and runs its shard until ctx ends. When another tracker has taken over
// the partition's view and the group says that this one is still the owner, it starts again.
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

// hold restores the partition, runs its shard, and its keeper of streams beside it, and returns when both have ended.
// The order matters: taking the view over fences the former owner, so nobody else writes it during the restore; the
// reader adds the partition and the API serves it only when the shard runs.
func (o *owner) hold(ctx context.Context, t *tenure) error {
	p := t.partition
	var w *view.Writer
	cfg := shard.Config{
		Partition: p, Partitions: o.partitions, Names: o.names, Store: o.store.Partition(p), Kafka: o,
		Metrics: o.metrics, Tracer: o.tracer, Log: o.logger,
		BrokerTimes: o.brokerTimes, Bounds: o.bounds, Activity: o.activity,
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
	var s *shard.Shard
	k := o.keeper(p, func(ctx context.Context, ids []string) ([]shard.Writer, error) { return s.Writers(ctx, ids) })
	cfg.Told = k.Told
	s = shard.New(cfg)
	running, stop := context.WithCancel(ctx)
	defer stop()
	ran, kept := make(chan error, 1), make(chan error, 1)
	go func() { ran <- s.Run(running) }()
	go func() {
		err := k.Run(running)
		if err != nil {
			stop()
		}
		kept <- err
	}()
	s.Advance(ctx, next)
	o.mu.Lock()
	t.shard = s
	o.mu.Unlock()
	o.begin(p, next)
	if ctx.Err() == nil {
		o.api.set(p, s, k)
	}
	err = <-ran
	stop()
	err = errors.Join(err, <-kept)
	o.mu.Lock()
	t.shard = nil
	o.mu.Unlock()
	o.end(p)
	if ctx.Err() == nil {
		o.api.claim(p) // still assigned: serve restores it again
	}
	return err
}

// awaitOwnership returns when the group says that this tracker owns the partition, or when ctx ends,
// which it does when the partition is revoked.
func (o *owner) awaitOwnership(ctx context.Context, p int32) {
	for ctx.Err() == nil {
		owned, err := o.owned(ctx, p)
		if owned {
			return
		}
		if err != nil && ctx.Err() == nil {
			o.logger.Warn("the partition's owner is not known yet", "partition", p, "err", err)
		}
		pause.For(ctx, time.Second)
	}
}

// owned asks the group whether the partition is this tracker's.
func (o *owner) owned(ctx context.Context, p int32) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, o.bounds.Ask)
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

// verify reads the store beside all else if that was opened unread. It ends run when the store is not sound.
func (o *owner) verify(ctx context.Context) {
	if err := o.store.Verify(ctx); err != nil && ctx.Err() == nil {
		o.fail(err)
	}
}

// fail ends run with err, unless another error has done so.
func (o *owner) fail(err error) {
	select {
	case o.failed <- err:
	default:
	}
}

// begin makes the reader read a partition from offset next. poll adds it before it polls again, so no
// record of an earlier tenure is handed to the new shard.
func (o *owner) begin(p int32, next int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.begins[p] = next
	if o.interrupt != nil {
		o.interrupt()
	}
}

// end makes the reader stop reading a partition.
func (o *owner) end(p int32) {
	o.mu.Lock()
	delete(o.begins, p)
	o.mu.Unlock()
	o.reader.RemoveConsumePartitions(map[string][]int32{o.names.Status(): {p}})
}

// poll adds the partitions that wait in begins and returns the records that the reader has. It returns
// without records when begin is called meanwhile.
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

// run hands polled records to the shards until ctx ends or a partition fails. It then leaves the group and
// waits for all shards and goroutines.
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
	beside.Go(func() { o.watchQueues(ctx) })
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

// drainGroup logs the errors of the group's client. The client fetches no records, for its topic is paused.
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

// watchLog asks for the end offsets of status every endsInterval. Shards need them to say how fresh their
// answers are. It stops the tracker when the number of partitions has changed.
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
		// A partition whose leader did not answer is missing in ends: its shard's answers grow old.
		if n := int32(len(ends)); err == nil && n != o.partitions {
			stop(fmt.Errorf("%w from %d to %d: jobs would be looked up in the wrong partition; see tracker/README.md, "+
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

// ends returns the end offset of each partition of status. With an error it still returns those of the
// leaders that answered.
func (o *owner) ends(ctx context.Context) (map[int32]kadm.ListedOffset, error) {
	ctx, cancel := context.WithTimeout(ctx, o.bounds.Ask)
	defer cancel()
	ends, err := kadm.NewClient(o.admin).ListEndOffsets(ctx, o.names.Status())
	return ends[o.names.Status()], err
}

// shard returns the partition's shard, or nil while none runs.
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
