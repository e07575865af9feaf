package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ackwire/ackwire/embedded/broker"
)

// Config is how Ackwire runs within a program. A field that is zero has its default, so that a
// program sets only what it needs.
type Config struct {
	// Data is the folder of all that is kept: the broker's log, the tracker's state, blobs, and the
	// key that tokens are signed with (Key). It is made if need be, for its owner only; one process
	// at a time may use it. Default "data".
	Data string
	// Listen is the address at which clients reach Ackwire; port 0 is one that is free. On loopback a
	// client without a token is let in, as tenant AnonymousTenant. Default 127.0.0.1:8080.
	Listen string
	// OpsListen is the address of /metrics, /healthz, /readyz, /startupz and /debug/pprof. Default: a
	// free port of 127.0.0.1 (Server.OpsAddr).
	OpsListen string
	// KafkaListen is the address of the embedded broker, which workers dial. Default: a free port of
	// 127.0.0.1 (Server.KafkaAddr); workers in other processes need one that stays.
	KafkaListen string
	// TrackerListen is the address of the tracker, which gateways dial: this process's own and, with
	// Brokers, those of others. Default: a free port of 127.0.0.1.
	TrackerListen string
	// Brokers are the addresses, host:port, of some brokers of a Kafka, in place of the embedded
	// broker. Default: none.
	Brokers []string
	// Sync has the embedded broker flush every write to the disk before it is acknowledged. Without
	// it the log survives a crash of the process, and power loss it may not.
	Sync bool
	// TopicPrefix starts the name of every topic and group. Default "ackwire.".
	TopicPrefix string
	// Partitions is the partition count of topics that this process has to create. It cannot be
	// changed later. Default 12.
	Partitions int32
	// JobTypes is the YAML file of job types. Default: those of gateway/jobtypes/default.yaml, which
	// are for trying.
	JobTypes string
	// NoProcessor runs no worker in this process. Without it one delivers webhooks and runs the job
	// types that are for trying, and leaves a lane to other workers while there are any.
	NoProcessor bool
}

// anyPort is the address of a listener that only this process, or who asks it, needs to find.
const anyPort = "127.0.0.1:0"

// settings are the command's that say the same.
func (c Config) settings() Settings {
	s := DefaultSettings()
	set := func(to *string, values ...string) {
		i := slices.IndexFunc(values, func(v string) bool { return v != "" })
		if i >= 0 {
			*to = values[i]
		}
	}
	set(&s.Broker.Data, c.Data)
	set(&s.Broker.Listen, c.KafkaListen, anyPort)
	set(&s.Gateway.Listen, c.Listen)
	set(&s.OpsListen, c.OpsListen, anyPort)
	set(&s.Tracker.Listen, c.TrackerListen, anyPort)
	set(&s.Gateway.TopicPrefix, c.TopicPrefix)
	if c.Partitions != 0 {
		s.Gateway.Partitions = c.Partitions
	}
	s.Broker.Sync = c.Sync
	s.Gateway.Kafka.Brokers = slices.Clone(c.Brokers)
	s.Gateway.JobTypes = c.JobTypes
	s.NoProcessor = c.NoProcessor
	return s
}

// Validate reports every problem of the configuration, with the defaults filled in. Start calls it.
func (c Config) Validate() error { return c.settings().Validate() }

// Server is an Ackwire that runs in this process.
type Server struct {
	// Set by Start, then only read.
	system *Embedded
	stop   context.CancelFunc
	ended  chan struct{} // closed once err is set

	err error
}

// ErrInUse matches Start's error where another process, or another Server of this one, uses the data
// folder.
var ErrInUse = broker.ErrInUse

// readyPoll is how often Start looks whether everything takes work.
const readyPoll = 20 * time.Millisecond

// Start starts Ackwire and returns once it takes work, which takes as long as its folder is large: a
// moment, as a rule. ctx bounds the start only. What was started runs until Stop is called, or one of its
// parts fails (Done). So that nothing is lost, stop clients and workers of this program before.
//
// An error means that nothing runs: the configuration makes no sense, an address is taken, another
// process uses the folder (ErrInUse), or ctx has ended.
func Start(ctx context.Context, cfg Config, opts ...Option) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("embedded configuration: %w", err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	giveUp := context.AfterFunc(ctx, stop)
	s := &Server{stop: stop, ended: make(chan struct{})}
	listening := make(chan *Embedded, 1)
	go func() {
		defer close(s.ended)
		s.err = Run(running, cfg.settings(), chosen(opts), func(e *Embedded) { listening <- e })
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
func (s *Server) await(listening <-chan *Embedded) bool {
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
