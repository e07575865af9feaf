package shard

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/fold"
)

// Lanes and types of jobs are labels, and come from records that anybody may write: the first
// ones that are met have series of their own, all later ones share one.
const (
	maxLanes     = 32
	maxKinds     = 64 // pairs of lane and type
	maxTypeChars = 64 // a longer name is no label
	other        = "other"
)

// attemptOutcome is how an attempt ended.
type attemptOutcome string

const (
	attemptCompleted attemptOutcome = "completed"
	attemptFailed    attemptOutcome = "failed"    // and so did its job
	attemptRetried   attemptOutcome = "retried"   // it failed, and another one follows
	attemptReleased  attemptOutcome = "released"  // its worker stopped
	attemptUnserved  attemptOutcome = "unserved"  // its worker could not run it
	attemptLost      attemptOutcome = "lost"      // the lease ran out
	attemptTimeout   attemptOutcome = "timeout"   // it took too long
	attemptCancelled attemptOutcome = "cancelled" // its job's owner had it stopped
)

var attemptOutcomes = []attemptOutcome{
	attemptCompleted, attemptFailed, attemptRetried, attemptReleased, attemptUnserved, attemptLost,
	attemptTimeout, attemptCancelled,
}

// handlerCode stands for every code of a job's error that is not Ackwire's own.
const handlerCode = "handler"

// openStates are those of jobs that have not ended.
var openStates = slices.DeleteFunc(slices.Clone(job.States), job.State.Terminal)

// Lanes are the metrics of lanes and of the types of jobs in them.
type Lanes struct {
	seconds  *prometheus.HistogramVec
	attempts *prometheus.CounterVec
	failures *prometheus.CounterVec
	leases   *prometheus.CounterVec
	jobs     *prometheus.GaugeVec

	mu    sync.RWMutex // guards all below
	lanes map[string]*lane
	kinds map[kindName]*kind
}

type kindName struct{ lane, jobType string }

// lane is one lane's metrics. They are found once, for a fold must not look for them.
type lane struct {
	jobs     map[job.State]prometheus.Gauge
	attempts map[attemptOutcome]prometheus.Counter
	failures map[string]prometheus.Counter
	leases   prometheus.Counter

	waiting atomic.Int64 // jobs that may run and have no worker's slot yet
	started atomic.Int64 // runs that have started; it never falls
}

// kind is the metrics of a lane's jobs of one type.
type kind struct {
	*lane
	wait, run, total prometheus.Observer
}

func newLanes(m meter.Meter) *Lanes {
	l := &Lanes{
		seconds: m.HistogramVec("job_seconds",
			"How long jobs took, by the log's clock: wait, from when a job was accepted, due or retried by its owner until a "+
				"worker claimed it; "+
				"run, from the last claim to the job's end; total, from the beginning of wait to the end.", meter.Slow, "lane",
			"type", "stage"),
		attempts: m.CounterVec("attempts_total",
			"Attempts that ended, by how; failed is the last one of its job, retried has a next one, released and unserved "+
				"are given back and cost nothing.", "lane", "outcome"),
		failures: m.CounterVec("job_failures_total",
			"Jobs that failed for good, by the code of their error; codes of handlers are all one.", "lane", "code"),
		leases: m.CounterVec("leases_expired_total",
			"Runs that were not heard of for a lease: their worker died, hung or was cut off.", "lane"),
		jobs:  m.GaugeVec("jobs", "Jobs of this tracker's partitions that have not ended, by state.", "lane", "state"),
		lanes: map[string]*lane{},
		kinds: map[kindName]*kind{},
	}
	l.kind(topic.WebhookLane, topic.WebhookType)
	return l
}

