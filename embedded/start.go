// Package embedded runs all of Ackwire within a Go program, with an embedded Kafka broker or on a Kafka cluster:
//
//	srv, err := embedded.Start(ctx, embedded.Config{Data: "data"})
//	client, err := ackwire.Dial(ctx, srv.URL())
//
// Clients and workers are the same as for an Ackwire that runs in its own processes: they connect to the server's
// addresses. The packages below this one belong to the command `ackwire` and may change in any version.
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

// ErrInUse is Start's error when another process, or another Server of this process, uses the data folder. Test for it
// with errors.Is.
var ErrInUse = broker.ErrInUse

// AnonymousTenant is the tenant of clients that send no token. They are accepted when Ackwire listens on a loopback
// address, unless the setting no-anonymous is given.
const AnonymousTenant = serve.AnonymousTenant

// Key returns the HS256 key in the data folder dir that signs and verifies clients' tokens, unless settings name other
// keys. The first call makes it, readable by its owner only.
func Key(dir string) ([]byte, error) { return serve.Key(dir) }

// readyPoll is the interval at which Start checks whether all services are ready.
const readyPoll = 20 * time.Millisecond

// Start starts Ackwire and returns when it is ready for clients. That usually takes less than a second, and longer
// for a large data folder. ctx bounds only the start. The server runs until Stop is called or one of its parts fails
// (Done). Before Stop, close the clients and stop the workers of your program.
//
// After an error nothing runs. Errors are: the configuration is not valid, an address is in use, another process uses
// the data folder (ErrInUse), or ctx has ended.
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

// await waits until the server is ready, and returns false when it has ended before.
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

// URL returns the URL for clients, such as "http://127.0.0.1:8080"; https with the setting tls-cert.
func (s *Server) URL() string { return s.system.URL() }

// OpsAddr returns the address, host:port, of /metrics, /readyz and the other operations endpoints.
func (s *Server) OpsAddr() string { return s.system.OpsAddr() }

// KafkaAddr returns the address, host:port, of a Kafka broker, for the field Brokers of workers' processor.Config.
func (s *Server) KafkaAddr() string { return s.system.KafkaAddr() }

// Ready returns nil while all services are ready, else why one is not.
func (s *Server) Ready() error { return s.system.Ready() }

// Done returns a channel that is closed when everything has stopped, after Stop or a failure.
func (s *Server) Done() <-chan struct{} { return s.ended }

// Stop stops Ackwire and returns when everything has stopped. Clients are disconnected and told to connect again
// later; running jobs have a few seconds to end before they are released; everything that was acked is written to the
// disk. The error says what went wrong, or why the server had stopped by itself before. Stop may be called several
// times, and from any goroutine.
func (s *Server) Stop() error {
	s.stop()
	<-s.ended
	return s.err
}
