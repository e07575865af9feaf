package model

import (
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

// nobody stands for no worker, tracker or submit.
const nobody = -1

// Time stands still in the model until a job expires. Then it advances by an era, which is longer than
// ended jobs are kept and than a claim of an unknown job is accepted.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	retention = time.Hour
	era       = 2 * retention
)

// known is the result of folding the log up to a position.
type known struct {
	job *fold.Job // nil: unknown or expired
	// life counts the jobs that have had this ID, for the model's own checks: the rules
	// do not see it.
	life int
}

// record is one event in the log of the job.
type record struct {
	offset int64
	time   time.Time
	msg    message
}

// message is an event or a request on its way to Kafka.
type message struct {
	e       *event.Event
	request *request // instead of e
	submit  int      // index of the submit that sent it, else nobody
	order   int      // number of a cancel or retry, from 1: each may take effect once
	life    int      // of the job that its sender saw; 0 if it saw none
}

// request is one record of the topic requests.
type request struct {
	dispatch int
	payload  string
	name     string // name of the life that its submit chose
	era      int    // in which it was written
	life     int    // for the checks: the life that took it; 0 while none has
}

// phase is how far a submit has come.
type phase int8

const (
	idle phase = iota
	requestSent
	acceptedSent
	acked
	conflicted
	indeterminate
)

// submit is one gateway's attempt to make the job.
type submit struct {
	phase   phase
	landed  bool // the record that it sent last has landed
	request event.Position
	verdict fold.Reason
}

// stance is what a run does.
type stance int8

const (
	claiming stance = iota // its claim is not known to be durable
	waiting                // for granted
	running                // its handler runs
)

// run is one execution on a worker.
type run struct {
	id       string
	worker   int
	dispatch int
	offset   int // of its request
	payload  string
	stance   stance
	ask      bool // it waits for granted before it starts
	again    bool // its request may have been read before
	beaten   bool // it has sent a beat; further beats would change nothing
}

// worker is one processor. It fetches the requests at and above next while it owns the
// partition.
type worker struct {
	next    int
	backlog int   // requests below it may be redeliveries
	fetched int   // requests below it were read in this tenure
	marked  []int // requests that are handled but not committed, because an earlier one is open
}

// tracker folds the log from a checkpoint on.
type tracker struct {
	up       bool
	position int64
	known    known
	produced int // dispatch whose request it has produced; 0: none
	at       int // offset of that request
}

// order is what a tracker tells a run.
type order struct {
	kind event.OrderType
	run  string
}

// state is the state of the whole model. It is never changed once it was reached.
type state struct {
	log      []record // events that a tracker or the checkpoint has not folded yet
	end      int64    // offset of the next record
	now      known    // the fold of the whole log
	requests []request
	deferred []request // of submits with a start time: no worker reads them
	commit   int       // of the workers' group
	due      bool      // the start time of a scheduled job has come
	era      int       // jobs that have expired so far

	messages []message
	submits  []submit
	owner    int // worker that owns the partition of requests
	workers  []worker
	runs     []run

	trackers   []tracker
	holder     int // tracker that owns the partition of status
	checkpoint tracker
	saver      int     // tracker that may write the checkpoint
	orders     []order // on their way to runs

	left left // how often each thing may still happen

	// For the checks only.
	won     []order // runs that won a dispatch of this life (kind is empty), by claim
	wonFor  []int   // their dispatches
	refused []string
	taken   []int  // retries of clients that took effect
	broken  string // the promise that the last step broke
}

// left counts down what a Config allows.
type left struct {
	faults, cancels, retries, releases, expiries, erasures int
	orders                                                 int // cancels and retries so far, counted up
}

// clone copies the state, including the slices that steps change in place.
func (s *state) clone() *state {
	c := *s
	c.log = slices.Clone(s.log)
	c.requests, c.deferred = slices.Clip(s.requests), slices.Clip(s.deferred)
	c.messages = slices.Clone(s.messages)
	c.submits = slices.Clone(s.submits)
	c.workers = slices.Clone(s.workers)
	c.runs = slices.Clone(s.runs)
	c.trackers = slices.Clone(s.trackers)
	c.orders = slices.Clone(s.orders)
	c.won, c.wonFor = slices.Clip(s.won), slices.Clip(s.wonFor)
	c.refused, c.taken = slices.Clone(s.refused), slices.Clip(s.taken)
	return &c
}

func (s *state) ended() bool { return s.now.job != nil && s.now.job.Ended() }

func (s *state) anyAcked() bool {
	return slices.ContainsFunc(s.submits, func(b submit) bool { return b.phase == acked })
}

// live reports whether the run is still on a worker.
func (s *state) live(id string) bool {
	return slices.ContainsFunc(s.runs, func(r run) bool { return r.id == id })
}

// freshRun returns the first name of a run that does not occur in the state.
func (s *state) freshRun() string {
	used := map[string]bool{}
	note := func(e *event.Event) {
		if e != nil {
			used[e.Run] = true
		}
	}
	for _, r := range s.runs {
		used[r.id] = true
	}
	for _, m := range s.messages {
		note(m.e)
	}
	for _, r := range s.log {
		note(r.msg.e)
	}
	for _, o := range slices.Concat(s.orders, s.won) {
		used[o.run] = true
	}
	for _, id := range s.refused {
		used[id] = true
	}
	s.eachKnown(func(k known) {
		if k.job != nil {
			used[k.job.Run] = true
		}
	})
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"} {
		if !used[id] {
			return id
		}
	}
	panic("model: more runs than names")
}

// time returns the timestamp of the next record.
func (s *state) time() time.Time { return epoch.Add(time.Duration(s.era) * era) }

// eachKnown calls f with the job as the log, the checkpoint and each tracker have it.
func (s *state) eachKnown(f func(known)) {
	f(s.now)
	f(s.checkpoint.known)
	for i := range s.trackers {
		f(s.trackers[i].known)
	}
}

// policy returns the policy of every job in the model. Its durations only decide which timers exist.
func policy(attempts int) *job.Policy {
	return &job.Policy{Attempts: attempts, Lease: 1, Grace: 1, Retention: job.Seconds(retention)}
}
