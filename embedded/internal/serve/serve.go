// Package serve runs all services in one process: for the command `ackwire serve`, which sets them by flags, and for
// package embedded, by which programs run Ackwire within themselves.
package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"

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

// Settings are the settings of the command `ackwire serve`: those of all services that it runs.
type Settings struct {
	Broker broker.Config `embed:""`
	// Gateway also has the settings that all services share: the addresses of Kafka, the topics' prefix
	// and partitions, the blob store and the job types. Without addresses of Kafka an embedded broker runs.
	Gateway   GatewaySettings   `embed:"" set:"kafka=" set:"kafka_place=HOST:PORT" set:"kafka_help= Without them an embedded broker runs in this process, with its log in the data folder."`
	OpsListen string            `help:"Address of /metrics, /healthz, /readyz and /startupz, and of /debug/pprof with debug-endpoints." default:"127.0.0.1:8081"`
	Ops       service.OpsConfig `embed:""`
	Tracker   tracker.Settings  `embed:""`

	NoAnonymous bool `help:"Accept no clients without a token. By default, on a loopback address and without configured keys, they are accepted as the tenant local."`

	// The processor takes jobs from the lanes of the demo types, of the types in Handlers, and of webhooks.
	Worker      flags.Runs     `embed:"" set:"grace=5s"`
	Handlers    flags.Handlers `embed:""`
	Webhooks    flags.Webhooks `embed:""`
	NoProcessor bool           `help:"Run no processor. By default one delivers webhooks and runs the handlers given by --type; without any it runs the demo types, and leaves a lane to other workers while there are any."`
}

// GatewaySettings is gateway.Config without its methods, so that kong does not validate it before share has filled in
// the rest.
type GatewaySettings gateway.Config

// Validate joins all problems of the configuration.
func (c Settings) Validate() error {
	gw := gateway.Config(c.Gateway)
	var unused error
	if c.onOwnBroker() {
		gw.Kafka.Brokers = []string{c.Broker.Listen}
		if gw.Kafka.Security.TLS || gw.Kafka.Security.SASL != "" {
			unused = errors.New("kafka-tls and kafka-sasl are for a Kafka in other processes: name its brokers by kafka")
		}
	}
	if gw.Blobs.URL == "" {
		gw.Blobs.URL = "file:///" // share sets it to a folder of the data folder
	}
	if !gw.Auth.HasKeys() {
		gw.Auth.Key = make([]byte, keyBytes) // share sets it to the data folder's key
	}
	// Of the tracker only its own settings: it shares the others with the gateway.
	own := tracker.Config{
		Kafka: gw.Kafka, TopicPrefix: "ackwire.", Partitions: 1, Data: "data", Settings: c.Tracker,
		Internal: gw.Internal,
	}
	problems := []error{
		unused, c.Broker.Validate(), gw.Validate(), own.Validate(), c.Worker.Config().Validate(), c.Webhooks.Validate(),
		c.Ops.Validate(),
	}
	if c.NoAnonymous && gw.Auth.AnonymousTenant != "" {
		problems = append(problems, errors.New("no-anonymous and anonymous-tenant exclude each other"))
	}
	if c.NoProcessor && len(c.Handlers.Type) > 0 {
		problems = append(problems,
			errors.New("no-processor: without a processor there is nothing to run a handler (--type)"))
	}
	return errors.Join(problems...)
}

// DefaultSettings returns the defaults of all settings.
func DefaultSettings() Settings { return command.Defaults[Settings]() }

// onOwnBroker reports whether the process runs an embedded broker.
func (c Settings) onOwnBroker() bool { return len(c.Gateway.Kafka.Brokers) == 0 }

// AnonymousTenant is the tenant of clients that send no token. They are accepted when Ackwire listens on a loopback
// address, unless the setting no-anonymous is given.
const AnonymousTenant = "local"

// System has all services of this process, and the embedded broker if it runs one.
type System struct {
	cfg Settings
	env service.Env
	// ownBroker is onOwnBroker's result before share has filled in the broker's address.
	ownBroker bool
	gateway   *gateway.Gateway
	tracker   *tracker.Tracker
	workers   *processor.Processor // nil with NoProcessor
	// broker is nil until it has started, and when Kafka runs in other processes. The operations listener reads it
	// while run sets it.
	broker atomic.Pointer[broker.Broker]
	ops    *service.Ops

	closeBlobs func() error                // the workers' store
	callbacks  func(context.Context) error // serves endpoints that answer later; nil without any
}

