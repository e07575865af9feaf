// Package scenario reads the files that say what a load test does: who connects, what
// arrives when, what breaks, and by when everything must have ended.
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

	// Sockets is how many clients there are; each has one socket at a time. They open within
	// ConnectOver, evenly.
	Sockets     int
	ConnectOver time.Duration
	// Tenants is how many tenants the clients belong to, in turn.
	Tenants int
	// Slow clients hardly read.
	Slow Slow
	// Mine is the share of the clients whose sockets follow all jobs of their subject, besides
	// those that they watch.
	Mine float64

	// Poisson arrivals come at random with the phase's rate as their mean; others evenly.
	Poisson bool
	// Seed makes two runs draw the same arrivals and jobs.
	Seed   uint64
	Jobs   []Job
	Phases []Phase

	// EndsWithin: an acked job has ended so long after its ack or the last fault, whichever
	// came later (I7). DeliverWithin: who watches a job on an open socket has seen its end so
	// long after the job could be read as ended (I3).
	EndsWithin, DeliverWithin time.Duration
}

// Slow are the clients that read slowly: the first Sockets of the scenario's.
type Slow struct {
	Sockets        int
	BytesPerSecond int
}

// Job is one kind of work. Which one an arrival brings is drawn by Weight.
type Job struct {
	Name    string // in reports
	Type    string
	Payload json.RawMessage
	Weight  float64
	// Watchers is how many other clients subscribe once the job is acked.
	Watchers int
	// Watch: the submitter's socket follows the job.
	Watch bool
	// Key gives each submit an idempotency key, so that one whose answer was lost is sent again.
	Key bool
	// Get is the share of acks that are followed by a GET at once (I4).
	Get float64
	// Stream is the share of acked jobs that an event stream follows, too, as a browser's
	// EventSource does.
	Stream float64
	// Ends is the state that the job should end in. Empty: any.
	Ends job.State
}

// Phase is a stretch of the schedule.
type Phase struct {
	Name     string
	Duration time.Duration
	// From and To are arrivals per second; between them the rate changes evenly.
	From, To float64
	// Measured: its latencies count for the run's totals.
	Measured bool
	// Reconnect, if not nil, cuts sockets during the phase.
	Reconnect *Reconnect
}

// Reconnect cuts a share of the sockets At after the phase's begin. Each client comes back at
// a random moment within Over.
type Reconnect struct {
	At, Over time.Duration
	Share    float64
}

// MineSockets is how many clients follow all jobs of their subject: the last of the scenario's.
func (s *Scenario) MineSockets() int {
	if s.Mine == 0 {
		return 0
	}
	return max(1, int(s.Mine*float64(s.Sockets)+0.5))
}

// Duration is how long arrivals come.
func (s *Scenario) Duration() time.Duration {
	var d time.Duration
	for _, p := range s.Phases {
		d += p.Duration
	}
	return d
}

// Arrivals is about how many there will be.
func (s *Scenario) Arrivals() float64 {
	var n float64
	for _, p := range s.Phases {
		n += p.Arrivals()
	}
	return n
}

// Arrivals is about how many the phase has.
func (p Phase) Arrivals() float64 { return p.Duration.Seconds() * (p.From + p.To) / 2 }

// Scale returns the scenario with durations and load multiplied: a short try of a long one,
// or more of the same. The result is in bounds like any other.
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
