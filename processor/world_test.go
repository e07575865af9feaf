package processor

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

const (
	testLease      = 6 * time.Second
	testPartitions = 4
	moment         = 500 * time.Millisecond // long enough for a round trip, far below a third of the lease
)

// local are the bounds of the profile local.
var local = kafka.Timeouts{}.Bounds()

// world is a Kafka on a virtual network, with a simulated gateway that submits, and a simulated tracker that
// reads status and answers as the test configures it. It runs inside a synctest bubble.
type world struct {
	t       *testing.T
	net     *kfake.VirtualNetwork
	cluster *kfake.Cluster
	names   topic.Names
	client  *kgo.Client

	mu     sync.Mutex
	log    []logged
	answer func(event.Event) []event.OrderType
}

type logged struct {
	event.Event
	at    time.Time
	trace trace.SpanContext
}

// inWorld runs a test in a bubble with a Kafka that has all topics of the lane default.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	inWorldWithoutKafka(t, func(w *world) {
		w.startKafka()
		w.makeTopics()
		w.follow()
		test(w)
	})
}

// inWorldWithoutKafka runs a test in a bubble without a Kafka.
func inWorldWithoutKafka(t *testing.T, test func(w *world)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		test(&world{t: t, net: &kfake.VirtualNetwork{}, names: topic.Names{Prefix: topic.DefaultPrefix}})
	})
}

func (w *world) startKafka() {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(w.net.Listen))
	if err != nil {
		w.t.Fatal(err)
	}
	w.cluster = cluster
	w.t.Cleanup(cluster.Close)
	if w.client, err = w.kafka().NewClient(w.env(), "test"); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.client.Close)
}

func (w *world) makeTopics() {
	var topics []kafka.Topic
	for _, s := range []topic.Spec{w.names.StatusSpec(testPartitions), w.names.ControlSpec(testPartitions),
		w.names.RequestsSpec("default", testPartitions), w.names.DeadSpec(),
		w.names.StreamsSpec(testPartitions)} {
		topics = append(topics, kafka.Topic(s))
	}
	if _, err := kafka.EnsureTopics(w.ctx(), w.client, topics...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ctx() context.Context { return w.t.Context() }

func (w *world) kafka() kafka.Config { return kafka.Config{Brokers: []string{"127.0.0.1:9092"}} }

func (w *world) env() service.Env {
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("ACKWIRE_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return service.Env{Log: log, Metrics: prometheus.NewRegistry(),
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return w.net.DialContext(ctx, network, address)
		}}
}

// follow simulates the tracker: it reads status and appends orders.
func (w *world) follow() {
	client, err := w.kafka().NewClient(w.env(), "tracker", kgo.ConsumeTopics(w.names.Status()))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	w.t.Cleanup(func() { cancel(); wg.Wait(); client.Close() })
	wg.Go(func() {
		for ctx.Err() == nil {
			fetches := client.PollFetches(ctx)
			if fetches.Err() != nil {
				pause.For(ctx, pollPause)
			}
			fetches.EachRecord(func(rec *kgo.Record) {
				e, err := event.Decode(rec.Value)
				if err != nil || string(rec.Key) != e.JobID {
					w.t.Errorf("status record %s: %v", rec.Value, err)
				}
				w.mu.Lock()
				w.log = append(w.log, logged{e, time.Now(), tracing.FromRecord(rec)})
				answer := w.answer
				w.mu.Unlock()
				if answer != nil {
					for _, o := range answer(e) {
						w.order(e, o)
					}
				}
			})
		}
	})
}

// answers sets how the tracker reacts to events.
func (w *world) answers(f func(event.Event) []event.OrderType) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

func grantAll(e event.Event) []event.OrderType {
	if e.Type == event.Claimed {
		return []event.OrderType{event.Granted}
	}
	return nil
}

// order sends an order to the run that appended e.
func (w *world) order(e event.Event, o event.OrderType) { w.orderTo(e.Worker, e, o) }

func (w *world) orderTo(key string, e event.Event, o event.OrderType) {
	value, err := event.EncodeOrder(event.Order{
		Type: o, JobID: e.JobID, Dispatch: e.Dispatch, Run: e.Run, Worker: e.Worker,
	})
	if err != nil {
		w.t.Error(err)
	}
	w.control(key, value)
}

func (w *world) junkOrder(key string) { w.control(key, []byte("{")) }

func (w *world) control(key string, value []byte) {
	kafka.Produce(context.Background(), w.client, &kgo.Record{Topic: w.names.Control(), Key: []byte(key), Value: value},
		func(*kgo.Record, error) {})
}

func counter(t *testing.T, c prometheus.Metric) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue() + m.GetGauge().GetValue()
}

