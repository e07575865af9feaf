package processor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/internal/wake"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Bounds of a lane's consumer.
const (
	// fetchMaxBytes and fetchMaxPartitionBytes bound what a lane buffers ahead of its slots.
	fetchMaxBytes          = 8 << 20
	fetchMaxPartitionBytes = 1 << 20
	// fetchMaxWait bounds how long a broker holds a fetch. The client has one fetch per broker at a time, and a
	// partition that is added meanwhile must wait for its end.
	fetchMaxWait = 500 * time.Millisecond

	pollPause   = 250 * time.Millisecond // after an error, so that the loop does not spin
	commitEvery = 150 * time.Millisecond
)

// lane takes the requests of one lane. It is a member of the lane's consumer group that polls
// only while it has free slots. A request takes a slot when it is polled; the slot is free
// again when its run has ended.
type lane struct {
	// Set before run, then only read.
	p     *Processor
	name  string
	topic string
	log   *slog.Logger

	client      *kgo.Client // set at each start of run, before anything else uses it
	brokerTimes bool        // the broker sets the timestamps of the topic's records; set before run

	committing chan struct{} // capacity 1: a lock that is held during a commit; taken before mu

	mu         sync.Mutex           // guards the rest; no other lock is taken under it
	slots      int                  // free slots
	joined     bool                 // it is a member of the group
	yielding   bool                 // the lane is left to other workers: see attend
	partitions map[int32]*partition // those assigned now, by number

	polling trouble
	changed wake.Signal // a slot was freed or an offset marked; only the poll loop listens
}

func newLane(p *Processor, name string) *lane {
	l := &lane{
		p: p, name: name, topic: p.names.Requests(name),
		log:        p.log.With("lane", name),
		slots:      p.cfg.Slots,
		partitions: map[int32]*partition{},
		changed:    wake.New(),
		committing: make(chan struct{}, 1),
	}
	p.metrics.slotsFree.WithLabelValues(name).Set(float64(l.slots))
	return l
}

// run takes requests until ctx ends. Then it waits, for at most as long as a claim may take, until the claim of every
// request is durable, commits, and leaves the group. The runs go on.
func (l *lane) run(ctx context.Context) error {
	// The goroutines that commit go on after ctx has ended, until run returns.
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	client, err := l.p.kafka.NewClient(l.p.env, l.p.clientID(),
		kgo.ConsumerGroup(l.p.names.ProcessorGroup(l.name)),
		kgo.ConsumeTopics(l.topic),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		// After this time without a heartbeat the group gives the worker's partitions to others. If the worker was
		// only slow, its runs go on and nothing is lost.
		kgo.SessionTimeout(l.p.bounds.Session),
		kgo.HeartbeatInterval(l.p.bounds.Heartbeat),
		l.p.kafka.Nearest(),
		kgo.FetchMaxBytes(fetchMaxBytes),
		kgo.FetchMaxPartitionBytes(fetchMaxPartitionBytes),
		kgo.FetchMaxWait(fetchMaxWait),
		kgo.DisableAutoCommit(),
		// No partition may be revoked between a poll and the claims of its records: then another
		// worker could be given records that are being claimed here.
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
			assigned := l.assigned(m[l.topic])
			if len(assigned) > 0 {
				wg.Go(func() { l.learnBacklog(inner, assigned) })
			}
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
			l.commit(context.WithoutCancel(ctx), m[l.topic])
			l.forget(m[l.topic])
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
			l.forget(m[l.topic])
			l.setJoined(false)
		}),
	)
	if err != nil {
		return err
	}
	l.client = client
	wg.Go(func() { l.commitLoop(inner) })
	l.poll(ctx)
	l.drain()
	l.close(ctx)
	return nil
}

// poll takes requests while slots are free, until ctx ends.
func (l *lane) poll(ctx context.Context) {
	for {
		free := l.waitForSlots(ctx)
		if free == 0 {
			return
		}
		fetches := l.client.PollRecords(ctx, free)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			l.client.AllowRebalance()
			return
		}
		fetches.EachRecord(l.take)
		l.client.AllowRebalance()
		l.notePoll(ctx, fetches)
	}
}

// notePoll logs the errors of a poll, records them for readiness, and slows the loop down after an error.
func (l *lane) notePoll(ctx context.Context, fetches kgo.Fetches) {
	var problems []error
	fetches.EachError(func(t string, partition int32, err error) {
		problems = append(problems, fmt.Errorf("%s/%d: %w", t, partition, err))
	})
	err := errors.Join(problems...)
	if err == nil {
		l.polling.over()
		return
	}
	l.polling.note(fmt.Errorf("lane %s: fetch: %w", l.name, err))
	l.log.Warn("fetch requests", "err", err)
	pause.For(ctx, pollPause)
}

