// Package broker is Ackwire's embedded Kafka broker: kfake with its data on disk. It is for one machine. It keeps
// one copy of the log, which survives a crash of the process and, with Sync, a power loss.
//
// kfake has limits that this package works around (see the project's DESIGN.md): it loses data when it compacts a
// topic, does not refuse a second process on its folder, applies retention only when told to, and reports
// damaged files only by warnings in its log.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/ackwire/ackwire/embedded/broker/audit"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/internal/private"
	"github.com/ackwire/ackwire/internal/service"
)

const (
	retentionInterval = time.Minute // between two removals of old segments
	noteInterval      = time.Second // between two writes of the catalog
)

// Config is the configuration of the broker.
type Config struct {
	Data      string `help:"Folder of all data." default:"data"`
	Listen    string `name:"kafka-listen" help:"Address of the embedded Kafka broker." default:"127.0.0.1:9092"`
	Advertise string `name:"kafka-advertise" help:"host:port that Kafka clients are told to use; by default the address the broker listens at." placeholder:"HOST:PORT"`
	// Listener is used, if it is set, instead of opening one: see Listen.
	Listener net.Listener `kong:"-"`

	Sync bool `name:"kafka-sync" help:"Flush every write to the disk before it is acknowledged: survives power loss, costs throughput."`

	// Folded is audit.Cover's; it may be nil.
	Folded func(topic audit.Topic, clusterID string, partition int32) int64 `kong:"-"`
}

// Validate joins all problems of the configuration.
func (c Config) Validate() error {
	var problems []error
	if c.Data == "" {
		problems = append(problems, errors.New("data must name a folder"))
	}
	host, _, err := net.SplitHostPort(c.Listen)
	switch ip := net.ParseIP(host); {
	case err != nil:
		problems = append(problems, fmt.Errorf("kafka-listen: %w", err))
	case c.Advertise == "" && (host == "" || ip != nil && ip.IsUnspecified()):
		problems = append(problems,
			fmt.Errorf("kafka-listen %s means every interface: kafka-advertise must say where clients reach it", c.Listen))
	}
	if c.Advertise != "" {
		if host, port, err := net.SplitHostPort(c.Advertise); err != nil || host == "" || port == "" || port == "0" {
			problems = append(problems, fmt.Errorf("kafka-advertise must be host:port, not %q", c.Advertise))
		}
	}
	return errors.Join(problems...)
}

// ErrInUse is returned by Lock when another process uses the data folder.
var ErrInUse = errors.New("another process uses this data folder")

// Lock creates the folder if it is missing and locks it for this process. The lock ends with the process, even if
// that is killed.
func Lock(dir string) (unlock func() error, err error) {
	if err := private.Folder(dir); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	l := flock.New(filepath.Join(dir, "lock"))
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", dir, err)
	}
	if !ok {
		if holder := holder(l.Path()); holder != "" {
			return nil, fmt.Errorf("%w: %s (held by process %s)", ErrInUse, dir, holder)
		}
		return nil, fmt.Errorf("%w: %s", ErrInUse, dir)
	}
	// The process's ID is written for people only: the kernel keeps the lock.
	if err := os.WriteFile(l.Path(), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("data folder %s: %w", dir, err), l.Unlock())
	}
	return l.Unlock, nil
}

// holder returns the process ID in a lock file, or an empty string.
func holder(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return ""
	}
	return strconv.Itoa(pid)
}

// Broker is a running broker.
type Broker struct {
	// Set by Start, then only read.
	cfg     Config
	env     service.Env
	dir     string
	id      string
	addr    string
	log     *logger
	catalog catalog

	cluster *kfake.Cluster // owned by Start, then by Run
}

// Listen opens the broker's listener for Config.Listener, so that with port 0 the port is known before Start.
func Listen(ctx context.Context, cfg Config, env service.Env) (net.Listener, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	l, err := env.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("kafka listener: %w", err)
	}
	return l, nil
}

