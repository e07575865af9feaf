// Package serve runs all services in one process: for the command `ackwire serve`, which sets them by flags, and for
// package embedded, by which programs run Ackwire within themselves.
package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/embedded/broker"
	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/internal/command"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/cmd/flags"
	"github.com/ackwire/ackwire/tracker"
)

// Settings are what the command `ackwire serve` can be told: the settings of all the services that it runs.
type Settings struct {
	Broker broker.Config `embed:""`
	// Gateway has also what all services share: where Kafka is, the topics' prefix and partitions, blobs
	// and job types. Without a Kafka of its own the process carries a broker along.
	Gateway   GatewaySettings  `embed:"" set:"kafka=" set:"kafka_place=HOST:PORT" set:"kafka_help= Without them an embedded broker runs in this process, with its log in the data folder."`
	OpsListen string           `help:"Address of /metrics, /healthz, /readyz, /startupz and /debug/pprof." default:"127.0.0.1:8081"`
	Tracker   tracker.Settings `embed:""`

	// The processor takes the lanes of the demo types, of the types in Handlers, and that of webhooks.
	Worker      flags.Runs     `embed:"" set:"grace=5s"`
	Handlers    flags.Handlers `embed:""`
	Webhooks    flags.Webhooks `embed:""`
	NoProcessor bool           `help:"Run no processor. Without handlers of yours (--type) it runs the demo types and webhooks, and leaves a lane to other workers while there are any."`
}

// GatewaySettings are gateway.Config without its methods: some of it is filled in before it is
// checked.
type GatewaySettings gateway.Config

// Validate joins all problems of the configuration.
func (c Settings) Validate() error {
	gw := gateway.Config(c.Gateway)
	if c.onOwnBroker() {
		gw.Kafka.Brokers = []string{c.Broker.Listen}
	}
	if gw.Blobs.URL == "" {
		gw.Blobs.URL = "file:///" // the data folder's
	}
	if !gw.Auth.HasKeys() {
		gw.Auth.Key = make([]byte, keyBytes) // the data folder's
	}
	// Of the tracker only its own settings: it shares the others with the gateway.
	own := tracker.Config{
		Kafka: gw.Kafka, TopicPrefix: "ackwire.", Partitions: 1, Data: "data", Settings: c.Tracker,
	}
	problems := []error{
		c.Broker.Validate(), gw.Validate(), own.Validate(), c.Worker.Config().Validate(), c.Webhooks.Validate(),
	}
	if c.NoProcessor && len(c.Handlers.Type) > 0 {
		problems = append(problems, errors.New("no-processor: there is nothing then that could run a handler (--type)"))
	}
	return errors.Join(problems...)
}

// DefaultSettings are those of a command that was given none: what the tags say.
func DefaultSettings() Settings { return command.Defaults[Settings]() }

// onOwnBroker says whether the process carries its broker along.
func (c Settings) onOwnBroker() bool { return len(c.Gateway.Kafka.Brokers) == 0 }

// AnonymousTenant is the tenant of clients that send no token, which are let in where Ackwire listens on loopback.
const AnonymousTenant = "local"

// System is all services, and the broker where it is this process's own.
type System struct {
	cfg Settings
	env service.Env
	// ownBroker is said by the configuration before share fills in where the broker is.
	ownBroker bool
	gateway   *gateway.Gateway
	tracker   *tracker.Tracker
	workers   *processor.Processor // nil with NoProcessor
	broker    *broker.Broker       // nil where Kafka is another process's
	ops       *service.Ops

	closeBlobs func() error                // the workers' store
	callbacks  func(context.Context) error // serves endpoints that answer later; nil without any
}

// Run runs everything until ctx ends; started is called once everything listens. The order of the stop: the gateway
// drains first, then workers release what they run, then the tracker writes its last checkpoint, and the broker goes
// last.
func Run(ctx context.Context, cfg Settings, env service.Env, started func(*System)) error {
	unlock, err := broker.Lock(cfg.Broker.Data)
	if err != nil {
		return err
	}
	err = run(ctx, cfg, env, started)
	return errors.Join(err, unlock())
}