// take starts the run of a request. A record that is not a valid request goes to the dead letters.
func (l *lane) take(rec *kgo.Record) {
	part, ok := l.deliver(rec)
	if !ok {
		return // the partition was lost: its new owner reads the record
	}
	headers := make([]topic.Header, len(rec.Headers))
	for i, h := range rec.Headers {
		headers[i] = topic.Header{Key: h.Key, Value: h.Value}
	}
	r, err := l.request(part, rec, headers)
	if err != nil {
		l.p.writeDeadLetter(l, part, rec, reasonFor(headers), err)
		return
	}
	l.p.add(r)
	r.pulse()
}

func (l *lane) request(part *partition, rec *kgo.Record, headers []topic.Header) (*run, error) {
	req, err := topic.ParseRequest(string(rec.Key), headers)
	if err != nil {
		return nil, err
	}
	if req.Policy.Lease <= 0 {
		return nil, fmt.Errorf("header %s: lease is not positive", topic.HeaderPolicy)
	}
	return newRun(l, part, rec.Offset, l.requestedAt(rec), req, rec.Value)
}

// requestedAt returns the broker's timestamp of a request. It returns nil if the timestamp is from another clock, which
// may be hours behind: the tracker would take the job for one that has expired.
func (l *lane) requestedAt(rec *kgo.Record) *time.Time {
	if !l.brokerTimes && rec.Attrs.TimestampType() != logAppendTime {
		return nil
	}
	at := rec.Timestamp.UTC()
	if !job.ValidTime(at) {
		return nil
	}
	return &at
}

// logAppendTime is the type of a record's timestamp that was set by the broker.
const logAppendTime = 1

// deliver adds a record to its partition's window and takes a slot for it. It reports false if the lane does not own
// the partition any more.
func (l *lane) deliver(rec *kgo.Record) (*partition, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	part, ok := l.partitions[rec.Partition]
	if !ok {
		return nil, false
	}
	part.window.deliver(rec.Offset)
	l.setSlots(l.slots - 1)
	return part, true
}

// waitForSlots waits until slots are free and returns how many. It returns 0 if ctx has ended.
func (l *lane) waitForSlots(ctx context.Context) int {
	for {
		if ctx.Err() != nil {
			return 0
		}
		l.mu.Lock()
		free := l.slots
		l.mu.Unlock()
		if free > 0 {
			return free
		}
		select {
		case <-ctx.Done():
		case <-l.changed:
		}
	}
}

// free gives a slot back.
func (l *lane) free() {
	l.mu.Lock()
	l.setSlots(l.slots + 1)
	l.mu.Unlock()
	l.changed.Send()
}

func (l *lane) setSlots(n int) {
	l.slots = n
	l.p.metrics.slotsFree.WithLabelValues(l.name).Set(float64(n))
}

// mark notes that the record at offset need not be delivered again: its claim or its dead letter is durable.
func (l *lane) mark(part *partition, offset int64) {
	l.mu.Lock()
	part.window.mark(offset)
	l.mu.Unlock()
	l.changed.Send()
}

func (l *lane) mayBeRedelivery(part *partition, offset int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return part.mayBeRedelivery(offset)
}

// drain waits until every request that was taken is marked, for as long as a claim may take.
func (l *lane) drain() {
	deadline := time.NewTimer(l.p.bounds.Delivery)
	defer deadline.Stop()
	for l.openClaims() > 0 {
		select {
		case <-l.changed:
		case <-deadline.C:
			l.log.Warn("stopped with claims in doubt", "claims", l.openClaims())
			return
		}
	}
}

func (l *lane) openClaims() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, part := range l.partitions {
		n += len(part.window.open)
	}
	return n
}

// close commits, leaves the group and closes the client.
func (l *lane) close(ctx context.Context) {
	l.commit(context.WithoutCancel(ctx), nil)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.p.bounds.Ask)
	defer cancel()
	l.client.AllowRebalance()
	if err := l.client.LeaveGroupContext(ctx); err != nil {
		l.log.Warn("leave consumer group", "err", err)
	}
	l.client.Close()
}

// ready returns why the lane takes no work; nil if it does, or leaves the lane to others.
func (l *lane) ready() error {
	l.mu.Lock()
	joined, yielding := l.joined, l.yielding
	l.mu.Unlock()
	if yielding {
		return nil
	}
	if !joined {
		return fmt.Errorf("lane %s: has not joined its consumer group", l.name)
	}
	return l.polling.recent(l.p.bounds.Trouble)
}

func (l *lane) setJoined(joined bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.joined = joined
}
