package measure

import (
	"time"

	"github.com/ackwire/ackwire/loadtest/history"
)

// ResultFormat is the version of the JSON; fields are added, never renamed.
const ResultFormat = 1

// Result is the result of a run, as in the JSON report.
type Result struct {
	Format   int       `json:"format"`
	Scenario string    `json:"scenario"`
	About    string    `json:"about,omitempty"`
	Began    time.Time `json:"began"`
	Seconds  float64   `json:"seconds"` // that arrivals came
	URLs     []string  `json:"urls"`
	// Embedded reports that the system ran in the generator's own process.
	Embedded bool `json:"embedded,omitempty"`
	// BrokenOff reports that the run was stopped before its end.
	BrokenOff bool `json:"brokenOff,omitempty"`

	Sockets int     `json:"sockets"`
	Tenants int     `json:"tenants"`
	Rate    float64 `json:"rate"` // arrivals per second, on average over measured phases

	Counts Counts `json:"counts"`
	// Latencies are those of measured phases.
	Latencies map[Series]Summary `json:"latencies"`
	Jobs      []JobResult        `json:"jobs"`
	Phases    []PhaseResult      `json:"phases"`
	// Errors counts errors by code, and lost sockets by close code or cause.
	Errors map[string]int64 `json:"errors"`
	Losses map[string]int64 `json:"losses"`

	Interval float64 `json:"interval"` // seconds between two points of the timeline
	Timeline []Point `json:"timeline"`
	Machine  Machine `json:"machine"`

	Verdict *history.Verdict `json:"verdict,omitempty"`
}

// Series is a kind of latency.
type Series string

// The series. Each latency counts from when something was due, not from when the generator did it.
const (
	Ack     Series = "ack"     // submit due → ack
	End     Series = "end"     // submit due → terminal status
	Get     Series = "get"     // GET → answer
	Connect Series = "connect" // dial → welcome
	Resume  Series = "resume"  // dial after a loss → every watch is answered
	Spread  Series = "spread"  // the first watcher that saw a job's end → each other
	SlowAck Series = "slowAck" // the same as ack and end, of slow clients
	SlowEnd Series = "slowEnd"
	Lag     Series = "lag" // submit due → written: the generator's own delay
)

// AllSeries lists every series, in the order of reports.
var AllSeries = []Series{Ack, End, Get, Connect, Resume, Spread, SlowAck, SlowEnd, Lag}

// Counts are totals of the whole run, including phases that are not measured.
type Counts struct {
	Arrivals   int64 `json:"arrivals"`   // that the schedule had
	Sent       int64 `json:"sent"`       // submits written
	Acked      int64 `json:"acked"`      //
	Duplicates int64 `json:"duplicates"` // acks of submits that were sent again
	Refused    int64 `json:"refused"`    // answered with an error
	Unanswered int64 `json:"unanswered"` // the socket was lost before the answer
	Dropped    int64 `json:"dropped"`    // never sent because of a bound of the generator
	Delayed    int64 `json:"delayed"`    // had to wait for a socket with room
	Completed  int64 `json:"completed"`
	Failed     int64 `json:"failed"`
	Cancelled  int64 `json:"cancelled"`
	Unexpected int64 `json:"unexpected"` // ended in another state than the scenario expects
	Open       int64 `json:"open"`       // acked jobs whose end is not known
	Statuses   int64 `json:"statuses"`
	Parts      int64 `json:"parts"` // of the streams of jobs
	Connects   int64 `json:"connects"`
	Losses     int64 `json:"losses"`   // lost sockets that the scenario did not cut
	Cut        int64 `json:"cut"`      // sockets that the scenario cut
	Sockets    int64 `json:"sockets"`  // open now
	InFlight   int64 `json:"inFlight"` // sent, not answered now
	Backlog    int64 `json:"backlog"`  // due, not sent now
}

// JobResult is one kind of job in measured phases.
type JobResult struct {
	Name       string           `json:"name"`
	Type       string           `json:"type"`
	Acked      int64            `json:"acked"`
	Ended      map[string]int64 `json:"ended"`
	Unexpected int64            `json:"unexpected"`
	Ack        Summary          `json:"ack"`
	End        Summary          `json:"end"`
}

// PhaseResult is one phase.
type PhaseResult struct {
	Name     string  `json:"name"`
	Begin    float64 `json:"begin"` // seconds from the first phase's begin
	Seconds  float64 `json:"seconds"`
	From     float64 `json:"from"`
	To       float64 `json:"to"`
	Measured bool    `json:"measured"`
	Arrivals int64   `json:"arrivals"`
	Refused  int64   `json:"refused"`
	Ack      Summary `json:"ack"`
	End      Summary `json:"end"`
}

// Point is one interval of the timeline; rates per second, latencies in milliseconds.
type Point struct {
	At       float64 `json:"t"` // seconds from the first phase's begin, at the interval's end
	Phase    string  `json:"phase"`
	Arrivals float64 `json:"arrivals"`
	Acked    float64 `json:"acked"`
	Ended    float64 `json:"ended"`
	Errors   float64 `json:"errors"`
	Sockets  int64   `json:"sockets"`
	InFlight int64   `json:"inFlight"`
	Open     int64   `json:"open"`
	Backlog  int64   `json:"backlog"`
	AckP50   float64 `json:"ackP50"`
	AckP99   float64 `json:"ackP99"`
	EndP50   float64 `json:"endP50"`
	EndP99   float64 `json:"endP99"`
	LagMax   float64 `json:"lagMax"`
	CPU      float64 `json:"cpu"`  // of the generator's process, in cores
	Busy     float64 `json:"busy"` // of the machine, 0 to 1; negative: not known
}

// Machine has figures of the machine that made the load, which show whether it was the limit.
type Machine struct {
	Cores int    `json:"cores"`
	Go    string `json:"go"`
	OS    string `json:"os"`
	// CPU of the generator's process, in cores, on average; Busy of the machine, 0 to 1, negative
	// when it is not known. BusyShare is the share of the time in which it was above 90 %.
	CPU       float64 `json:"cpu"`
	Busy      float64 `json:"busy"`
	BusyShare float64 `json:"busyShare"`
	// Lag is how late submits were written, except those that waited for a socket.
	Lag Summary `json:"lag"`
	// SchedP99 is the p99 of the time for which runnable goroutines waited for a processor, in milliseconds.
	SchedP99    float64 `json:"schedP99"`
	Descriptors uint64  `json:"descriptors"` // limit of the process; 0: not known
	// OutOfDescriptors and OutOfPorts count connects that failed for that reason.
	OutOfDescriptors int64 `json:"outOfDescriptors"`
	OutOfPorts       int64 `json:"outOfPorts"`
	GetsSkipped      int64 `json:"getsSkipped"` // because too many were in flight
	MaxRSSMiB        int64 `json:"maxRSSMiB"`
	// Findings has one sentence for each condition that has distorted the measurements. If there is none, it has one that
	// says so.
	Findings []string `json:"findings"`
	// Limited reports that by at least one finding the machine was the limit, not the server.
	Limited bool `json:"limited"`
}
