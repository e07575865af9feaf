package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/simnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const listenAt = "localhost:9092"

// world is a data folder and a virtual network, in a bubble.
type world struct {
	t   *testing.T
	net *simnet.Network
	dir string
}

func inBubble(t *testing.T, f func(*testing.T, *world)) {
	t.Helper()
	dir := t.TempDir()
	bubble.Test(t, func(t *testing.T) { f(t, &world{t: t, net: simnet.New(), dir: dir}) })
}

// running is a broker on the world's folder.
type running struct {
	*Broker
	w       *world
	metrics *prometheus.Registry
	logged  *buffer
	stop    context.CancelFunc
	done    chan error
	client  *kgo.Client
}

func (w *world) start() *running {
	w.t.Helper()
	r := &running{w: w, metrics: prometheus.NewRegistry(), logged: &buffer{}, done: make(chan error, 1)}
	host := w.net.Host("broker")
	env := service.Env{
		Log: slog.New(slog.NewTextHandler(r.logged, nil)), Metrics: r.metrics, Dial: host.Dial, Listen: host.Listen,
	}
	var err error
	if r.Broker, err = Start(w.t.Context(), Config{Data: w.dir, Listen: listenAt}, env); err != nil {
		w.t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(w.t.Context())
	go func() { r.done <- r.Run(ctx) }()
	user := w.net.Host("user")
	r.client, err = kafka.Config{Brokers: []string{listenAt}}.NewClient(service.Env{Log: slog.New(slog.DiscardHandler),
		Dial: user.Dial}, "test")
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// close stops the broker as a process does that is asked to.
func (r *running) close() {
	r.w.t.Helper()
	r.client.Close()
	r.stop()
	if err := <-r.done; err != nil {
		r.w.t.Fatal(err)
	}
}

func (r *running) topic(name string, configs map[string]string) {
	r.w.t.Helper()
	if _, err := kafka.EnsureTopics(r.w.t.Context(), r.client, kafka.Topic{Name: name, Partitions: 1,
		Configs: configs}); err != nil {
		r.w.t.Fatal(err)
	}
}

func (r *running) produce(topic string, values ...string) {
	r.w.t.Helper()
	for _, v := range values {
		if err := kafka.ProduceSync(r.w.t.Context(), r.client, &kgo.Record{Topic: topic, Value: []byte(v)}); err != nil {
			r.w.t.Fatalf("produce %s: %v", v, err)
		}
	}
}

// read returns every value of a topic, in order.
func (r *running) read(topic string) (values []string) {
	r.w.t.Helper()
	user := r.w.net.Host("user")
	cl, err := kafka.Config{Brokers: []string{listenAt}}.NewClient(service.Env{Log: slog.New(slog.DiscardHandler),
		Dial: user.Dial}, "reader", kgo.ConsumeTopics(topic))
	if err != nil {
		r.w.t.Fatal(err)
	}
	defer cl.Close()
	for {
		ctx, cancel := context.WithTimeout(r.w.t.Context(), 5*time.Second)
		fetches := cl.PollFetches(ctx)
		ended := ctx.Err() != nil
		cancel()
		if ended {
			return values
		}
		fetches.EachRecord(func(rec *kgo.Record) { values = append(values, string(rec.Value)) })
	}
}

func (r *running) clusterID(topic string) string {
	r.w.t.Helper()
	d, err := kafka.Describe(r.w.t.Context(), r.client, topic)
	if err != nil {
		r.w.t.Fatal(err)
	}
	return d.ClusterID
}

// warnings is what the broker's counter shows.
func (r *running) warnings() float64 {
	r.w.t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		r.w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "ackwire_broker_warnings_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	r.w.t.Fatal("no counter of warnings")
	return 0
}

func wantValues(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestDataAndNameSurviveAReopen(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		r := w.start()
		r.topic("status", map[string]string{"retention.ms": "86400000"})
		r.produce("status", "a", "b")
		name := r.clusterID("status")
		if !strings.HasPrefix(name, "ackwire-") {
			t.Errorf("cluster ID %q", name)
		}
		r.close()

		r = w.start()
		wantValues(t, "reopened", r.read("status"), "a", "b")
		if got := r.clusterID("status"); got != name {
			t.Errorf("the log's name was %q and is %q", name, got)
		}
		r.produce("status", "c")
		wantValues(t, "written to again", r.read("status"), "a", "b", "c")
		if n := r.warnings(); n != 0 {
			t.Errorf("%v warnings in a clean life:\n%s", n, r.logged)
		}
		r.close()
	})
}

// Two folders are two clusters: a tracker's store knows by that whether it belongs to a log.
func TestEachFolderHasAnIDOfItsOwn(t *testing.T) {
	a, err := clusterID(filepath.Join(t.TempDir(), "kafka"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b, err := clusterID(dir)
	if err != nil || a == b {
		t.Errorf("both are %q, %v", a, err)
	}
	if again, err := clusterID(dir); err != nil || again != b {
		t.Errorf("asked again: %q, %v; was %q", again, err, b)
	}
	// A process that died between creating the file and writing it.
	if err := os.WriteFile(filepath.Join(dir, "cluster-id"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := clusterID(dir); err != nil || !strings.HasPrefix(c, "ackwire-") {
		t.Errorf("an empty file gives %q, %v", c, err)
	}
}

func TestRetentionRunsByItself(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		r := w.start()
		r.topic("requests", map[string]string{"retention.ms": "3600000"})
		r.close()
		r = w.start() // kfake applies retention only where a topic's settings changed in this process
		r.produce("requests", "old")
		time.Sleep(50 * time.Minute)
		r.produce("requests", "young")
		wantValues(t, "before its hour is over", r.read("requests"), "old", "young")
		time.Sleep(11*time.Minute + retentionInterval)
		wantValues(t, "after it", r.read("requests"), "young")
		r.close()
	})
}

// TestDamageIsNotTakenForTheTruth: a log that has lost a record is not opened, and nothing of it is
// changed, until the operator accepts the loss. Then the records after the damage are kept.
func TestDamageIsNotTakenForTheTruth(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		r := w.start()
		r.topic("status", nil)
		r.produce("status", "first", "second", "third")
		r.close()
		flip(t, w.dir, "second")

		cfg := Config{Data: w.dir, Listen: listenAt}
		host := w.net.Host("broker")
		for range 2 {
			env := service.Env{
				Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Dial: host.Dial,
				Listen: host.Listen,
			}
			if _, err := Start(t.Context(), cfg, env); !errors.Is(err, ErrLost) ||
				!strings.Contains(err.Error(), "status, partition 0: records from offset 1 to 1 are lost") {
				t.Fatalf("start: %v", err)
			}
		}
		var said []string
		say := func(line string) { said = append(said, line) }
		if err := Repair(cfg, false, say); !errors.Is(err, ErrLost) {
			t.Errorf("repair without a decision: %v", err)
		}
		if err := Repair(cfg, true, say); err != nil {
			t.Errorf("repair: %v", err)
		}
		t.Log(strings.Join(said, "\n"))

		r = w.start()
		wantValues(t, "what is sound is kept", r.read("status"), "first", "third")
		r.produce("status", "fourth")
		wantValues(t, "and it goes on", r.read("status"), "first", "third", "fourth")
		r.close()
		r = w.start()
		wantValues(t, "the loss is not missed again", r.read("status"), "first", "third", "fourth")
		r.close()
	})
}

// flip damages the byte where text begins, in whichever segment has it.
func flip(t *testing.T, dir, text string) {
	t.Helper()
	flipped := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if i := bytes.Index(b, []byte(text)); i >= 0 {
			b[i] ^= 0xff
			flipped++
			return os.WriteFile(path, b, 0o644)
		}
		return nil
	})
	if err != nil || flipped != 1 {
		t.Fatalf("flipped a byte in %d files: %v", flipped, err)
	}
}