func run(ctx context.Context, cfg Settings, env service.Env, started func(*System)) (err error) {
	s := &System{cfg: cfg, env: env, ownBroker: cfg.onOwnBroker(), closeBlobs: func() error { return nil }}
	defer func() { _ = s.closeBlobs() }()
	var listener net.Listener
	if s.ownBroker {
		// The broker's port is known before the services are made, also when the system chooses it.
		if listener, err = broker.Listen(ctx, cfg.Broker, env); err != nil {
			return err
		}
		s.cfg.Broker.Listener = listener
	}
	// unused closes what the broker would have taken over.
	unused := func(err error) error {
		if listener == nil {
			return err
		}
		return errors.Join(err, listener.Close())
	}
	if err := s.build(ctx); err != nil {
		return unused(err)
	}
	if s.ops, err = service.NewOps(ctx, env, cfg.OpsListen, s.readiness()); err != nil {
		return unused(err)
	}
	stages := newStages(ctx)
	stages.start("ops", s.ops.Run)
	if listener != nil {
		if s.broker, err = broker.Start(ctx, s.cfg.Broker, env); err != nil {
			_ = listener.Close()
			return errors.Join(err, stages.stop())
		}
		stages.start("broker", s.broker.Run)
	}
	stages.start("tracker", s.tracker.Run)
	if s.callbacks != nil {
		stages.start("callbacks", s.callbacks)
	}
	if s.workers != nil {
		stages.start("processor", s.workers.Run)
	}
	stages.start("gateway", s.gateway.Run)
	if started != nil {
		started(s)
	}
	stages.wait()
	return stages.stop()
}

// build makes the services; none of them does I/O yet, but the workers' blob store is opened.
func (s *System) build(ctx context.Context) error {
	if err := s.share(); err != nil {
		return err
	}
	gw := s.cfg.Gateway
	var err error
	if s.gateway, err = gateway.New(gateway.Config(gw), s.env); err != nil {
		return err
	}
	if s.tracker, err = tracker.New(trackerConfig(s.cfg, s.ownBroker), s.env); err != nil {
		return err
	}
	s.cfg.Broker.Folded = folded(trackerConfig(s.cfg, s.ownBroker))
	if s.cfg.NoProcessor {
		return nil
	}
	return s.buildProcessor(ctx)
}

// share fills in what the services share and the configuration leaves to this process: where its
// broker is, a folder for blobs, and a key for tokens.
func (s *System) share() error {
	gw := &s.cfg.Gateway
	if s.ownBroker {
		addr := s.cfg.Broker.Listener.Addr().String()
		if s.cfg.Broker.Advertise != "" {
			addr = s.cfg.Broker.Advertise
		}
		gw.Kafka = kafka.Config{Brokers: []string{addr}}
	}
	if gw.Blobs.URL == "" {
		dir, err := blobs.Dir(filepath.Join(s.cfg.Broker.Data, "blobs"))
		if err != nil {
			return err
		}
		gw.Blobs.URL = dir
	}
	if gw.Auth.HasKeys() {
		return nil // who has named keys has said who is let in
	}
	key, err := Key(s.cfg.Broker.Data)
	if err != nil {
		return err
	}
	gw.Auth.Key = key
	if host, _, err := net.SplitHostPort(gw.Listen); err == nil && service.Loopback(host) &&
		gw.Auth.AnonymousTenant == "" {
		gw.Auth.AnonymousTenant = AnonymousTenant
	}
	return nil
}

func (s *System) readiness() map[string]service.Ready {
	ready := map[string]service.Ready{
		"gateway": s.gateway.Ready,
		"tracker": s.tracker.Ready,
	}
	if s.ownBroker {
		ready["broker"] = func() error {
			if s.broker == nil {
				return errors.New("starting")
			}
			return s.broker.Ready()
		}
	}
	if s.workers != nil {
		ready["processor"] = s.workers.Ready
	}
	return ready
}

// Ready says why the system takes no work; nil once all of it does.
func (s *System) Ready() error {
	for name, ready := range s.readiness() {
		if err := ready(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// Addr is where clients reach the gateway.
func (s *System) Addr() string { return s.gateway.Addr() }

// OpsAddr is where the operations listener is reached.
func (s *System) OpsAddr() string { return s.ops.Addr() }

// KafkaAddr is where Kafka clients reach a broker.
func (s *System) KafkaAddr() string {
	if !s.ownBroker {
		return s.cfg.Gateway.Kafka.Brokers[0]
	}
	return s.broker.Addr()
}

// OnOwnBroker says whether the broker is this process's own.
func (s *System) OnOwnBroker() bool { return s.ownBroker }
