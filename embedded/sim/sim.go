// Package sim runs all of Ackwire in one testing/synctest bubble, for tests: the real services on a virtual network,
// with a broker in memory and Pebble on a file system in memory. Hours of virtual time take milliseconds. Processes can
// be killed, hung, cut off from the network or made deaf.
package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/embedded/broker"
	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/simnet"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/cmd/flags"
	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker"
)

// Addresses on the virtual network, and other constants of the simulated system.
const (
	brokerAddr  = "127.0.0.1:9092"
	rack        = "zone-a"
	gatewayPort = 8080
	trackerPort = 8090

	// Tenant is the tenant of all clients.
	Tenant = "local"
	// Lease is the default lease of the demo job types.
	Lease = 30 * time.Second

	partitions = 4
	// readyWithin is virtual. A worker that joins after another one died in the middle of a rebalance waits as long as
	// the group does for that one, which is a minute, and some seconds more.
	readyWithin = 2 * time.Minute
)

// World is one simulated system. Its methods fail the test on an error.
type World struct {
	T       *testing.T
	Net     *simnet.Network
	Names   topic.Names
	Cluster *kfake.Cluster

	raw     *kgo.Client
	gateway *Process
	tracker *Process
	fs      *vfs.MemFS
	workers int
	clients int

	// JobTypes is the file of job types for gateways that are started from now on; the
	// built-in one when empty.
	JobTypes string
	// ConfigureGateway changes the configuration of gateways that are started from now on.
	ConfigureGateway func(*gateway.Config)
	// Slots is how many jobs of a lane each worker that is started from now on has at a time; 0 is the default.
	Slots       int
	blobs       service.BlobStore
	traces      func(host string) trace.TracerProvider // nil: no spans are made
	writerTimes bool                                   // records keep the times of their writers
	timeouts    kafka.Timeouts
	warnings    *warnings // nil: the services' warnings are not kept
	vendor      vendor
}

// Process is one service of the world, on a host of its own.
type Process struct {
	Name    string
	Host    *simnet.Host
	Metrics *prometheus.Registry

	ready func() error
	stop  context.CancelFunc
	ended chan error
}

// Run runs a test in a bubble with a broker, a tracker and a gateway.
func Run(t *testing.T, test func(*World)) {
	t.Helper()
	RunTraced(t, nil, test)
}

// RunWriterTimes is Run on topics whose records have the times of their writers (CreateTime), which clock tells from
// the ID of the Kafka producer.
func RunWriterTimes(t *testing.T, clock func(producer int64) time.Time, test func(*World)) {
	t.Helper()
	runWorld(t, setting{clock: clock}, test)
}

// RunFar is Run with a broker that is far away: everything to it and from it takes that long. All services have the
// timeouts, and World.Warned tells their warnings.
func RunFar(t *testing.T, timeouts kafka.Timeouts, oneWay time.Duration, test func(*World)) {
	t.Helper()
	runWorld(t, setting{timeouts: timeouts, oneWay: oneWay, warnings: &warnings{}}, test)
}

// RunTraced is Run with a tracer provider for each process; traces may be nil.
func RunTraced(t *testing.T, traces func(host string) trace.TracerProvider, test func(*World)) {
	t.Helper()
	runWorld(t, setting{traces: traces}, test)
}

// setting is what differs between worlds.
type setting struct {
	traces   func(host string) trace.TracerProvider // nil: no spans are made
	clock    func(producer int64) time.Time         // nil: the broker stamps records
	timeouts kafka.Timeouts
	oneWay   time.Duration // to the broker, and from it
	warnings *warnings
	vendor   vendor
}

func runWorld(t *testing.T, set setting, test func(*World)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		w := &World{
			T: t, traces: set.traces, writerTimes: set.clock != nil, timeouts: set.timeouts, warnings: set.warnings,
			Net: simnet.New(), Names: topic.Names{Prefix: topic.DefaultPrefix}, fs: vfs.NewCrashableMem(), vendor: set.vendor,
		}
		if set.oneWay > 0 {
			t.Cleanup(func() { time.Sleep(time.Minute) }) // until all data has arrived
		}
		host := w.Net.Host("broker")
		host.Delay(set.oneWay, set.oneWay)
		cluster, err := kfake.NewCluster(append(w.vendor.brokers(),
			kfake.ListenFn(func(network, address string) (net.Listener, error) {
				return host.Listen(context.Background(), network, address)
			}))...)
		if err != nil {
			t.Fatal(err)
		}
		if set.clock != nil {
			broker.UseTimes(cluster, set.clock)
		} else {
			broker.UseAppendTime(cluster)
		}
		w.Cluster = cluster
		if w.blobs.URL, err = blobs.Dir(t.TempDir()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)
		w.raw, err = w.kafka().NewClient(w.env("test", prometheus.NewRegistry()), "test")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.raw.Close)
		if w.vendor.kit != nil {
			w.vendor.apply(w)
			test(w)
			return
		}
		w.StartTracker()
		w.StartGateway()
		test(w)
	})
}

