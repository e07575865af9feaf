// Package load makes the load of a scenario: clients with a socket each, submits when they are
// due whether or not the server keeps up, and a history of all that came back.
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

// Config is what a run needs to know.
type Config struct {
	Scenario *scenario.Scenario
	// URLs are gateways' base addresses; clients go to them in turn.
	URLs []string
	// Token gives a client's token; clients count from 1. Nil: none has one.
	Token func(client int) (string, error)
	// Dials are ways to the network; clients use them in turn.
	Dials []Dial
	// History is the file that records go to.
	History string
	// Verify is the share of acked jobs that are read once all is over.
	Verify float64
	// Embedded: the system runs in this process.
	Embedded bool
	Log      *slog.Logger

	faults faults // set by tests only
}

// Bounds of the generator. What does not fit is dropped and counted.
const (
	maxBacklog    = 200_000 // submits that are due and have no socket
	maxOpenJobs   = 1_000_000
	maxGets       = 64 // on their way at one time
	maxInFlight   = 64 // of one client, where the server names no bound
	maxFrameBytes = 1 << 20
	batchJobs     = 500 // in one subscribe frame
	maxStreams    = 256 // event streams at one time
	maxComebacks  = 5   // of a stream that was told all, where it is not sent away: more than the checker allows
	maxResends    = 10  // of one submit with a key
	askAtOnce     = 1000
	faultsEnd     = 4 // times EndsWithin, for jobs to end after the schedule
)

// Times of the generator.
const (
	handshakeTimeout = 15 * time.Second
	connectGrace     = 30 * time.Second // after ConnectOver, before a run begins with those that are there
	getTimeout       = 15 * time.Second
	backoffBase      = 100 * time.Millisecond
	backoffCap       = 5 * time.Second
	drainTimeout     = 10 * time.Second // for answers, after a goaway
	sweepEvery       = time.Second
	quietAfter       = 2 * time.Second // without a word, open jobs are asked after
	askAgain         = time.Second     // before a watch that was refused for now
	maxQuiet         = 2.5             // ping intervals without a sign of life
	streamRetry      = 3 * time.Second // before an event stream comes back, where the server says nothing of it
	streamQuiet      = 75 * time.Second
)

// Validate joins all problems.
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

// faults change what a client and its server say to each other, so that a test can see that the
// checker notices. Nothing but a test of this package can set them.
type faults interface {
	// fromServer returns what the client gets to see instead of a frame.
	fromServer(client int, b []byte) [][]byte
	// toServer may swallow a frame and answer it.
	toServer(client int, b []byte) (answer []byte, swallow bool)
	// answered may change what an event stream is answered.
	answered(s *stream, resp *http.Response)
}
