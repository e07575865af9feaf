package history

import (
	"cmp"
	"hash/maphash"
	"os"
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// Invariant is a promise that Check checks. For a job, and with I3 for a client of it, each is reported at most once,
// and only the one that is the cause: a lost job is not also reported as not ended.
type Invariant string

// The invariants.
const (
	Lost      Invariant = "I1"  // acked, and at the end it cannot be read
	Outcome   Invariant = "I2"  // a second outcome, or a state after the end, without a retry
	Unspent   Invariant = "I2a" // an attempt was spent without a run
	Delivery  Invariant = "I3"  // versions do not rise, one came twice or unsubscribed, or the end never came
	ReadWrite Invariant = "I4"  // a GET after the ack answered 404, though the job was there later
	Ends      Invariant = "I7"  // acked, and not ended in time after the last fault
	// Continuation: what came of an output does not continue what the client has, or is not what the job has written.
	Continuation Invariant = "I9"
)

// Titles describe the invariants.
var Titles = map[Invariant]string{
	Lost:      "an acked job becomes queryable; nothing acked is lost",
	Outcome:   "one terminal outcome; terminal absorbs",
	Unspent:   "an attempt is spent only by a run of it that began",
	Delivery:  "per socket or event stream the versions of a job strictly rise, and the last one seen is the terminal one",
	ReadWrite: "a GET after an ack never answers 404",
	Ends:      "after the last fault every acked job ends in time",
	Continuation: "what arrives of a job's stream goes on exactly where the client is, and is in the end what the run " +
		"that counts has written",
}

// Invariants lists all invariants.
var Invariants = []Invariant{Lost, Outcome, Unspent, Delivery, ReadWrite, Ends, Continuation}

// Violation is one broken promise.
type Violation struct {
	Invariant Invariant `json:"invariant"`
	Job       string    `json:"job"`
	Client    int       `json:"client,omitempty"` // the client that saw it; 0 if it does not concern one client
	Stream    int       `json:"stream,omitempty"` // the client's event stream, if it concerns one
	Output    string    `json:"output,omitempty"` // the output of the job, if it concerns one
	What      string    `json:"what"`
	// Records are the job's, oldest first: the first and the last of them if they are many.
	Records []Record `json:"records"`
	Omitted int      `json:"omittedRecords,omitempty"`
}

// Verdict is the result of Check.
type Verdict struct {
	Scenario string `json:"scenario"`
	// Complete reports that the run came to its end. If it was stopped before, the invariants on what
	// should have come by the end are not checked.
	Complete bool  `json:"complete"`
	Records  int64 `json:"records"`
	Clients  int   `json:"clients"`
	Acked    int64 `json:"acked"`
	Ended    int64 `json:"ended"`
	Statuses int64 `json:"statuses"`
	Gets     int64 `json:"gets"`
	// Outputs is the number of followers of outputs, and Parts of the parts that they have received.
	Outputs int64 `json:"outputs"`
	Parts   int64 `json:"parts"`
	// Unproven is the number of acked jobs of which no status came, and which were not read at the end
	// because only a share was.
	Unproven   int64       `json:"unproven"`
	Faults     int64       `json:"faults"`
	Violations []Violation `json:"violations"`
	// Found is the number of all violations; the list has at most MaxViolations.
	Found int64 `json:"found"`
}

// Bounds of a check.
const (
	MaxViolations = 200
	maxRecords    = 40 // of one violation
	// passBytes bounds the memory of a check: a larger history is read several times, for a part of its
	// jobs each time.
	passBytes = 256 << 20
)

// Check reads a history and checks all invariants.
//
// It cannot find: a skipped status, for a server may conflate (only the last one must come); a missing status of a job
// that no client watched, or on a socket that closed; a job that ran twice (at least once is promised); errors in other
// fields of documents than state, version and attempts; a status that comes twice before its job's end on an event
// stream of several jobs; the loss of a job whose ack was lost with its socket; another text in an output of which it
// does not know what the job writes, if all who follow it receive the same.
func Check(name string) (*Verdict, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	passes := uint64(info.Size()/passBytes) + 1
	v := &Verdict{Violations: []Violation{}}
	for pass := range passes {
		if err := checkPart(name, v, pass, passes); err != nil {
			return nil, err
		}
	}
	order := func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Invariant, b.Invariant), cmp.Compare(a.Job, b.Job), cmp.Compare(a.Client, b.Client),
			cmp.Compare(a.Stream, b.Stream))
	}
	slices.SortFunc(v.Violations, order)
	return v, v.gather(name)
}

var seed = maphash.MakeSeed()

func checkPart(name string, v *Verdict, pass, passes uint64) error {
	c := checker{
		verdict: v, jobs: map[string]*jobSeen{},
		conns: map[follower]int{}, mine: map[int]following{}, streams: map[int]*streamSeen{},
	}
	err := Read(name, func(r Record) bool {
		if pass == 0 {
			v.count(r)
			c.stream(r)
		}
		if r.Job == "" || maphash.String(seed, r.Job)%passes == pass {
			c.add(r)
		}
		return true
	})
	if err != nil {
		return err
	}
	c.finish()
	return nil
}

