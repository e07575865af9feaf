package shard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/fetch"
	"github.com/ackwire/ackwire/tracker/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testPartition  = 1
	testPartitions = 4
	tenant         = "acme"
)

var (
	names    = topic.Names{Prefix: "t."}
	quiet    = slog.New(slog.DiscardHandler)
	identity = store.Identity{ClusterID: "c", TopicID: "t", Topic: names.Status(), Partitions: testPartitions}
)

// jobIDs gives IDs whose jobs belong to the shard under test.
func jobIDs(n int) []string {
	var ids []string
	for i := 0; len(ids) < n; i++ {
		if id := fmt.Sprintf("job-%04d", i); kafka.Partition(id, testPartitions) == testPartition {
			ids = append(ids, id)
		}
	}
	return ids
}

// local are the bounds of the profile local.
var local = kafka.Timeouts{}.Bounds()

// world is a shard with all that it reaches: a Kafka in memory, and a store on a disk in
// memory. It lives in a bubble, where time passes only when all wait.
type world struct {
	t       *testing.T
	fs      *vfs.MemFS
	view    View // nil: there is none
	metrics *Metrics
	tracer  trace.Tracer // nil: no spans are made
	shown   *prometheus.Registry
	logTo   *lines // nil: nobody reads the shard's log

	brokerTimes bool
	told        func(string) // nil: nobody hears of writers

	store *store.Store
	shard *Shard
	stop  context.CancelFunc
	ended chan error

	mu      sync.Mutex // guards all below
	logs    map[string][]*kgo.Record
	skew    time.Duration    // of the broker's clock
	stamps  func() time.Time // what writers say the time is; nil: the broker says it
	times   []time.Time      // when the records of status were appended
	wake    chan struct{}    // closed when status grows
	paused  bool             // status is not delivered
	fault   func(*kgo.Record) (lost bool, err error)
	endErr  error
	endHold chan struct{} // EndOffset waits for it
	ends    int           // how often the end was asked
	slow    time.Duration // of Record
	gone    error         // of Record

	fetching, mostFetching int
}

func newWorld(t *testing.T) *world {
	shown := prometheus.NewPedanticRegistry()
	return &world{
		t: t, fs: vfs.NewCrashableMem(), metrics: NewMetrics(meter.New(shown, "tracker")), shown: shown,
		logs: map[string][]*kgo.Record{}, wake: make(chan struct{}),
	}
}

// inBubble runs a test whose shard has caught up with an empty log.
func inBubble(t *testing.T, f func(*testing.T, *world)) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer w.end()
		synctest.Wait()
		f(t, w)
	})
}

// start opens the store and runs a shard on it, fed with status from its position on.
func (w *world) start() {
	w.t.Helper()
	var err error
	if w.store, err = store.Open(w.fs, "store", identity, store.Options{View: w.view != nil, MemTable: 1 << 20},
		quiet); err != nil {
		w.t.Fatal(err)
	}
	log := quiet
	if w.logTo != nil {
		log = slog.New(slog.NewTextHandler(w.logTo, nil))
	}
	w.shard = New(Config{
		Partition: testPartition, Partitions: testPartitions, Names: names, Store: w.store.Partition(testPartition),
		Kafka: w, View: w.view, Metrics: w.metrics, Tracer: w.tracer, Log: log, BrokerTimes: w.brokerTimes,
		Told: w.told,
	})
	ctx, cancel := context.WithCancel(context.Background())
	w.stop, w.ended = cancel, make(chan error, 1)
	s, ended := w.shard, w.ended
	go func() { ended <- s.Run(ctx) }()
	go w.feed(ctx, s)
}

func (w *world) feed(ctx context.Context, s *Shard) {
	for next := s.Position(); ; {
		w.mu.Lock()
		var batch []*kgo.Record
		if all := w.logs[names.Status()]; !w.paused && int64(len(all)) > next {
			batch = slices.Clone(all[next:])
		}
		wake := w.wake
		w.mu.Unlock()
		if len(batch) > 0 {
			s.Fold(ctx, batch)
			next += int64(len(batch))
			continue
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return
		}
	}
}

// halt ends the shard and returns what Run did.
func (w *world) halt() error {
	w.stop()
	err := <-w.ended
	if closeErr := w.store.Close(); closeErr != nil {
		w.t.Errorf("close store: %v", closeErr)
	}
	return err
}

