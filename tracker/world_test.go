package tracker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/peers"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/schemas/trackerpb/trackerpbconnect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testPartitions = 4
	tenant         = "acme"
	settled        = 30 * time.Second // time enough for a rebalance and a restore
)

// world is a Kafka on a virtual network, in a bubble, and a client that writes to it.
type world struct {
	t       *testing.T
	net     *kfake.VirtualNetwork
	names   topic.Names
	cluster *kfake.Cluster
	client  *kgo.Client
	view    bool      // trackers keep the topic view
	logs    io.Writer // what services log; nil: nowhere

	internal peers.Config // of trackers
}

func inWorld(t *testing.T, f func(*testing.T, *world)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		w := &world{t: t, net: &kfake.VirtualNetwork{}, names: topic.Names{Prefix: topic.DefaultPrefix}}
		w.startKafka()
		f(t, w)
	})
}

func (w *world) kafka() kafka.Config { return kafka.Config{Brokers: []string{"localhost:9092"}} }

func (w *world) startKafka() {
	w.t.Helper()
	var err error
	w.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(w.net.Listen))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.cluster.Close)
	if w.client, err = w.kafka().NewClient(w.env(prometheus.NewRegistry()), "test"); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.client.Close)
}

func (w *world) makeRequests() {
	w.t.Helper()
	spec := w.names.RequestsSpec("default", testPartitions)
	if _, err := kafka.EnsureTopics(w.t.Context(), w.client, kafka.Topic(spec)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) env(metrics *prometheus.Registry) service.Env {
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("ACKWIRE_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	} else if w.logs != nil {
		log = slog.New(slog.NewTextHandler(w.logs, nil))
	}
	env := service.Env{
		Log: log,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return w.net.DialContext(ctx, network, address)
		},
		Listen: func(_ context.Context, network, address string) (net.Listener, error) {
			return w.net.Listen(network, address)
		},
	}
	if metrics != nil {
		env.Metrics = metrics
	}
	return env
}

// instance is one tracker that runs, and a client of its API.
type instance struct {
	w       *world
	tracker *Tracker
	api     trackerpbconnect.TrackerClient
	metrics *prometheus.Registry
	http    *http.Transport
	cancel  context.CancelFunc
	ended   chan error
}

func (w *world) config(port int, fs vfs.FS) Config {
	return Config{
		Kafka: w.kafka(), TopicPrefix: w.names.Prefix, Partitions: testPartitions,
		Settings: Settings{
			Listen: fmt.Sprintf("127.0.0.1:%d", port), Advertise: fmt.Sprintf("localhost:%d", port),
			SessionTimeout: 6 * time.Second, NoView: !w.view,
		},
		Data: "data", FS: fs, Internal: w.internal,
	}
}

// run starts a tracker and does not wait for it.
func (w *world) run(port int, fs vfs.FS) *instance {
	w.t.Helper()
	i := &instance{w: w, metrics: prometheus.NewPedanticRegistry(), ended: make(chan error, 1)}
	var err error
	if i.tracker, err = New(w.config(port, fs), w.env(i.metrics)); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	i.cancel = cancel
	go func() { i.ended <- i.tracker.Run(ctx) }()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	i.http = &http.Transport{Protocols: protocols, DialContext: w.env(nil).Dial}
	i.api = trackerpbconnect.NewTrackerClient(&http.Client{Transport: i.http}, fmt.Sprintf("http://localhost:%d", port))
	return i
}

// start starts a tracker and waits until it is ready.
func (w *world) start(port int, fs vfs.FS) *instance {
	w.t.Helper()
	i := w.run(port, fs)
	i.wantReady()
	return i
}

func (i *instance) wantReady() {
	i.w.t.Helper()
	var err error
	for began := time.Now(); time.Since(began) < settled; time.Sleep(100 * time.Millisecond) {
		if err = i.tracker.Ready(); err == nil {
			return
		}
	}
	i.w.t.Fatalf("not ready: %v", err)
}

func (i *instance) stop() {
	i.w.t.Helper()
	i.cancel()
	if err := <-i.ended; err != nil {
		i.w.t.Errorf("tracker ended: %v", err)
	}
	i.http.CloseIdleConnections()
	synctest.Wait()
	if err := i.tracker.Ready(); err == nil {
		i.w.t.Error("a tracker that has stopped is ready")
	}
}

