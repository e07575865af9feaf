// Package embedded runs the whole of Ackwire within a program, on a broker that it carries along or on a Kafka:
//
//	srv, err := embedded.Start(ctx, embedded.Config{Data: "data"})
//	client, err := ackwire.Dial(ctx, srv.URL())
//
// Clients and workers are the same as those of an Ackwire that runs elsewhere: they are given its addresses. What is
// not in Config and the options, the command line's Settings and Run, is there for Ackwire's own commands.
package embedded

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
	problems := []error{gw.Validate(), c.Worker.Config().Validate()}
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

// Embedded is the whole system.
type Embedded struct {
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

// Run is Start for Ackwire's own commands. It runs everything until ctx ends; started is called once everything
// listens. The order of the stop: the gateway drains first, then workers release what they run, then the
// tracker writes its last checkpoint, and the broker goes last.
func Run(ctx context.Context, cfg Settings, env service.Env, started func(*Embedded)) error {
	unlock, err := broker.Lock(cfg.Broker.Data)
	if err != nil {
		return err
	}
	err = run(ctx, cfg, env, started)
	return errors.Join(err, unlock())
}

func run(ctx context.Context, cfg Settings, env service.Env, started func(*Embedded)) (err error) {
	e := &Embedded{cfg: cfg, env: env, ownBroker: cfg.onOwnBroker(), closeBlobs: func() error { return nil }}
	defer func() { _ = e.closeBlobs() }()
	var listener net.Listener
	if e.ownBroker {
		// The broker's port is known before the services are made, also when the system chooses it.
		if listener, err = broker.Listen(ctx, cfg.Broker, env); err != nil {
			return err
		}
		e.cfg.Broker.Listener = listener
	}
	// unused closes what the broker would have taken over.
	unused := func(err error) error {
		if listener == nil {
			return err
		}
		return errors.Join(err, listener.Close())
	}
	if err := e.build(ctx); err != nil {
		return unused(err)
	}
	if e.ops, err = service.NewOps(ctx, env, cfg.OpsListen, e.readiness()); err != nil {
		return unused(err)
	}
	stages := newStages(ctx)
	stages.start("ops", e.ops.Run)
	if listener != nil {
		if e.broker, err = broker.Start(ctx, e.cfg.Broker, env); err != nil {
			_ = listener.Close()
			return errors.Join(err, stages.stop())
		}
		stages.start("broker", e.broker.Run)
	}
	stages.start("tracker", e.tracker.Run)
	if e.callbacks != nil {
		stages.start("callbacks", e.callbacks)
	}
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
	if err := e.share(); err != nil {
		return err
	}
	gw := e.cfg.Gateway
	var err error
	if e.gateway, err = gateway.New(gateway.Config(gw), e.env); err != nil {
		return err
	}
	if e.tracker, err = tracker.New(trackerConfig(e.cfg, e.ownBroker), e.env); err != nil {
		return err
	}
	e.cfg.Broker.Folded = folded(trackerConfig(e.cfg, e.ownBroker))
	if e.cfg.NoProcessor {
		return nil
	}
	return e.buildProcessor(ctx)
}

// share fills in what the services share and the configuration leaves to this process: where its
// broker is, a folder for blobs, and a key for tokens.
func (e *Embedded) share() error {
	gw := &e.cfg.Gateway
	if e.ownBroker {
		addr := e.cfg.Broker.Listener.Addr().String()
		if e.cfg.Broker.Advertise != "" {
			addr = e.cfg.Broker.Advertise
		}
		gw.Kafka = kafka.Config{Brokers: []string{addr}}
	}
	if gw.Blobs.URL == "" {
		dir, err := blobs.Dir(filepath.Join(e.cfg.Broker.Data, "blobs"))
		if err != nil {
			return err
		}
		gw.Blobs.URL = dir
	}
	if gw.Auth.HasKeys() {
		return nil // who has named keys has said who is let in
	}
	key, err := Key(e.cfg.Broker.Data)
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

func (e *Embedded) readiness() map[string]service.Ready {
	ready := map[string]service.Ready{
		"gateway": e.gateway.Ready,
		"tracker": e.tracker.Ready,
	}
	if e.ownBroker {
		ready["broker"] = func() error {
			if e.broker == nil {
				return errors.New("starting")
			}
			return e.broker.Ready()
		}
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

// KafkaAddr is where Kafka clients reach a broker.
func (e *Embedded) KafkaAddr() string {
	if !e.ownBroker {
		return e.cfg.Gateway.Kafka.Brokers[0]
	}
	return e.broker.Addr()
}

// OnOwnBroker says whether the broker is this process's own.
func (e *Embedded) OnOwnBroker() bool { return e.ownBroker }