// end ends the shard, which must have no objection.
func (w *world) end() {
	w.t.Helper()
	if err := w.halt(); err != nil {
		w.t.Errorf("shard ended: %v", err)
	}
}

// crash goes on with what the disk may hold after a loss of power: a part of what was not
// synced, in percent. The shard's last words are not on it.
func (w *world) crash(unsynced int, rnd *rand.Rand) {
	w.t.Helper()
	disk := w.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rnd})
	w.end()
	w.fs = disk
	w.start()
}

// set changes the world.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	close(w.wake)
	w.wake = make(chan struct{})
}

// Produce implements Log.
func (w *world) Produce(rec *kgo.Record, done func(error)) {
	w.set(func() {
		var lost bool
		var err error
		if w.fault != nil {
			lost, err = w.fault(rec)
		}
		if !lost {
			w.appendLocked(rec)
		}
		go done(err)
	})
}

func (w *world) appendLocked(rec *kgo.Record) {
	rec.Offset = int64(len(w.logs[rec.Topic]))
	rec.Timestamp = time.Now().Add(w.skew).Truncate(time.Millisecond)
	if rec.Topic == names.Status() {
		rec.Partition = testPartition
		w.times = append(w.times, time.Now())
		if w.stamps == nil {
			rec.Attrs = kgo.NewRecordAttrs(kgo.RecordAttrsOpts{TimestampType: 1})
		} else {
			rec.Timestamp = w.stamps().Truncate(time.Millisecond)
		}
	}
	w.logs[rec.Topic] = append(w.logs[rec.Topic], rec)
}

// EndOffset implements Log.
func (w *world) EndOffset(ctx context.Context, p int32) (int64, error) {
	w.mu.Lock()
	w.ends++
	hold := w.endHold
	w.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if p != testPartition {
		return 0, errors.New("another partition")
	}
	return int64(len(w.logs[names.Status()])), w.endErr
}

// Record implements Log.
func (w *world) Record(ctx context.Context, pos event.Position) (*kgo.Record, error) {
	w.mu.Lock()
	w.fetching++
	w.mostFetching = max(w.mostFetching, w.fetching)
	slow := w.slow
	w.mu.Unlock()
	pause.For(ctx, slow)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fetching--
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if w.gone != nil {
		return nil, w.gone
	}
	log := w.logs[pos.Topic]
	if pos.Offset >= int64(len(log)) {
		return nil, fetch.ErrGone
	}
	return log[pos.Offset], nil
}

// log returns what a topic holds.
func (w *world) log(topic string) []*kgo.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.logs[topic])
}

// appended lists the events of a type that status holds.
func (w *world) appended(typ event.Type) (events []event.Event) {
	w.t.Helper()
	for _, rec := range w.log(names.Status()) {
		if e, err := event.Decode(rec.Value); err == nil && e.Type == typ {
			events = append(events, e)
		}
	}
	return events
}

// orders lists what workers were told: "granted r1" …
func (w *world) orders() (all []string) {
	w.t.Helper()
	for _, rec := range w.log(names.Control()) {
		o, err := event.DecodeOrder(rec.Value)
		if err != nil {
			w.t.Fatal(err)
		}
		if string(rec.Key) != o.Worker {
			w.t.Fatalf("order for %s is keyed %s", o.Worker, rec.Key)
		}
		all = append(all, string(o.Type)+" "+o.Run)
	}
	return all
}

type mod func(*event.Event)

func dispatch(n int) mod           { return func(e *event.Event) { e.Dispatch = n } }
func run(name string) mod          { return func(e *event.Event) { e.Run = name } }
func round(n int) mod              { return func(e *event.Event) { e.Round = n } }
func at(p event.Position) mod      { return func(e *event.Event) { e.Request = &p } }
func with(f func(*job.Policy)) mod { return func(e *event.Event) { f(e.Policy) } }

const (
	lease     = 30 * time.Second
	grace     = 15 * time.Second
	retention = time.Hour
)

// submit appends a request and returns its place.
func (w *world) request(topicName, id string) event.Position {
	w.t.Helper()
	r := topic.Request{
		JobID: id, Job: "demo.echo", Lane: "default", Dispatch: 1, Attempt: 1, Tenant: tenant,
		PayloadHash: "sha256:1", Policy: policy(), Time: time.Now(),
	}
	if topicName == names.Deferred() {
		later := time.Now().Add(time.Minute)
		r.RunAt = &later
	}
	headers, err := r.Headers()
	if err != nil {
		w.t.Fatal(err)
	}
	rec := &kgo.Record{Topic: topicName, Key: []byte(id), Value: []byte(`{"for":"` + id + `"}`)}
	for _, h := range headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	w.set(func() { w.appendLocked(rec) })
	return event.Position{Topic: topicName, Partition: rec.Partition, Offset: rec.Offset}
}