func (w *World) kafka() kafka.Config {
	return kafka.Config{Brokers: []string{brokerAddr}, Rack: rack, Timeouts: w.timeouts,
		Compression: w.vendor.flags.Kafka.Compression}
}

func (w *World) env(host string, metrics *prometheus.Registry) service.Env {
	level := slog.LevelError + 4
	if os.Getenv("ACKWIRE_SIM_LOG") != "" {
		level = slog.LevelInfo
	}
	h := w.Net.Host(host)
	var handler slog.Handler = slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})
	if w.warnings != nil {
		handler = slog.NewMultiHandler(handler, w.warnings.handler())
	}
	env := service.Env{
		Log:     slog.New(handler).With("host", host),
		Metrics: metrics,
		Dial:    h.Dial,
		Listen:  h.Listen,
	}
	if w.traces != nil {
		env.Traces = w.traces(host)
	}
	return env
}

func (w *World) start(
	name string, metrics *prometheus.Registry, run func(context.Context) error, ready func() error,
) *Process {
	w.T.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &Process{
		Name: name, Host: w.Net.Host(name), Metrics: metrics, ready: ready, stop: cancel,
		ended: make(chan error, 1),
	}
	go func() { p.ended <- run(ctx) }()
	w.T.Cleanup(func() {
		p.Host.Heal()
		w.Stop(p)
	})
	w.becomes(name+" is ready", ready)
	return p
}

var errNotYet = errors.New("it does not hold")

// eventually waits, in virtual time, until a condition holds.
func (w *World) eventually(what string, holds func() bool) {
	w.T.Helper()
	w.becomes(what, func() error {
		if holds() {
			return nil
		}
		return errNotYet
	})
}

// becomes waits, in virtual time, until try returns nil.
func (w *World) becomes(what string, try func() error) {
	w.T.Helper()
	for deadline := time.Now().Add(readyWithin); ; time.Sleep(50 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.T.Fatalf("%s: not within %s: %v", what, readyWithin, err)
		}
	}
}

// Stop stops a process in order, as SIGTERM does, and waits for it.
func (w *World) Stop(p *Process) {
	p.stop()
	if err, open := <-p.ended; open {
		close(p.ended)
		if err != nil {
			w.T.Errorf("%s: %v", p.Name, err)
		}
	}
}

// Kill ends a process as kill -9 does: nothing that it sends from now on arrives.
func (w *World) Kill(p *Process) {
	p.Host.Kill()
	p.stop()
	if _, open := <-p.ended; open {
		close(p.ended)
	}
	p.Host.Heal()
}

// StartTracker starts the tracker on the state that the last one left.
func (w *World) StartTracker() *Process {
	w.T.Helper()
	metrics := prometheus.NewRegistry()
	t := w.newTracker("tracker", trackerPort, w.fs, metrics)
	w.tracker = w.start("tracker", metrics, t.Run, t.Ready)
	return w.tracker
}

// newTracker returns a tracker that does not run yet.
func (w *World) newTracker(name string, port int, fs vfs.FS, metrics *prometheus.Registry) *tracker.Tracker {
	w.T.Helper()
	session := 6 * time.Second
	if w.timeouts.Profile != "" {
		session = 0 // the profile's
	}
	t, err := tracker.New(tracker.Config{
		Kafka: w.kafka(), Topics: w.vendor.flags.Topics, TopicPrefix: w.Names.Prefix, Partitions: partitions,
		Settings: tracker.Settings{
			Listen: fmt.Sprintf("127.0.0.1:%d", port), Advertise: fmt.Sprintf("localhost:%d", port),
			SessionTimeout: session, NoView: w.vendor.noView(),
		},
		Data: "tracker", FS: fs, Blobs: w.blobs, BrokerTimes: !w.writerTimes,
	}, w.env(name, metrics))
	if err != nil {
		w.T.Fatal(err)
	}
	return t
}

