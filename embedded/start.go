// Package embedded runs the whole of Ackwire within a program, on a broker that it carries along or on a Kafka:
//
//	srv, err := embedded.Start(ctx, embedded.Config{Data: "data"})
//	client, err := ackwire.Dial(ctx, srv.URL())
//
// Clients and workers are the same as those of an Ackwire that runs elsewhere: they are given its addresses. The
// packages below this one belong to the command `ackwire`; only this one keeps its names between versions.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ackwire/ackwire/embedded/broker"
	"github.com/ackwire/ackwire/embedded/internal/serve"
)

// Server is an Ackwire that runs in this process.
type Server struct {
	// Set by Start, then only read.
	system *serve.System
	stop   context.CancelFunc
	ended  chan struct{} // closed once err is set

	err error
}

// ErrInUse matches Start's error where another process, or another Server of this one, uses the data
// folder.
var ErrInUse = broker.ErrInUse

// AnonymousTenant is the tenant of clients that send no token, which are let in where Ackwire listens on loopback.
const AnonymousTenant = serve.AnonymousTenant

// Key returns the HS256 key in the data folder dir that signs and verifies clients' tokens, unless settings name other
// keys. The first call makes it, readable by its owner only.
func Key(dir string) ([]byte, error) { return serve.Key(dir) }

// readyPoll is how often Start looks whether everything takes work.
const readyPoll = 20 * time.Millisecond

// Start starts Ackwire and returns once it takes work, which takes as long as its folder is large: a
// moment, as a rule. ctx bounds the start only. What was started runs until Stop is called, or one of its
// parts fails (Done). So that nothing is lost, stop clients and workers of this program before.
//
// An error means that nothing runs: the configuration makes no sense, an address is taken, another
// process uses the folder (ErrInUse), or ctx has ended.
func Start(ctx context.Context, cfg Config, opts ...Option) (*Server, error) {
	settings, err := cfg.settings()
	if err = errors.Join(err, settings.Validate()); err != nil {
		return nil, fmt.Errorf("embedded configuration: %w", err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	giveUp := context.AfterFunc(ctx, stop)
	s := &Server{stop: stop, ended: make(chan struct{})}
	listening := make(chan *serve.System, 1)
	go func() {
		defer close(s.ended)
		s.err = serve.Run(running, settings, chosen(opts), func(e *serve.System) { listening <- e })
	}()
	ready := s.await(listening)
	if !giveUp() { // ctx has ended
		return nil, errors.Join(context.Cause(ctx), s.Stop())
	}
	if !ready {
		return nil, s.Stop()
	}
	return s, nil
}

// await waits until the server takes work, and reports whether it does: it may end before.
func (s *Server) await(listening <-chan *serve.System) bool {
	select {
	case s.system = <-listening:
	case <-s.ended:
		return false
	}
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for s.system.Ready() != nil {
		select {
		case <-tick.C:
		case <-s.ended:
			return false
		}
	}
	return true
}

// URL is what clients dial: "http://127.0.0.1:8080".
func (s *Server) URL() string { return "http://" + s.system.Addr() }

// OpsAddr is the address, host:port, of /metrics and the like.
func (s *Server) OpsAddr() string { return s.system.OpsAddr() }

// KafkaAddr is the address, host:port, of a broker, for workers: processor.Config.Brokers.
func (s *Server) KafkaAddr() string { return s.system.KafkaAddr() }

// Ready returns nil while all services take work, else why one does not.
func (s *Server) Ready() error { return s.system.Ready() }

// Done is closed once everything has stopped, for whatever reason.
func (s *Server) Done() <-chan struct{} { return s.ended }

// Stop stops Ackwire and waits until everything has stopped: clients are told to come back later,
// running jobs have a few seconds to end before they are given back, and all that was acked is on the
// disk. It returns what went wrong, also when the server had ended by itself. It may be called again,
// and from any goroutine.
func (s *Server) Stop() error {
	s.stop()
	<-s.ended
	return s.err
}