func policy() job.Policy {
	return job.Policy{
		Attempts: 3, Backoff: job.Backoff{Initial: job.Seconds(time.Second), Factor: 2, Cap: job.Seconds(10 * time.Second)},
		Lease: job.Seconds(lease), Grace: job.Seconds(grace), Retention: job.Seconds(retention),
	}
}

// append writes an event to status, which fits dispatch 1 and the run "r1", and returns the
// version that it gives to its job. The shard has folded it when append returns.
func (w *world) append(id string, typ event.Type, mods ...mod) int64 {
	w.t.Helper()
	e := &event.Event{Type: typ, JobID: id}
	switch typ {
	case event.Accepted, event.Claimed:
		p := policy()
		e.Job = "demo.echo"
		e.Tenant = tenant
		e.Lane = "default"
		e.PayloadHash = "sha256:1"
		e.Policy = &p
		e.Request = &event.Position{Topic: names.Requests("default")}
	case event.Progress:
		e.Progress = &job.Progress{Percent: 10}
	case event.Failed:
		e.Error = &event.Failure{Error: job.Error{Code: "boom", Retryable: true}}
	}
	switch typ {
	case event.Claimed, event.Beat, event.Progress, event.Completed, event.Failed, event.Released:
		e.Dispatch, e.Run = 1, "r1"
	}
	for _, m := range mods {
		m(e)
	}
	if e.Run != "" {
		e.Worker = "worker-of-" + e.Run
	}
	value, err := event.Encode(e)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.appendRecord([]byte(id), value)
}

func (w *world) appendRecord(key, value []byte) int64 {
	rec := &kgo.Record{Topic: names.Status(), Key: key, Value: value}
	w.set(func() { w.appendLocked(rec) })
	synctest.Wait()
	return rec.Offset + 1
}

// submit makes a job whose request is in its topic.
func (w *world) submit(id string, mods ...mod) int64 {
	w.t.Helper()
	return w.append(id, event.Accepted, append([]mod{at(w.request(names.Requests("default"), id))}, mods...)...)
}

// claim claims the job in the dispatch that it has now.
func (w *world) claim(id, runName string) int64 {
	w.t.Helper()
	j := w.peek(id)
	mods := []mod{dispatch(j.Dispatch), run(runName)}
	if j.Request != nil {
		mods = append(mods, at(*j.Request))
	} else {
		mods = append(mods, at(j.Source))
	}
	return w.append(id, event.Claimed, mods...)
}

func (w *world) get(q Query) (Snapshot, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return w.shard.Get(ctx, q)
}

// doc asks for the job's document.
func (w *world) doc(id string) job.Document {
	w.t.Helper()
	snap, err := w.get(Query{JobID: id, Scope: Scope{Tenant: tenant}})
	if err != nil {
		w.t.Fatalf("get %s: %v", id, err)
	}
	return decode(w.t, snap.Job.Document)
}

func decode(t *testing.T, b []byte) (d job.Document) {
	t.Helper()
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func (w *world) wantState(why, id string, want job.State) {
	w.t.Helper()
	if got := w.doc(id).State; got != want {
		w.t.Fatalf("%s: job is %s, want %s", why, got, want)
	}
}

func (w *world) wantOrders(why string, want ...string) {
	w.t.Helper()
	if got := w.orders(); !slices.Equal(got, want) {
		w.t.Fatalf("%s: orders %v, want %v", why, got, want)
	}
}

// wantAppended wants status to hold n events of a type, and returns them.
func (w *world) wantAppended(why string, typ event.Type, n int) []event.Event {
	w.t.Helper()
	events := w.appended(typ)
	if len(events) != n {
		w.t.Fatalf("%s: status holds %d %s, want %d", why, len(events), typ, n)
	}
	return events
}

// wantGauge compares a metric.
func (w *world) wantMetric(why string, c prometheus.Collector, want float64) {
	w.t.Helper()
	if got := testutil.ToFloat64(c); got != want {
		w.t.Fatalf("%s: metric is %v, want %v", why, got, want)
	}
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
