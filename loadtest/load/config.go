// Package load makes the load of a scenario: clients with one socket each, submits at their scheduled times whether or
// not the server keeps up, and a history of everything that the clients receive.
package load

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/ackwire/ackwire/loadtest/scenario"
)

// Dial opens a connection.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Config is the configuration of a run.
type Config struct {
	Scenario *scenario.Scenario
	// URLs are the gateways' base URLs; clients use them in turn.
	URLs []string
	// Token returns the token of a client, which are numbered from 1. Nil: clients have none.
	Token func(client int) (string, error)
	// Dials are the functions that open connections; clients use them in turn.
	Dials []Dial
	// History is the file to which records are written.
	History string
	// Verify is the share of acked jobs that are read at the end, from 0 to 1.
	Verify float64
	// Embedded reports that the system runs in this process.
	Embedded bool
	Log      *slog.Logger

	faults faults // set by tests only
}

// Bounds of the generator. Work beyond them is dropped and counted.
const (
	maxBacklog    = 200_000 // submits that are due and wait for a socket
	maxOpenJobs   = 1_000_000
	maxGets       = 64 // on their way at one time
	maxInFlight   = 64 // of one client, if the server tells no bound
	maxFrameBytes = 1 << 20
	batchJobs     = 500 // in one subscribe frame
	maxStreams    = 256 // event streams at one time
	maxComebacks  = 5   // of a stream that has received all ends and is still answered 200: more than the checker allows
	maxResends    = 10  // of one submit with a key
	askAtOnce     = 1000
	faultsEnd     = 4 // times EndsWithin, for jobs to end after the schedule
)

// Times of the generator.
const (
	handshakeTimeout = 15 * time.Second
	connectGrace     = 30 * time.Second // after ConnectOver, before a run begins with the sockets that are open
	getTimeout       = 15 * time.Second
	backoffBase      = 100 * time.Millisecond
	backoffCap       = 5 * time.Second
	drainTimeout     = 10 * time.Second // for answers, after a goaway
	sweepEvery       = time.Second
	quietAfter       = 2 * time.Second // without any answer, open jobs are read
	askAgain         = time.Second     // before a watch is repeated that was refused by a retryable error
	maxQuiet         = 2.5             // ping intervals without any frame
	streamRetry      = 3 * time.Second // before an event stream reconnects, if the server tells no time
	streamQuiet      = 75 * time.Second
)

// Validate returns an error that joins all problems of the configuration.
func (c Config) Validate() error {
	var problems []error
	if len(c.URLs) == 0 {
		problems = append(problems, errors.New("no URL of a gateway"))
	}
	for _, raw := range c.URLs {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			problems = append(problems, fmt.Errorf("url %q is not http://HOST or https://HOST", raw))
		}
	}
	if !(c.Verify >= 0 && c.Verify <= 1) {
		problems = append(problems, errors.New("the share of jobs to verify is 0 to 1"))
	}
	if c.Scenario == nil || len(c.Dials) == 0 || c.Log == nil || c.History == "" {
		problems = append(problems, errors.New("scenario, dials, logger and history must be set"))
	}
	if c.Scenario != nil && c.Scenario.Tenants > 1 && c.Token == nil {
		problems = append(problems, fmt.Errorf("the scenario has %d tenants: tokens are needed", c.Scenario.Tenants))
	}
	return errors.Join(problems...)
}

// faults changes the messages between a client and its server, for tests that check that the checker notices. Only
// tests of this package can set it.
type faults interface {
	// fromServer returns the frames that the client gets in place of b.
	fromServer(client int, b []byte) [][]byte
	// toServer may swallow a frame and answer it.
	toServer(client int, b []byte) (answer []byte, swallow bool)
	// answered may change what an event stream is answered.
	answered(s *stream, resp *http.Response)
}
