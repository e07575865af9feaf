// Package system runs an Ackwire in this process, for load tests and benchmarks.
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
	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/cmd/flags"
	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/tracker"
)

// Partitions is the number of partitions of each topic.
const Partitions = 12

const startTimeout = time.Minute

// System is an Ackwire in this process, with its data in a temporary folder.
type System struct {
	// Name describes the broker on which it runs; URL is for clients.
	Name, URL string
	Kafka     kafka.Config
	Metrics   service.Metrics // of its services

	dir  string
	stop func() error // stops the system and waits for it
}

// Key returns the key that signs tokens for the embedded system.
func (s *System) Key() ([]byte, error) { return embedded.Key(s.dir) }

// Close stops the system, waits for it and removes its data.
func (s *System) Close() error { return errors.Join(s.stop(), os.RemoveAll(s.dir)) }

// Start starts a system and waits until it is ready. It uses the embedded broker or, if k has brokers, these with
// its own topics. ctx bounds the start; the system runs until Close is called.
func Start(ctx context.Context, k kafka.Config, log *slog.Logger) (*System, error) {
	dir, err := os.MkdirTemp("", "ackwire-loadtest")
	if err != nil {
		return nil, err
	}
	s := &System{dir: dir, Metrics: service.NewRegistry()}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if len(k.Brokers) == 0 {
		err = s.embedded(ctx, log)
	} else {
		err = s.beside(ctx, k, log)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// embedded starts everything in this process.
func (s *System) embedded(ctx context.Context, log *slog.Logger) error {
	cfg := embedded.Config{Data: s.dir, Listen: "127.0.0.1:0", Partitions: Partitions}
	srv, err := embedded.Start(ctx, cfg, embedded.WithLogger(log), embedded.WithMetrics(s.Metrics))
	if err != nil {
		return err
	}
	s.Name, s.URL, s.Kafka = "embedded broker", srv.URL(), kafka.Config{Brokers: []string{srv.KafkaAddr()}}
	s.stop = srv.Stop
	return nil
}

// beside starts the services on external brokers.
func (s *System) beside(ctx context.Context, k kafka.Config, log *slog.Logger) error {
	addrs, err := FreeAddrs(2)
	if err != nil {
		return err
	}
	s.Name, s.URL, s.Kafka = "Kafka at "+strings.Join(k.Brokers, ","), "http://"+addrs[0], k
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ready, ended := make(chan func() error, 1), make(chan error, 1)
	env := service.OS(log)
	env.Metrics = s.Metrics
	go func() { ended <- services(running, s.Kafka, addrs, s.dir, env, ready) }()
	s.stop = func() error {
		stop()
		return <-ended
	}
	if err := waitReady(ctx, ready, ended); err != nil {
		return errors.Join(err, s.stop())
	}
	return nil
}

// waitReady waits until the system is ready, or has ended: stop then returns the reason.
func waitReady(ctx context.Context, ready <-chan func() error, ended chan error) error {
	var state func() error
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case state = <-ready:
		case err := <-ended:
			ended <- err
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

// services runs gateway, tracker and processor on external brokers.
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
		Data: filepath.Join(dir, "tracker"), Settings: tracker.Settings{Listen: addrs[1]}},
		env)
	if err != nil {
		return err
	}
	p, err := processor.New(processor.Config{
		Brokers: k.Brokers, Rack: k.Rack, Compression: k.Compression, Security: processor.Security(k.Security),
		TopicPrefix: prefix, Timeouts: processor.Timeouts(k.Timeouts),
		Lanes: []string{"default", "reports"}, Grace: time.Second,
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

// FreeAddrs returns addresses of this machine that are not in use now.
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
