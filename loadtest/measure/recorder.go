package measure

import (
	"maps"
	"sync"
	"time"

	"github.com/ackwire/ackwire/loadtest/scenario"
	"github.com/ackwire/ackwire/schemas/job"
)

// maxPoints bounds the timeline.
const maxPoints = 600

// Recorder records the measurements of a run. It may be used from any goroutine; its memory does not grow with the run.
type Recorder struct {
	// Set by NewRecorder, then only read.
	scenario *scenario.Scenario
	interval time.Duration
	total    map[Series]*Latencies
	jobs     []*part
	phases   []*part
	tickAck  *Latencies // since the last tick
	tickEnd  *Latencies
	tickLag  *Latencies

	mu       sync.Mutex // guards all below
	began    time.Time  // of the first phase; zero before
	stage    string
	phase    int
	counts   Counts
	errors   map[string]int64
	losses   map[string]int64
	skipped  int64
	noFiles  int64
	noPorts  int64
	timeline []Point
	last     tick
	usage    usage
}

// part has the figures of one kind of job or one phase.
type part struct {
	ack, end   *Latencies
	arrivals   int64 // of a phase
	refused    int64
	acked      int64
	ended      map[string]int64
	unexpected int64
}

// tick has the counters at the last Tick.
type tick struct {
	at     time.Time
	counts Counts
	usage  usage
}

// NewRecorder returns an empty recorder for a scenario.
func NewRecorder(s *scenario.Scenario) *Recorder {
	r := &Recorder{
		scenario: s, total: map[Series]*Latencies{}, errors: map[string]int64{}, losses: map[string]int64{},
		tickAck: NewLatencies(), tickEnd: NewLatencies(), tickLag: NewLatencies(),
		interval: max(time.Second, (s.Duration() / maxPoints).Round(time.Second)),
		stage:    "starting", phase: -1,
	}
	for _, name := range AllSeries {
		r.total[name] = NewLatencies()
	}
	newPart := func() *part { return &part{ack: NewLatencies(), end: NewLatencies(), ended: map[string]int64{}} }
	for range s.Jobs {
		r.jobs = append(r.jobs, newPart())
	}
	for range s.Phases {
		r.phases = append(r.phases, newPart())
	}
	return r
}

// Interval returns the interval at which Tick must be called.
func (r *Recorder) Interval() time.Duration { return r.interval }

// Stage records what the run does now; phase is the index of the current phase, or -1.
func (r *Recorder) Stage(name string, phase int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stage, r.phase = name, phase
}

// Begin records that the first phase begins now.
func (r *Recorder) Begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began = time.Now()
	r.usage = readUsage()
	r.last = tick{at: r.began, counts: r.counts, usage: r.usage}
}

// Count changes the counters.
func (r *Recorder) Count(change func(*Counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.counts)
}

// Of describes the submit to which a measurement belongs.
type Of struct {
	Job, Phase int
	Slow       bool // of a slow client
}

func (r *Recorder) measured(o Of) bool { return r.scenario.Phases[o.Phase].Measured }

// Arrived counts a submit that is due.
func (r *Recorder) Arrived(phase int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Arrivals++
	r.counts.Backlog++
	r.phases[phase].arrivals++
}

// Sent records that a submit is being written, lag after it was due. One that had to wait for a socket does not count
// for the generator's own lag.
func (r *Recorder) Sent(o Of, lag time.Duration, waited bool) {
	if waited {
		return
	}
	r.tickLag.Record(lag, nil)
	if r.measured(o) {
		r.total[Lag].Record(lag, nil)
	}
}

// Acked counts a submit that was acked, d after it was due.
func (r *Recorder) Acked(o Of, d time.Duration, duplicate bool) {
	r.mu.Lock()
	r.counts.Acked++
	r.counts.InFlight--
	r.counts.Open++
	if duplicate {
		r.counts.Duplicates++
	}
	if r.measured(o) {
		r.jobs[o.Job].acked++
	}
	r.mu.Unlock()
	r.latency(o, Ack, d)
}

// Seen records that a submit's own client saw its job's end, d after the submit was due.
func (r *Recorder) Seen(o Of, d time.Duration) { r.latency(o, End, d) }