func (i *instance) get(m *trackerpb.GetRequest) (*trackerpb.GetResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if m.Tenant == "" {
		m.Tenant = tenant
	}
	r, err := i.api.Get(ctx, connect.NewRequest(m))
	if err != nil {
		return nil, err
	}
	return r.Msg, nil
}

func (i *instance) doc(id string, minVersion int64) (*trackerpb.Job, job.Document) {
	i.w.t.Helper()
	r, err := i.get(&trackerpb.GetRequest{JobId: id, MinVersion: minVersion})
	if err != nil {
		i.w.t.Fatalf("get %s: %v", id, err)
	}
	var d job.Document
	if err := json.Unmarshal(r.Job.Document, &d); err != nil {
		i.w.t.Fatal(err)
	}
	return r.Job, d
}

func wantCode(t *testing.T, why string, err error, want connect.Code) {
	t.Helper()
	if got := connect.CodeOf(err); err == nil || got != want {
		t.Fatalf("%s: %v, want the code %s", why, err, want)
	}
}

func (w *world) produce(rec *kgo.Record) *kgo.Record {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := w.client.ProduceSync(ctx, rec).FirstErr(); err != nil {
		w.t.Fatalf("produce to %s: %v", rec.Topic, err)
	}
	return rec
}

func policy() job.Policy {
	return job.Policy{Attempts: 3, Backoff: job.Backoff{
		Initial: job.Seconds(time.Second), Factor: 2, Cap: job.Seconds(time.Second),
	},
		Lease: job.Seconds(10 * time.Second), Grace: job.Seconds(time.Second), Retention: job.Seconds(time.Hour)}
}

// append writes an event and returns the version that it gives to its job.
func (w *world) append(e *event.Event) int64 {
	w.t.Helper()
	switch e.Type {
	case event.Accepted, event.Claimed:
		p := policy()
		e.Job = "demo.echo"
		e.Tenant = tenant
		e.Lane = "default"
		e.PayloadHash = "sha256:1"
		e.Policy = &p
	}
	if e.Run != "" {
		e.Worker = "worker"
	}
	value, err := event.Encode(e)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.produce(&kgo.Record{Topic: w.names.Status(), Key: []byte(e.JobID), Value: value}).Offset + 1
}

// submit does what a gateway does, and returns the request's place and the job's version.
func (w *world) submit(id string) (event.Position, int64) {
	w.t.Helper()
	return w.submitAs(id, "")
}

// submitAs is submit for a subject.
func (w *world) submitAs(id, subject string) (event.Position, int64) {
	w.t.Helper()
	return w.submitTagged(id, subject, nil)
}

// submitTagged is submitAs with tags.
func (w *world) submitTagged(id, subject string, tags job.Tags) (event.Position, int64) {
	w.t.Helper()
	r := topic.Request{
		JobID: id, Job: "demo.echo", Lane: "default", Dispatch: 1, Attempt: 1, Tenant: tenant,
		Subject: subject, PayloadHash: "sha256:1", Policy: policy(), Time: time.Now(), Tags: tags,
	}
	headers, err := r.Headers()
	if err != nil {
		w.t.Fatal(err)
	}
	rec := &kgo.Record{Topic: w.names.Requests("default"), Key: []byte(id), Value: []byte(`{"for":"` + id + `"}`)}
	for _, h := range headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	w.produce(rec)
	pos := event.Position{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset}
	return pos, w.append(&event.Event{Type: event.Accepted, JobID: id, Subject: subject, Tags: tags, Request: &pos})
}

// statusRecord returns a record of status for a job with any value.
func statusRecord(w *world, id, value string) *kgo.Record {
	return &kgo.Record{Topic: w.names.Status(), Key: []byte(id), Value: []byte(value)}
}

// drop removes all records of status, as retention does.
func (w *world) drop() {
	w.t.Helper()
	w.dropFrom(w.names.Status())
}

// dropFrom removes all records of a topic.
func (w *world) dropFrom(topic string) {
	w.t.Helper()
	adm := kadm.NewClient(w.client)
	ends, err := adm.ListEndOffsets(w.t.Context(), topic)
	if err != nil {
		w.t.Fatal(err)
	}
	results, err := adm.DeleteRecords(w.t.Context(), ends.Offsets())
	if err = errors.Join(err, results.Error()); err != nil {
		w.t.Fatal(err)
	}
}
