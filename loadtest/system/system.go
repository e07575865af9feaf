// Package system runs a whole Ackwire in this process, to be measured.
package system

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ackwire/ackwire/embedded"
	"github.com/ackwire/ackwire/embedded/broker"
	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/cmd/flags"
	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/tracker"
)

// Partitions is how many each topic has.
const Partitions = 12

const startTimeout = time.Minute

// System is an Ackwire in this process, with its data in a folder of its own.
type System struct {
	// Name says on which broker it runs, URL where clients go, Kafka how the broker is reached.
	Name, URL string
	Kafka     kafka.Config

	dir   string
	stop  context.CancelFunc
	ended chan error // capacity 1
}

// Key is what signs tokens that an embedded system takes.
func (s *System) Key() ([]byte, error) { return embedded.Key(s.dir) }

// Close stops the system, waits for it and removes its data.
func (s *System) Close() error {
	s.stop()
	err := <-s.ended
	return errors.Join(err, os.RemoveAll(s.dir))
}

// Start starts a system and waits until it takes work: on the embedded broker or, if brokers
// are named, on theirs, with topics of its own.
func Start(ctx context.Context, brokers []string, log *slog.Logger) (*System, error) {
	addrs, err := FreeAddrs(4)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "ackwire-loadtest")
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	s := &System{stop: stop, ended: make(chan error, 1), dir: dir, URL: "http://" + addrs[0]}
	ready := make(chan func() error, 1)
	if len(brokers) == 0 {
		s.Name, s.Kafka = "embedded broker", kafka.Config{Brokers: []string{addrs[3]}}
		cfg := embedded.DefaultSettings()
		cfg.Broker = broker.Config{Data: dir, Listen: addrs[3]}
		cfg.Gateway.Listen, cfg.OpsListen, cfg.Tracker.Listen = addrs[0], addrs[1], addrs[2]
		cfg.Gateway.Partitions = Partitions
		cfg.Webhooks.Schemes, cfg.Webhooks.Ports = []string{"https"}, []uint16{443}
		go func() {
			s.ended <- embedded.Run(running, cfg, service.OS(log), func(e *embedded.Embedded) { ready <- e.Ready })
		}()
	} else {
		s.Name, s.Kafka = "Kafka at "+strings.Join(brokers, ","), kafka.Config{Brokers: brokers}
		go func() { s.ended <- services(running, s.Kafka, addrs, dir, service.OS(log), ready) }()
	}
	if err := s.waitReady(ctx, ready); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// waitReady waits until the system takes work. One that has ended says why when it is closed.
func (s *System) waitReady(ctx context.Context, ready <-chan func() error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var state func() error
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case state = <-ready:
		case err := <-s.ended:
			s.ended <- err
			return errors.New("the system ended before it was ready")
		case <-tick.C:
			if state != nil && state() == nil {
				return nil
			}
		case <-ctx.Done():
			return errors.New("the system was not ready in time")
		}
	}
}

// services runs gateway, tracker and processor beside a broker of somebody else.
func services(
	ctx context.Context, k kafka.Config, addrs []string, dir string, env service.Env, ready chan<- func() error,
) error {
	prefix := fmt.Sprintf("bench%d.", time.Now().UnixNano())
	gw := gateway.Defaults()
	gw.Kafka = k
	gw.TopicPrefix = prefix
	gw.Listen = addrs[0]
	gw.Auth.AnonymousTenant = embedded.AnonymousTenant
	g, err := gateway.New(gw, env)
	if err != nil {
		return err
	}
	t, err := tracker.New(tracker.Config{Kafka: k, TopicPrefix: prefix, Partitions: Partitions,
		Data: filepath.Join(dir, "tracker"), Settings: tracker.Settings{Listen: addrs[2], SessionTimeout: 10 * time.Second}},
		env)
	if err != nil {
		return err
	}
	p, err := processor.New(processor.Config{
		Brokers: k.Brokers, TopicPrefix: prefix, Lanes: []string{"default", "reports"}, Grace: time.Second,
	},
		flags.Options(env)...)
	if err != nil {
		return err
	}
	demo.Register(p)
	parts := service.NewGroup(ctx)
	parts.Go("tracker", t.Run)
	parts.Go("processor", p.Run)
	parts.Go("gateway", g.Run)
	ready <- func() error { return errors.Join(t.Ready(), p.Ready(), g.Ready()) }
	return parts.Wait()
}

// FreeAddrs returns addresses of this machine that nobody listens at now.
func FreeAddrs(n int) ([]string, error) {
	out := make([]string, n)
	for i := range out {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		out[i] = l.Addr().String()
	}
	return out, nil
}