func (v *Verdict) count(r Record) {
	v.Records++
	v.Clients = max(v.Clients, r.Client)
	switch r.Kind {
	case Run:
		v.Scenario = r.Run.Scenario
	case Status:
		v.Statuses++
	case Get:
		v.Gets++
	case Fault:
		v.Faults++
	case End:
		v.Complete = true
	}
}

func (v *Verdict) found(x Violation) {
	v.Found++
	if len(v.Violations) < MaxViolations {
		v.Violations = append(v.Violations, x)
	}
}

// gather adds the records of its job to each violation. If it concerns one client, records of other clients are left
// out, except acks and GETs, which concern the job itself.
func (v *Verdict) gather(name string) error {
	if len(v.Violations) == 0 {
		return nil
	}
	byJob, byStream := map[string][]*Violation{}, map[int][]*Violation{}
	for i := range v.Violations {
		x := &v.Violations[i]
		byJob[x.Job] = append(byJob[x.Job], x)
		if x.Stream != 0 {
			byStream[x.Stream] = append(byStream[x.Stream], x)
		}
	}
	return Read(name, func(r Record) bool {
		of := byJob[r.Job]
		if r.Stream != 0 && r.Job == "" {
			of = byStream[r.Stream]
		}
		for _, x := range of {
			another := r.Client != x.Client || r.Stream != x.Stream
			if x.Client != 0 && another && r.Kind != Ack && r.Kind != Get && r.Kind != Retry {
				continue
			}
			x.Records = append(x.Records, r)
			if len(x.Records) > maxRecords { // the middle ones are the least useful
				x.Records = slices.Delete(x.Records, maxRecords/2, maxRecords/2+1)
				x.Omitted++
			}
		}
		return true
	})
}

// checker is the state of one pass.
type checker struct {
	verdict       *Verdict
	jobs          map[string]*jobSeen
	conns         map[follower]int // by follower: its open connection
	mine          map[int]following
	streams       map[int]*streamSeen // in the first pass only
	endsWithin    time.Duration
	deliverWithin time.Duration
	lastFault     time.Duration
	end           time.Duration
	complete      bool
}

// jobSeen is what the records so far say of one job.
type jobSeen struct {
	acked   time.Duration // negative before the ack
	told    bool          // a status or a GET has shown it
	missed  bool          // a GET after the ack found nothing
	lastGet int           // HTTP status of the last GET that was answered; 0: none
	getFail bool          // some GET was not answered with 200 or 404

	endVersion int64 // of the outcome; 0: none seen
	endState   job.State
	endAt      time.Duration
	beyond     int64 // the highest version seen that was not terminal
	retried    int64 // versions up to this were before the last retry
	retries    int

	broken map[Invariant]bool
	subs   map[follower]*sub

	outputs map[outputOf]*outputSeen
	totals  map[string]int64 // by output, as the document of the ended job says
}

// follower is a receiver of statuses: a client's socket, or one of its event streams.
type follower struct{ client, stream int }

func (r Record) follower() follower { return follower{r.Client, r.Stream} }

// following is a client's watch of all jobs of its subject.
type following struct {
	conn int
	open bool // answered
}

// sub is what one follower has received of a job, by all of its subscriptions that cover the job: its own, its
// submit's, and that to all jobs of its subject.
type sub struct {
	conn   int
	open   bool // answered, or opened by an ack
	since  time.Duration
	last   int64 // the highest version seen, or asked to be above of
	seen   int64 // the highest version seen on this connection
	ended  bool
	broken bool
}

func (c *checker) job(id string) *jobSeen {
	j := c.jobs[id]
	if j == nil {
		j = &jobSeen{acked: -1, subs: map[follower]*sub{}}
		c.jobs[id] = j
	}
	return j
}

func (c *checker) add(r Record) {
	if c.complete {
		return // the generator has closed its own sockets
	}
	switch r.Kind {
	case Run:
		c.endsWithin, c.deliverWithin = r.Run.EndsWithin.Duration(), r.Run.DeliverWithin.Duration()
	case Open:
		c.conns[r.follower()] = r.Conn
	case Answered:
		if r.Code == 200 {
			c.conns[r.follower()] = r.Conn
		}
	case Close:
		if c.conns[r.follower()] == r.Conn {
			delete(c.conns, r.follower())
		}
	case Fault:
		c.lastFault = r.Time()
	case End:
		c.complete, c.end = true, r.Time()
	case Ack:
		c.ack(r)
	case Retry:
		c.retry(r)
	case Watch, Watched:
		if r.Job == "" {
			c.follow(r)
		} else {
			c.watch(r)
		}
	case Status:
		c.status(r)
	case Get:
		c.get(r)
	case Follow:
		c.followOutput(r)
	case Part:
		c.part(r)
	}
}