// Start opens the log in the data folder, which the caller must have locked, and listens. It checks the folder
// first and repairs what it can; for a log that has lost records the error is ErrLost.
func Start(ctx context.Context, cfg Config, env service.Env) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := &Broker{
		cfg: cfg, env: env, dir: folder(cfg.Data), log: newLogger(env.Log.With("service", "broker"), env.Metrics),
		addr: cfg.Listen,
	}
	if err := b.open(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// folder returns the broker's folder within the data folder.
func folder(data string) string { return filepath.Join(data, "kafka") }

// open checks the folder and starts the broker on it.
func (b *Broker) open(ctx context.Context) (err error) {
	// Listening first tells a port that is in use apart from errors of the data.
	l := b.cfg.Listener
	b.cfg.Listener = nil // recover, which opens the log again, needs a new one
	if l == nil {
		if l, err = b.env.Listen(ctx, "tcp", b.addr); err != nil {
			return fmt.Errorf("kafka listener: %w", err)
		}
	}
	b.addr = l.Addr().String()
	if b.cfg.Advertise != "" {
		l = advertised{l, address(b.cfg.Advertise)}
	}
	if err := b.mend(); err != nil {
		return errors.Join(err, l.Close())
	}
	if b.id, err = clusterID(b.dir); err != nil {
		return errors.Join(err, l.Close())
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID(b.id),
		kfake.DataDir(b.dir),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return l, nil }),
		kfake.WithLogger(b.log),
	}
	if b.cfg.Sync {
		opts = append(opts, kfake.SyncWrites())
	}
	began := time.Now()
	b.log.broken.Store(nil)
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return errors.Join(fmt.Errorf("open the log in %s: %w", b.dir, err), l.Close())
	}
	UseAppendTime(cluster)
	b.cluster = cluster
	debug.FreeOSMemory() // reading the segments has left garbage several times their size
	b.note(false)
	b.log.slog.Info("broker ready", "address", l.Addr().String(), "cluster", b.id,
		"took", time.Since(began).Round(time.Millisecond))
	return nil
}

// Addr returns the address at which clients reach the broker.
func (b *Broker) Addr() string {
	if b.cfg.Advertise != "" {
		return b.cfg.Advertise
	}
	return b.addr
}

// Ready returns an error when the broker cannot write its data.
func (b *Broker) Ready() error {
	if reason := b.log.broken.Load(); reason != nil {
		return fmt.Errorf("broker cannot write its data: %s", *reason)
	}
	return nil
}

// Run applies retention and writes the catalog until ctx ends, then closes the broker. After a failed write it opens
// the log again as soon as the disk takes writes: the broker's files may end in half an entry, and may not match
// what it has in memory.
func (b *Broker) Run(ctx context.Context) error {
	tick := time.NewTicker(noteInterval)
	defer tick.Stop()
	retained := time.Now()
	for {
		select {
		case <-ctx.Done():
			b.close()
			return nil
		case <-tick.C:
		}
		if b.log.broken.Load() != nil {
			if err := b.recover(ctx); err != nil {
				return err
			}
			continue
		}
		if time.Since(retained) >= retentionInterval {
			retained = time.Now()
			b.note(true)
			b.cluster.ApplyRetention()
		}
		b.note(false)
	}
}

func (b *Broker) close() {
	b.note(false)
	b.cluster.Close()
	b.noteClosed()
}

// recover opens the log again if the disk takes writes.
func (b *Broker) recover(ctx context.Context) error {
	if err := touch(b.dir); err != nil {
		b.log.broken.Store(new(err.Error()))
		return nil
	}
	b.log.slog.Info("the disk takes writes again: the log is opened again")
	b.close()
	if err := b.open(ctx); err != nil {
		return fmt.Errorf("open the log again after a failed write: %w", err)
	}
	return nil
}

// clusterID returns the cluster ID of the log in dir, and makes one for a new folder.
func clusterID(dir string) (string, error) {
	if err := private.Folder(dir); err != nil {
		return "", fmt.Errorf("data folder: %w", err)
	}
	file := filepath.Join(dir, "cluster-id")
	b, err := os.ReadFile(file)
	if id := strings.TrimSpace(string(b)); id != "" {
		return id, nil
	}
	// An empty file was left by a process that ended before it wrote the ID.
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("cluster ID: %w", err)
	}
	id := "ackwire-" + uuid.NewString()
	if err := os.WriteFile(file, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("cluster ID: %w", err)
	}
	return id, nil
}

// advertised is a listener whose Addr is another address.
type advertised struct {
	net.Listener
	addr address
}

func (a advertised) Addr() net.Addr { return a.addr }

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// logger passes kfake's warnings to slog and counts them.
type logger struct {
	slog     *slog.Logger
	warnings prometheus.Counter
	broken   atomic.Pointer[string]
}

func newLogger(log *slog.Logger, r prometheus.Registerer) *logger {
	return &logger{slog: log, warnings: meter.New(r, "broker").Counter("warnings_total",
		"Warnings of the embedded broker: damaged files that it repaired, or writes that failed.")}
}

// failed notes that the broker cannot write.
func (l *logger) failed(message string) {
	l.warnings.Inc()
	l.slog.Warn("broker", "message", message)
	l.broken.CompareAndSwap(nil, &message)
}

// warn counts a warning that does not keep the broker from its work.
func (l *logger) warn(message string, args ...any) {
	l.warnings.Inc()
	l.slog.Warn(message, args...)
}

// Logf implements kfake.Logger.
func (l *logger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError, kfake.LogLevelWarn:
		message := fmt.Sprintf(format, args...)
		if strings.HasPrefix(message, "persist ") || strings.HasPrefix(message, "compact ") {
			l.failed(message)
			return
		}
		l.warn("broker", "message", message)
	case kfake.LogLevelInfo, kfake.LogLevelDebug:
		// Dropped: one line for each request.
	}
}
