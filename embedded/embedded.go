// Package embedded runs the whole of Ackwire in one process, on the broker that it carries
// along: same code, same client library, another broker address.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/embedded/broker"
	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/cmd/flags"
	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/processor/webhook"
	"github.com/ackwire/ackwire/tracker"
)

// Config is what the process needs to know.
type Config struct {
	Broker         broker.Config     `embed:""`
	Listen         string            `help:"Address for clients: WebSocket and HTTP." default:"127.0.0.1:8080"`
	OpsListen      string            `help:"Address of /metrics, /healthz, /readyz, /startupz and /debug/pprof." default:"127.0.0.1:8081"`
	TrackerListen  string            `help:"Address of the tracker's API." default:"127.0.0.1:8090"`
	TopicPrefix    string            `help:"Prefix of all topics and consumer groups." default:"ackwire."`
	Partitions     int32             `help:"Partitions of topics that do not exist yet." default:"12"`
	JobTypes       string            `help:"YAML file of job types; the demo types when empty." placeholder:"FILE"`
	JWTKeyFile     string            `name:"jwt-key-file" help:"File with the HS256 key that signs clients' tokens, a line of text or bytes; by default the data folder's own." placeholder:"FILE"`
	AllowedOrigins []string          `help:"Hosts, with * as a wildcard, whose pages may open a socket and use the HTTP API, besides the gateway's own." placeholder:"PATTERN"`
	Blobs          service.BlobStore `embed:""`
	Slots          int               `help:"Jobs held at the same time, per lane." default:"64"`
	Webhooks       flags.Webhooks    `embed:""`
	NoProcessor    bool              `help:"Run no demo processor. It takes the lanes of the demo types and that of webhooks, and leaves a lane to workers of your own while there are any."`

	Compression gateway.CompressionConfig `embed:""`
}

// AnonymousTenant is whose jobs those of clients without a token are.
const AnonymousTenant = "local"

// workerGrace is how long running jobs may go on when the process stops.
const workerGrace = 5 * time.Second

// minFree is how many MiB of the disk stay free.
const minFree = 64

// Embedded is the whole system.
type Embedded struct {
	cfg     Config
	env     service.Env
	gateway *gateway.Gateway
	tracker *tracker.Tracker
	workers *processor.Processor // nil with NoProcessor
	broker  *broker.Broker
	ops     *service.Ops

	closeBlobs func() error // the workers' store
}

// Run runs everything until ctx ends; started is called once everything listens. The order
// of the stop: the gateway drains first, then workers release what they run, then the
// tracker writes its last checkpoint, and the broker goes last.
func Run(ctx context.Context, cfg Config, env service.Env, started func(*Embedded)) error {
	unlock, err := broker.Lock(cfg.Broker.Data)
	if err != nil {
		return err
	}
	err = run(ctx, cfg, env, started)
	return errors.Join(err, unlock())
}

func run(ctx context.Context, cfg Config, env service.Env, started func(*Embedded)) error {
	// The broker's port is known before the services are made, also when the system chooses it.
	listener, err := broker.Listen(ctx, cfg.Broker, env)
	if err != nil {
		return err
	}
	cfg.Broker.Listener = listener
	e := &Embedded{cfg: cfg, env: env, closeBlobs: func() error { return nil }}
	defer func() { _ = e.closeBlobs() }()
	if err := e.build(ctx); err != nil {
		return errors.Join(err, listener.Close())
	}
	ops, err := service.NewOps(ctx, env, cfg.OpsListen, e.readiness())
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	e.ops = ops
	stages := newStages(ctx)
	stages.start("ops", ops.Run)
	b, err := broker.Start(ctx, e.cfg.Broker, env)
	if err != nil {
		_ = listener.Close()
		return errors.Join(err, stages.stop())
	}
	e.broker = b
	stages.start("broker", b.Run)
	stages.start("tracker", e.tracker.Run)
	if e.workers != nil {
		stages.start("processor", e.workers.Run)
	}
	stages.start("gateway", e.gateway.Run)
	if started != nil {
		started(e)
	}
	stages.wait()
	return stages.stop()
}