// Run runs everything until ctx ends; it calls started when everything listens. It stops in this order: the gateway
// drains its clients, workers release the jobs that they run, the tracker writes its last checkpoint, and the broker
// closes.
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
		// Services need the broker's address before it starts, even with port 0.
		if listener, err = broker.Listen(ctx, cfg.Broker, env); err != nil {
			return err
		}
		s.cfg.Broker.Listener = listener
	}
	// unused closes the listener that the broker has not taken over.
	unused := func(err error) error {
		if listener == nil {
			return err
		}
		return errors.Join(err, listener.Close())
	}
	if err := s.build(ctx); err != nil {
		return unused(err)
	}
	if s.ops, err = service.NewOps(ctx, env, cfg.OpsListen, cfg.Ops, s.readiness()); err != nil {
		return unused(err)
	}
	stages := newStages(ctx)
	stages.start("ops", s.ops.Run)
	if listener != nil {
		b, err := broker.Start(ctx, s.cfg.Broker, env)
		if err != nil {
			_ = listener.Close()
			return errors.Join(err, stages.stop())
		}
		s.broker.Store(b)
		stages.start("broker", b.Run)
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

// build makes the services. None of them does I/O yet, except that the workers' blob store is opened.
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

// share fills in the shared settings that are not configured: the address of the embedded broker, a folder for blobs,
// and a key for tokens.
func (s *System) share() error {
	gw := &s.cfg.Gateway
	if s.ownBroker {
		addr := s.cfg.Broker.Listener.Addr().String()
		if s.cfg.Broker.Advertise != "" {
			addr = s.cfg.Broker.Advertise
		}
		gw.Kafka = kafka.Config{Brokers: []string{addr}, Timeouts: gw.Kafka.Timeouts}
	}
	if gw.Blobs.URL == "" {
		dir, err := blobs.Dir(filepath.Join(s.cfg.Broker.Data, "blobs"))
		if err != nil {
			return err
		}
		gw.Blobs.URL = dir
	}
	if gw.Bulk.Mode == gateway.BulkAuto {
		gw.Bulk.Mode = gateway.BulkOn
	}
	if gw.Auth.GrantKeyFile == "" {
		file, err := GrantKey(s.cfg.Broker.Data)
		if err != nil {
			return err
		}
		gw.Auth.GrantKeyFile = file
	}
	// Gateways beside a Kafka of other processes need one secret for all of them, which only the operator can give.
	if gw.IDKeyFile == "" && s.ownBroker {
		before, err := used(s.cfg.Broker.Data)
		if err != nil {
			return err
		}
		if gw.IDKeyFile, err = IDKey(s.cfg.Broker.Data, before); err != nil {
			return err
		}
	}
	if gw.Auth.HasKeys() {
		return nil // with configured keys there is no anonymous tenant by default
	}
	key, err := Key(s.cfg.Broker.Data)
	if err != nil {
		return err
	}
	gw.Auth.Key = key
	if host, _, err := net.SplitHostPort(gw.Listen); err == nil && service.Loopback(host) &&
		gw.Auth.AnonymousTenant == "" && !s.cfg.NoAnonymous {
		gw.Auth.AnonymousTenant = AnonymousTenant
	}
	gw.Console = gw.Auth.AnonymousTenant != ""
	return nil
}

func (s *System) readiness() map[string]service.Ready {
	ready := map[string]service.Ready{
		"gateway": s.gateway.Ready,
		"tracker": s.tracker.Ready,
	}
	if s.ownBroker {
		ready["broker"] = func() error {
			b := s.broker.Load()
			if b == nil {
				return errors.New("starting")
			}
			return b.Ready()
		}
	}
	if s.workers != nil {
		ready["processor"] = s.workers.Ready
	}
	return ready
}

// Ready returns nil when all services are ready, else why one is not.
func (s *System) Ready() error {
	for name, ready := range s.readiness() {
		if err := ready(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// Addr returns the address at which clients reach the gateway.
func (s *System) Addr() string { return s.gateway.Addr() }

// URL returns the URL for clients.
func (s *System) URL() string {
	if s.cfg.Gateway.Cert != "" {
		return "https://" + s.Addr()
	}
	return "http://" + s.Addr()
}

// ConsoleURL returns the URL of the console; empty if there is none.
func (s *System) ConsoleURL() string {
	addr := s.gateway.ConsoleAddr()
	switch {
	case addr == "":
		return ""
	case s.cfg.Gateway.Cert != "":
		return "https://" + addr + gateway.ConsolePath
	}
	return "http://" + addr + gateway.ConsolePath
}

// OpsAddr returns the address of the operations listener.
func (s *System) OpsAddr() string { return s.ops.Addr() }

// KafkaAddr returns the address at which Kafka clients reach a broker.
func (s *System) KafkaAddr() string {
	if !s.ownBroker {
		return s.cfg.Gateway.Kafka.Brokers[0]
	}
	return s.broker.Load().Addr()
}

// OnOwnBroker reports whether this process runs an embedded broker.
func (s *System) OnOwnBroker() bool { return s.ownBroker }