func TestNotReadyOnceWritesFail(t *testing.T) {
	var logged buffer
	b := &Broker{log: newLogger(slog.New(slog.NewTextHandler(&logged, nil)), prometheus.NewRegistry())}
	if err := b.Ready(); err != nil {
		t.Fatal(err)
	}
	b.log.Logf(warn, "group %s is slow", "g")
	if err := b.Ready(); err != nil {
		t.Errorf("any warning makes it not ready: %v", err)
	}
	b.log.Logf(warn, "persist batch %s: %v", "status-0", errors.New("no space left on device"))
	b.log.Logf(warn, "persist batch %s: %v", "status-0", errors.New("something else"))
	if err := b.Ready(); err == nil || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("the first failed write is the reason: %v", err)
	}
}

func TestAFolderHasOneOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "data")
	unlock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Lock(dir)
	if !errors.Is(err, ErrInUse) {
		t.Fatalf("a second owner: %v", err)
	}
	for _, want := range []string{dir, fmt.Sprintf("process %d", os.Getpid())} {
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q does not name %q", err, want)
		}
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	unlock, err = Lock(dir)
	if err != nil {
		t.Fatalf("after its owner has left: %v", err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}

func TestAFolderThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{"a file": file, "below a file": filepath.Join(file, "data")}
	if os.Getuid() != 0 { // nothing is forbidden to root
		locked := t.TempDir()
		if err := os.Chmod(locked, 0o555); err != nil {
			t.Fatal(err)
		}
		cases["not writable"] = locked
	}
	for name, dir := range cases {
		_, err := Lock(dir)
		if err == nil || !strings.HasPrefix(err.Error(), "data folder") || !strings.Contains(err.Error(), dir) &&
			name != "below a file" || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPortThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	at := taken.Addr().String()
	_, err = Start(t.Context(), Config{Data: t.TempDir(), Listen: at}, service.OS(slog.New(slog.DiscardHandler)))
	if want := "kafka listener: listen tcp " + at; err == nil || !strings.HasPrefix(err.Error(), want) ||
		strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want %s …", err, want)
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		want []string // none: it is fine
	}{
		{"loopback", Config{Data: "d", Listen: "127.0.0.1:9092"}, nil},
		{"every interface, advertised", Config{Data: "d", Listen: ":9092", Advertise: "kafka.example:9092"}, nil},
		{"every interface", Config{Data: "d", Listen: ":9092"}, []string{"kafka-advertise must say where"}},
		{"every interface, by number", Config{Data: "d", Listen: "0.0.0.0:9092"}, []string{"kafka-advertise must say where"}},
		{
			"all of it", Config{Listen: "nowhere", Advertise: ":9092"},
			[]string{"data must name a folder", "kafka-listen: ", "kafka-advertise must be host:port"},
		},
	} {
		err := c.cfg.Validate()
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, w := range c.want {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", c.name, err, w)
			}
		}
	}
}

// buffer is a log that is read while it is written.
type buffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
