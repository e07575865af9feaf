package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

// floor is the floor of Ackwire's latency: it does with plain Kafka clients what Ackwire's services do with Kafka for
// one job, with records of the same size and the same client options, and nothing else.
type floor struct {
	client *kgo.Client // produces
	worker *kgo.Client // consumes requests
	fold   *kgo.Client // consumes status
	stop   context.CancelFunc
	wg     sync.WaitGroup

	headers  []kgo.RecordHeader
	accepted []byte
	claimed  []byte
	ended    []byte

	mu      sync.Mutex // guards waiting
	waiting map[string]chan struct{}
}

const (
	floorRequests = "bench.requests"
	floorStatus   = "bench.status"
	claimedKind   = "claimed"
	endedKind     = "completed"
)

func newFloor(ctx context.Context, cfg kafka.Config, env service.Env, partitions int32) (_ *floor, err error) {
	f := &floor{waiting: map[string]chan struct{}{}}
	if err := f.fill(); err != nil {
		return nil, err
	}
	if f.client, err = cfg.NewClient(env, "bench-floor"); err != nil {
		return nil, err
	}
	if _, err := kafka.EnsureTopics(ctx, f.client, kafka.Topic{Name: floorRequests, Partitions: partitions},
		kafka.Topic{Name: floorStatus, Partitions: partitions}); err != nil {
		f.client.Close()
		return nil, err
	}
	if f.worker, err = cfg.NewClient(env, "bench-floor-worker", kgo.ConsumeTopics(floorRequests)); err != nil {
		f.client.Close()
		return nil, err
	}
	if f.fold, err = cfg.NewClient(env, "bench-floor-fold", kgo.ConsumeTopics(floorStatus)); err != nil {
		f.client.Close()
		f.worker.Close()
		return nil, err
	}
	ctx, f.stop = context.WithCancel(ctx)
	f.wg.Go(func() { f.work(ctx) })
	f.wg.Go(func() { f.see(ctx) })
	return f, nil
}

// fill makes records with the same content as Ackwire's.
func (f *floor) fill() error {
	policy := job.Policy{Attempts: 3, Lease: job.Seconds(30 * time.Second), Grace: job.Seconds(10 * time.Second),
		Retention: job.Seconds(24 * time.Hour),
		Backoff:   job.Backoff{Initial: job.Seconds(200 * time.Millisecond), Factor: 2, Cap: job.Seconds(time.Minute)}}
	const id, hash = "01a208fd-2dc6-7467-acd5-bb987da2c71e",
		"sha256:0000000000000000000000000000000000000000000000000000000000000000"
	request := topic.Request{
		JobID: id, Job: "demo.echo", Lane: "default", Dispatch: 1, Attempt: 1, Tenant: "local", PayloadHash: hash,
		Policy: policy, Time: time.Now(),
	}
	headers, err := request.Headers()
	if err != nil {
		return err
	}
	for _, h := range headers {
		f.headers = append(f.headers, kgo.RecordHeader(h))
	}
	at := &event.Position{Topic: "ackwire.requests.default", Partition: 11, Offset: 123456}
	birth := event.Event{
		JobID: id, Job: "demo.echo", Lane: "default", Tenant: "local", PayloadHash: hash, Policy: &policy,
		Request: at,
	}
	accepted, claimed := birth, birth
	accepted.Type = event.Accepted
	claimed.Type = event.Claimed
	claimed.Dispatch = 1
	claimed.Run = "ZX44SL23FUU65CEY54T6DIGHNK"
	claimed.Worker = "worker-1"
	ended := event.Event{
		Type: event.Completed, JobID: id, Dispatch: 1, Run: claimed.Run, Worker: claimed.Worker, Result: payload,
	}
	for _, e := range []struct {
		from *event.Event
		to   *[]byte
	}{{&accepted, &f.accepted}, {&claimed, &f.claimed}, {&ended, &f.ended}} {
		if *e.to, err = event.Encode(e.from); err != nil {
			return err
		}
	}
	return nil
}

func (f *floor) record(topic, key string, value []byte, headers []kgo.RecordHeader) *kgo.Record {
	return &kgo.Record{Topic: topic, Key: []byte(key), Value: value, Headers: headers}
}

// twoProduces writes two records one after the other, which every ack needs.
func (f *floor) twoProduces(ctx context.Context, key string) error {
	if err := kafka.ProduceSync(ctx, f.client, f.record(floorRequests, key, payload, f.headers)); err != nil {
		return err
	}
	return kafka.ProduceSync(ctx, f.client, f.record(floorStatus, key, f.accepted, nil))
}

// chain writes one job's records, from the request until completed is consumed.
func (f *floor) chain(ctx context.Context, key string) error {
	seen := make(chan struct{})
	f.mu.Lock()
	f.waiting[key] = seen
	f.mu.Unlock()
	if err := f.twoProduces(ctx, key); err != nil {
		return err
	}
	select {
	case <-seen:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// work answers each request of a chain with claimed and, once that is durable, completed.
func (f *floor) work(ctx context.Context) {
	for {
		fetches := f.worker.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		fetches.EachRecord(func(r *kgo.Record) {
			key := string(r.Key)
			if !f.waits(key) {
				return // a record of twoProduces
			}
			kafka.Produce(ctx, f.client, f.record(floorStatus, key, f.claimed, []kgo.RecordHeader{{Key: claimedKind}}),
				func(_ *kgo.Record, err error) {
					if err == nil {
						kafka.Produce(ctx, f.client, f.record(floorStatus, key, f.ended, []kgo.RecordHeader{{Key: endedKind}}),
							func(*kgo.Record, error) {})
					}
				})
		})
	}
}

func (f *floor) waits(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waiting[key] != nil
}

// see consumes status, at the end of chains.
func (f *floor) see(ctx context.Context) {
	for {
		fetches := f.fold.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if len(r.Headers) != 1 || r.Headers[0].Key != endedKind {
				return
			}
			f.mu.Lock()
			seen := f.waiting[string(r.Key)]
			delete(f.waiting, string(r.Key))
			f.mu.Unlock()
			if seen != nil {
				close(seen)
			}
		})
	}
}

func (f *floor) close() {
	f.stop()
	f.wg.Wait()
	f.worker.Close()
	f.fold.Close()
	f.client.Close()
}

func key(phase string, i int) string { return fmt.Sprintf("%s-%08d", phase, i) }