// CrashTracker kills the tracker; of its state only what was synced to the disk survives.
func (w *World) CrashTracker() {
	crashed := w.fs.CrashClone(vfs.CrashCloneCfg{})
	w.Kill(w.tracker)
	w.fs = crashed
}

// StartGateway starts the gateway.
func (w *World) StartGateway() *Process {
	w.T.Helper()
	w.gateway = w.StartGatewayAt(0)
	return w.gateway
}

// GatewayURL returns the URL of the n-th gateway.
func GatewayURL(n int) string { return fmt.Sprintf("http://localhost:%d", gatewayPort+n) }

// StartGatewayAt starts the n-th gateway, on a host of its own; 0 is the one of StartGateway.
func (w *World) StartGatewayAt(n int) *Process {
	w.T.Helper()
	name := "gateway"
	if n > 0 {
		name = fmt.Sprintf("gateway-%d", n)
	}
	metrics := prometheus.NewRegistry()
	cfg := gateway.Defaults()
	cfg.Kafka, cfg.Topics, cfg.Partitions = w.kafka(), w.vendor.flags.Topics, partitions
	cfg.Auth.AnonymousTenant = Tenant
	cfg.JobTypes, cfg.Blobs = w.JobTypes, w.blobs
	cfg.TraceClients = true
	cfg.Listen = fmt.Sprintf("127.0.0.1:%d", gatewayPort+n)
	if w.ConfigureGateway != nil {
		w.ConfigureGateway(&cfg)
	}
	g, err := gateway.New(cfg, w.env(name, metrics))
	if err != nil {
		w.T.Fatal(err)
	}
	return w.start(name, metrics, g.Run, g.Ready)
}

// StartWorker starts a worker on every lane with the demo handlers and, if more is not
// nil, others.
func (w *World) StartWorker(more func(*processor.Processor)) *Process {
	w.T.Helper()
	w.workers++
	name := fmt.Sprintf("worker-%d", w.workers)
	metrics := prometheus.NewRegistry()
	store, done, err := flags.WithBlobs(w.ctx(), w.blobs)
	if err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(func() { _ = done() })
	p, err := processor.New(processor.Config{
		Brokers: w.kafka().Brokers, Rack: rack, Partitions: partitions, Lanes: []string{"default", "reports"},
		WorkerID: name, Slots: w.Slots, Grace: 2 * time.Second, Timeouts: processor.Timeouts(w.timeouts),
		Compression: w.vendor.flags.Kafka.Compression,
		Topics:      w.vendor.flags.Topics.Mode, TopicSettings: w.vendor.flags.Topics.Settings,
	}, append(flags.Options(w.env(name, metrics)), store)...)
	if err != nil {
		w.T.Fatal(err)
	}
	if more == nil {
		demo.Register(p)
	} else {
		more(p)
	}
	return w.start(name, metrics, p.Run, p.Ready)
}

// Produce writes a record to Kafka.
func (w *World) Produce(rec *kgo.Record) *kgo.Record {
	w.T.Helper()
	if err := w.raw.ProduceSync(w.ctx(), rec).FirstErr(); err != nil {
		w.T.Fatal(err)
	}
	return rec
}

// Event appends an event to the log.
func (w *World) Event(e *event.Event) {
	w.T.Helper()
	value, err := event.Encode(e)
	if err != nil {
		w.T.Fatal(err)
	}
	w.Produce(&kgo.Record{Topic: w.Names.Status(), Key: []byte(e.JobID), Value: value})
}

// Count returns the sum of a metric's counters and gauges that have all the given label values.
func (p *Process) Count(name string, labels ...string) float64 {
	families, err := p.Metrics.Gather()
	if err != nil {
		panic(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			if matches(m, labels) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func matches(m *dto.Metric, labels []string) bool {
	var all []string
	for _, l := range m.Label {
		all = append(all, l.GetValue())
	}
	joined := " " + strings.Join(all, " ") + " "
	for _, want := range labels {
		if !strings.Contains(joined, " "+want+" ") {
			return false
		}
	}
	return true
}

// Counter counts calls of handlers.
type Counter struct{ atomic.Int64 }