// request returns the request that submit sends; tests may change it.
func request(id, jobType string) topic.Request {
	return topic.Request{JobID: id, Job: jobType, Lane: "default", Dispatch: 1, Attempt: 1,
		Tenant: "acme", Subject: "alice", PayloadHash: "sha256:00",
		Policy: job.Policy{Attempts: 3, Lease: job.Seconds(testLease), Grace: job.Seconds(5 * time.Second)}}
}

func (w *world) submit(req topic.Request, payload string) *kgo.Record {
	w.t.Helper()
	headers, err := req.Headers()
	if err != nil {
		w.t.Fatal(err)
	}
	rec := &kgo.Record{Topic: w.names.Requests(req.Lane), Key: []byte(req.JobID), Value: []byte(payload)}
	for _, h := range headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	if err := kafka.ProduceSync(w.ctx(), w.client, rec); err != nil {
		w.t.Fatal(err)
	}
	return rec
}

// worker is a running processor.
type worker struct {
	*Processor
	w    *world
	stop context.CancelFunc
	done chan struct{}
	err  error
}

// start makes a processor, registers its handlers and runs it until it is ready.
func (w *world) start(cfg Config, register func(*Processor)) *worker {
	w.t.Helper()
	wk := w.launch(cfg, w.env(), register)
	for range 100 {
		if wk.Ready() == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err := wk.Ready(); err != nil {
		w.t.Fatalf("not ready: %v", err)
	}
	time.Sleep(2 * moment) // the backlog is known, and every partition is being fetched
	return wk
}

func (w *world) launch(cfg Config, env service.Env, register func(*Processor)) *worker {
	w.t.Helper()
	cfg.Brokers = w.kafka().Brokers // and any number of partitions
	p, err := New(cfg, within(env)...)
	if err != nil {
		w.t.Fatal(err)
	}
	register(p)
	ctx, cancel := context.WithCancel(context.Background())
	wk := &worker{Processor: p, w: w, stop: cancel, done: make(chan struct{})}
	go func() { wk.err = p.Run(ctx); close(wk.done) }()
	w.t.Cleanup(func() { cancel(); <-wk.done })
	return wk
}

// halt stops the worker gracefully and returns the error of Run.
func (wk *worker) halt() error {
	wk.stop()
	<-wk.done
	return wk.err
}

// wantFree checks that no slot has leaked.
func (wk *worker) wantFree() {
	wk.w.t.Helper()
	for _, l := range wk.lanes {
		l.mu.Lock()
		if l.slots != wk.cfg.Slots {
			wk.w.t.Errorf("lane %s: %d of %d slots free", l.name, l.slots, wk.cfg.Slots)
		}
		l.mu.Unlock()
	}
	if n := len(wk.snapshot()); n != 0 {
		wk.w.t.Errorf("%d runs left", n)
	}
}

// events returns the events of a job so far.
func (w *world) events(jobID string) []logged {
	w.mu.Lock()
	defer w.mu.Unlock()
	var events []logged
	for _, e := range w.log {
		if e.JobID == jobID {
			events = append(events, e)
		}
	}
	return events
}

// want waits a moment and checks which events the job's log holds.
func (w *world) want(what, jobID string, types ...event.Type) []logged {
	w.t.Helper()
	time.Sleep(moment)
	synctest.Wait()
	events := w.events(jobID)
	got := make([]event.Type, len(events))
	for i, e := range events {
		got[i] = e.Type
	}
	if !slices.Equal(got, types) {
		w.t.Fatalf("%s: job %s: got %v, want %v", what, jobID, got, types)
	}
	return events
}

// last returns the last event of a job once it is terminal for its run.
func (w *world) last(jobID string) event.Event {
	w.t.Helper()
	for range 200 {
		if events := w.events(jobID); len(events) > 0 {
			switch e := events[len(events)-1]; e.Type {
			case event.Completed, event.Failed, event.Released:
				return e.Event
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.t.Fatalf("job %s did not end: %v", jobID, w.events(jobID))
	return event.Event{}
}

// committed returns the sum of the committed offsets of the lane default.
func (w *world) committed() (sum int64) {
	w.t.Helper()
	offsets, err := kadm.NewClient(w.client).FetchOffsets(w.ctx(), w.names.ProcessorGroup("default"))
	if err != nil {
		w.t.Fatal(err)
	}
	offsets.Each(func(o kadm.OffsetResponse) { sum += max(o.At, 0) })
	return sum
}

// block is a handler that runs until its context ends and returns the cause.
func block(ctx context.Context, _ *Job, _ []byte) (json.RawMessage, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func echo(_ context.Context, _ *Job, payload []byte) (json.RawMessage, error) { return payload, nil }

func handlers(h map[string]RawHandler) func(*Processor) {
	return func(p *Processor) {
		for name, fn := range h {
			HandleRaw(p, name, fn)
		}
	}
}

func id(i int) string { return fmt.Sprintf("job-%04d", i) }