// build makes the services; none of them does I/O yet, but the workers' blob store is opened.
func (e *Embedded) build(ctx context.Context) error {
	cfg := e.cfg
	brokers := kafka.Config{Brokers: []string{cfg.Broker.Listener.Addr().String()}}
	if cfg.Broker.Advertise != "" {
		brokers.Brokers = []string{cfg.Broker.Advertise}
	}
	gw := gateway.Defaults()
	gw.Kafka, gw.TopicPrefix, gw.Partitions, gw.Listen = brokers, cfg.TopicPrefix, cfg.Partitions, cfg.Listen
	if cfg.Blobs.URL == "" {
		dir, err := blobs.Dir(filepath.Join(cfg.Broker.Data, "blobs"))
		if err != nil {
			return err
		}
		cfg.Blobs.URL = dir
	}
	gw.Blobs = cfg.Blobs
	gw.JobTypes, gw.Auth.KeyFile, gw.AllowedOrigins = cfg.JobTypes, cfg.JWTKeyFile, cfg.AllowedOrigins
	if cfg.Compression.On {
		gw.Compression = cfg.Compression
	}
	if gw.Auth.KeyFile == "" {
		key, err := Key(cfg.Broker.Data)
		if err != nil {
			return err
		}
		gw.Auth.Key = key
	}
	if host, _, err := net.SplitHostPort(cfg.Listen); err == nil && service.Loopback(host) {
		gw.Auth.AnonymousTenant = AnonymousTenant
	}
	var err error
	if e.gateway, err = gateway.New(gw, e.env); err != nil {
		return err
	}
	if e.tracker, err = tracker.New(trackerConfig(cfg, brokers), e.env); err != nil {
		return err
	}
	e.cfg.Broker.Folded = folded(trackerConfig(cfg, brokers))
	if cfg.NoProcessor {
		return nil
	}
	lanes, err := gateway.LanesOf(cfg.JobTypes, demo.Types...)
	if err != nil {
		return err
	}
	store, done, err := flags.WithBlobs(ctx, cfg.Blobs)
	if err != nil {
		return err
	}
	e.closeBlobs = done
	e.workers, err = processor.New(processor.Config{
		Brokers: brokers.Brokers, TopicPrefix: cfg.TopicPrefix, Partitions: cfg.Partitions,
		Lanes: lanes, Slots: cfg.Slots, Grace: workerGrace, StepBack: true,
	}, append(flags.Options(e.env), store)...)
	if err != nil {
		return err
	}
	demo.Register(e.workers)
	hooks, err := cfg.Webhooks.Config()
	if err != nil {
		return err
	}
	if len(hooks.Keys) == 0 && len(hooks.Secrets) == 0 {
		key, err := Key(cfg.Broker.Data)
		if err != nil {
			return err
		}
		hooks.Keys = [][]byte{key}
	}
	return webhook.Register(e.workers, hooks)
}

func (e *Embedded) readiness() map[string]service.Ready {
	ready := map[string]service.Ready{
		"gateway": e.gateway.Ready,
		"tracker": e.tracker.Ready,
		"broker": func() error {
			if e.broker == nil {
				return errors.New("starting")
			}
			return e.broker.Ready()
		},
	}
	if e.workers != nil {
		ready["processor"] = e.workers.Ready
	}
	return ready
}

// Ready says why the system takes no work; nil once all of it does.
func (e *Embedded) Ready() error {
	for name, ready := range e.readiness() {
		if err := ready(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// Addr is where clients reach the gateway.
func (e *Embedded) Addr() string { return e.gateway.Addr() }

// OpsAddr is where the operations listener is reached.
func (e *Embedded) OpsAddr() string { return e.ops.Addr() }

// KafkaAddr is where Kafka clients reach the broker.
func (e *Embedded) KafkaAddr() string { return e.broker.Addr() }