// Ended counts a job whose end is known by a status or a GET. It must be called once for each job.
func (r *Recorder) Ended(o Of, state job.State) {
	want := r.scenario.Jobs[o.Job].Ends
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Open--
	switch state {
	case job.Completed:
		r.counts.Completed++
	case job.Failed:
		r.counts.Failed++
	case job.Cancelled:
		r.counts.Cancelled++
	}
	unexpected := want != "" && want != state
	if unexpected {
		r.counts.Unexpected++
	}
	if r.measured(o) {
		r.jobs[o.Job].ended[string(state)]++
		if unexpected {
			r.jobs[o.Job].unexpected++
		}
	}
}

func (r *Recorder) latency(o Of, series Series, d time.Duration) {
	if o.Slow {
		if r.measured(o) {
			r.total[map[Series]Series{Ack: SlowAck, End: SlowEnd}[series]].Record(d, nil)
		}
		return
	}
	pick := func(p *part) *Latencies {
		if series == Ack {
			return p.ack
		}
		return p.end
	}
	pick(r.phases[o.Phase]).Record(d, nil)
	if series == Ack {
		r.tickAck.Record(d, nil)
	} else {
		r.tickEnd.Record(d, nil)
	}
	if r.measured(o) {
		pick(r.jobs[o.Job]).Record(d, nil)
		r.total[series].Record(d, nil)
	}
}

// Took records any other latency.
func (r *Recorder) Took(series Series, d time.Duration) { r.total[series].Record(d, nil) }

// Refused counts a submit that was answered with an error.
func (r *Recorder) Refused(o Of) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Refused++
	r.counts.InFlight--
	r.phases[o.Phase].refused++
}

// Error counts an error by its code, for any kind of request.
func (r *Recorder) Error(code string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors[code]++
}

// Lost counts a socket that ended and that the scenario did not cut.
func (r *Recorder) Lost(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Losses++
	r.losses[why]++
}

// Exhausted counts a connect that failed because this machine has run out of file descriptors or ports.
func (r *Recorder) Exhausted(descriptors bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if descriptors {
		r.noFiles++
	} else {
		r.noPorts++
	}
}

// GetSkipped counts a GET of the scenario that was left out because too many were in flight.
func (r *Recorder) GetSkipped() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skipped++
}

// Tick adds a point to the timeline.
func (r *Recorder) Tick() {
	_, ackP50, ackP99, _ := r.tickAck.take()
	_, endP50, endP99, _ := r.tickEnd.take()
	_, _, _, lag := r.tickLag.take()
	r.mu.Lock()
	defer r.mu.Unlock()
	now, c, u := time.Now(), r.counts, readUsage()
	passed := now.Sub(r.last.at).Seconds()
	if r.began.IsZero() || passed <= 0 {
		return
	}
	was := r.last.counts
	rate := func(n int64) float64 { return float64(n) / passed }
	p := Point{
		At: now.Sub(r.began).Seconds(), Phase: r.stage,
		Arrivals: rate(c.Arrivals - was.Arrivals), Acked: rate(c.Acked - was.Acked),
		Ended:   rate(c.Completed + c.Failed + c.Cancelled - was.Completed - was.Failed - was.Cancelled),
		Errors:  rate(c.Refused + c.Unanswered + c.Dropped - was.Refused - was.Unanswered - was.Dropped),
		Sockets: c.Sockets, InFlight: c.InFlight, Open: c.Open, Backlog: c.Backlog,
		AckP50: ackP50, AckP99: ackP99, EndP50: endP50, EndP99: endP99, LagMax: lag,
		CPU: u.cpuSince(r.last.usage, passed), Busy: u.busySince(r.last.usage),
	}
	r.last = tick{now, c, u}
	if len(r.timeline) < 2*maxPoints { // the time after the schedule has points, too
		r.timeline = append(r.timeline, p)
	}
}

// Snapshot has the figures of a run at one moment.
type Snapshot struct {
	Stage   string
	Phase   int // -1: none
	Elapsed time.Duration
	Counts  Counts
	Errors  map[string]int64
	Losses  map[string]int64
	Ack     Summary // of measured phases so far
	End     Summary
	Last    []Point // the newest points, oldest first
}

// Snapshot returns the current figures of the run, with at most points points of the timeline.
func (r *Recorder) Snapshot(points int) Snapshot {
	ack, end := r.total[Ack].Summary(), r.total[End].Summary()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Snapshot{
		Stage: r.stage, Phase: r.phase, Counts: r.counts, Ack: ack, End: end,
		Errors: maps.Clone(r.errors), Losses: maps.Clone(r.losses),
	}
	if !r.began.IsZero() {
		s.Elapsed = time.Since(r.began)
	}
	s.Last = append(s.Last, r.timeline[max(0, len(r.timeline)-points):]...)
	return s
}