// Names lists the lanes that have metrics of their own.
func (l *Lanes) Names() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	names := make([]string, 0, len(l.lanes))
	for name := range l.lanes {
		if name != other {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// LaneQueue is what waits in a lane.
type LaneQueue struct {
	Name    string
	Waiting int64 // jobs that may run and have no worker's slot yet
	Started int64 // runs that have started since the tracker did
}

// Queues returns the queues of the lanes that have metrics of their own, sorted by name. others is true if there are
// lanes without.
func (l *Lanes) Queues() (queues []LaneQueue, others bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for name, in := range l.lanes {
		if name == other {
			others = true
			continue
		}
		queues = append(queues, LaneQueue{name, in.waiting.Load(), in.started.Load()})
	}
	slices.SortFunc(queues, func(a, b LaneQueue) int { return strings.Compare(a.Name, b.Name) })
	return queues, others
}

// Learn gives a lane metrics of its own, if there is room.
func (l *Lanes) Learn(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lane(name)
}

// kind returns the metrics of jobs of a lane and type.
func (l *Lanes) kind(laneName, jobType string) *kind {
	name := kindName{laneName, jobType}
	l.mu.RLock()
	k := l.kinds[name]
	l.mu.RUnlock()
	if k != nil {
		return k
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	in, laneName := l.lane(laneName)
	name.lane = laneName
	if laneName == other || len(l.kinds) >= maxKinds || !labelled(jobType) {
		name.jobType = other // one per lane, beyond maxKinds
	}
	k = l.kinds[name]
	if k == nil {
		k = &kind{lane: in}
		for stage, to := range map[string]*prometheus.Observer{"wait": &k.wait, "run": &k.run, "total": &k.total} {
			*to = l.seconds.WithLabelValues(name.lane, name.jobType, stage)
		}
		l.kinds[name] = k
	}
	return k
}

// lane returns a lane's metrics and the label that they have. l.mu is held.
func (l *Lanes) lane(name string) (*lane, string) {
	if l.lanes[name] == nil && (len(l.lanes) >= maxLanes || !topic.ValidLane(name)) {
		name = other
	}
	in := l.lanes[name]
	if in == nil {
		in = &lane{jobs: map[job.State]prometheus.Gauge{}, attempts: map[attemptOutcome]prometheus.Counter{},
			failures: map[string]prometheus.Counter{}, leases: l.leases.WithLabelValues(name)}
		for _, s := range openStates {
			in.jobs[s] = l.jobs.WithLabelValues(name, string(s))
		}
		for _, o := range attemptOutcomes {
			in.attempts[o] = l.attempts.WithLabelValues(name, string(o))
		}
		for _, c := range append(slices.Clone(job.Codes), handlerCode) {
			in.failures[c] = l.failures.WithLabelValues(name, c)
		}
		l.lanes[name] = in
	}
	return in, name
}

// labelled reports whether a type's name may be a label's value.
func labelled(jobType string) bool {
	if jobType == "" || len(jobType) > maxTypeChars || !utf8.ValidString(jobType) {
		return false
	}
	for _, r := range jobType {
		if !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}

func (l *lane) failed(code string) {
	c := l.failures[code]
	if c == nil {
		c = l.failures[handlerCode]
	}
	c.Inc()
}

// measure tells what an event has done to a job of this kind.
func (k *kind) measure(was, j *fold.Job, e *event.Event) {
	if was != nil && was.Doc.State == job.Processing && j.Doc.State != job.Processing {
		k.attempts[howEnded(j, e)].Inc()
		if e.Type == event.LeaseExpired {
			k.leases.Inc()
		}
		if j.Ended() {
			k.run.Observe(between(was.Doc.StartedAt.Add(-was.Skew), j.Doc.FinishedAt.Add(-j.Skew)))
		}
	}
	if j.Doc.StartedAt != nil && (was == nil || was.Doc.StartedAt == nil) {
		k.wait.Observe(between(dueAt(j), j.Doc.StartedAt.Add(-j.Skew)))
	}
	if j.Ended() && (was == nil || !was.Ended()) {
		k.total.Observe(between(dueAt(j), j.Doc.FinishedAt.Add(-j.Skew)))
		if j.Doc.State == job.Failed && j.Doc.Error != nil {
			k.failed(j.Doc.Error.Code)
		}
	}
}

// howEnded tells how the attempt ended that an event took from its run.
func howEnded(j *fold.Job, e *event.Event) attemptOutcome {
	switch {
	case e.Type == event.LeaseExpired:
		return attemptLost
	case e.Type == event.AttemptTimedOut:
		return attemptTimeout
	case j.Doc.State == job.Completed:
		return attemptCompleted
	case j.Doc.State == job.Cancelled:
		return attemptCancelled
	case e.Type == event.Released && e.Error != nil:
		return attemptUnserved
	case e.Type == event.Released:
		return attemptReleased
	case j.Doc.State == job.Failed:
		return attemptFailed
	}
	return attemptRetried
}

// dueAt is since when the job may run: it was accepted, its start time came, or its owner
// retried it.
func dueAt(j *fold.Job) time.Time {
	if j.Round == 0 && j.Doc.RunAt != nil && j.Doc.RunAt.After(j.RoundAt) {
		return *j.Doc.RunAt
	}
	return j.RoundAt
}

func between(from, to time.Time) float64 { return max(to.Sub(from), 0).Seconds() }
