// Package scenario reads scenario files, which define load tests: clients, jobs and their arrivals, faults, and the
// time within which everything must have ended.
package scenario

import (
	"encoding/json"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// Bounds of a scenario.
const (
	MaxSockets  = 100_000
	MaxTenants  = 10_000
	MaxJobs     = 50
	MaxPhases   = 100
	MaxRate     = 100_000 // arrivals per second
	MaxDuration = 24 * time.Hour
	maxName     = 64
)

// Defaults of a scenario.
const (
	defaultConnectOver   = time.Second
	defaultEndsWithin    = 30 * time.Second
	defaultDeliverWithin = 10 * time.Second
)

// Scenario is one load test.
type Scenario struct {
	Name, About string

	// Sockets is the number of clients; each has one socket at a time. The sockets are opened evenly
	// within ConnectOver.
	Sockets     int
	ConnectOver time.Duration
	// Tenants is the number of tenants to which the clients belong, in turn.
	Tenants int
	// Slow are the clients that read slowly.
	Slow Slow
	// Mine is the share of the clients whose sockets follow all jobs of their subject, besides
	// those that they watch.
	Mine float64

	// Poisson makes arrivals random, with the phase's rate as their mean; otherwise they are even.
	Poisson bool
	// Seed is the seed of random numbers: two runs with the same seed have the same arrivals and jobs.
	Seed   uint64
	Jobs   []Job
	Phases []Phase

	// EndsWithin is the time after its ack or the last fault, whichever is later, within which an acked
	// job must end (I7). DeliverWithin is the time after a job could be read as ended within which its
	// watchers on open sockets must get its end (I3).
	EndsWithin, DeliverWithin time.Duration
}

// Slow describes the clients that read slowly: the first Sockets clients of the scenario.
type Slow struct {
	Sockets        int
	BytesPerSecond int
}

// Job is one kind of job. For each arrival one is chosen at random, by Weight.
type Job struct {
	Name    string // in reports
	Type    string
	Payload json.RawMessage
	Weight  float64
	// Watchers is the number of other clients that subscribe once the job is acked.
	Watchers int
	// Watch makes the submitter's socket watch the job.
	Watch bool
	// Key gives each submit an idempotency key, with which it is sent again when its answer was lost.
	Key bool
	// Get is the share of acks that are followed by a GET at once (I4).
	Get float64
	// Stream is the share of acked jobs that an event stream follows, too, as a browser's
	// EventSource does.
	Stream float64
	// Output is the share of jobs of which those who watch them also follow the output demo.WriteStream: what
	// the job writes while it runs (I9). Words is how many words of demo.Text that is; 0 if it is not known.
	Output float64
	Words  int
	// Ends is the state in which the job should end; empty for any.
	Ends job.State
}

// Phase is a part of the schedule.
type Phase struct {
	Name     string
	Duration time.Duration
	// From and To are arrivals per second; between them the rate changes evenly.
	From, To float64
	// Measured says that its latencies count in the run's totals.
	Measured bool
	// Reconnect, if not nil, cuts sockets during the phase.
	Reconnect *Reconnect
}

// Reconnect cuts a share of the sockets At after the phase's begin. Each client reconnects at a random moment within
// Over.
type Reconnect struct {
	At, Over time.Duration
	Share    float64
}

// MineSockets returns the number of clients that follow all jobs of their subject: the last ones of the scenario.
func (s *Scenario) MineSockets() int {
	if s.Mine == 0 {
		return 0
	}
	return max(1, int(s.Mine*float64(s.Sockets)+0.5))
}

// Duration returns the time for which arrivals come.
func (s *Scenario) Duration() time.Duration {
	var d time.Duration
	for _, p := range s.Phases {
		d += p.Duration
	}
	return d
}

// Arrivals returns about how many arrivals there will be.
func (s *Scenario) Arrivals() float64 {
	var n float64
	for _, p := range s.Phases {
		n += p.Arrivals()
	}
	return n
}

// Arrivals returns about how many arrivals the phase has.
func (p Phase) Arrivals() float64 { return p.Duration.Seconds() * (p.From + p.To) / 2 }

// Scale returns the scenario with durations and load multiplied. The error says that the result exceeds a bound.
func (s *Scenario) Scale(duration, load float64) (*Scenario, error) {
	out := *s
	stretch := func(d time.Duration) time.Duration { return time.Duration(float64(d) * duration) }
	out.Sockets = max(1, int(float64(s.Sockets)*load+0.5))
	out.Tenants = min(s.Tenants, out.Sockets)
	if s.Slow.Sockets > 0 {
		out.Slow.Sockets = min(out.Sockets-1, max(1, int(float64(s.Slow.Sockets)*load+0.5)))
	}
	out.ConnectOver = stretch(s.ConnectOver)
	out.Jobs = append([]Job(nil), s.Jobs...)
	for i, j := range s.Jobs {
		if j.Watchers > 0 {
			out.Jobs[i].Watchers = min(out.Sockets-1, max(1, int(float64(j.Watchers)*load+0.5)))
		}
	}
	out.Phases = append([]Phase(nil), s.Phases...)
	for i, p := range s.Phases {
		out.Phases[i].Duration, out.Phases[i].From, out.Phases[i].To = stretch(p.Duration), p.From*load, p.To*load
		if r := p.Reconnect; r != nil {
			out.Phases[i].Reconnect = &Reconnect{At: stretch(r.At), Over: r.Over, Share: r.Share}
		}
	}
	return &out, out.bounds()
}
