package shard

import (
	"cmp"
	"container/list"
	"context"
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// Bounds of what a shard tells of its workers.
const (
	MaxHolders = 1024 // workers
	MaxHolds   = 20   // jobs of each, the oldest
	maxLaneRow = 256  // lanes
	// holdersAtOnce is of how many workers the jobs are copied before other questions have a turn.
	holdersAtOnce = 32
)

// holdings knows which jobs each worker holds: those that are processing, all of which are in memory. Workers are known
// by them whether they announce themselves or not. Owned by the shard's goroutine.
type holdings struct {
	holders map[string]*holder
	order   list.List        // of *holder: the one that has held jobs for longest is the first
	lanes   map[string]int64 // jobs that are processing, by lane
}

// holder is a worker that holds jobs.
type holder struct {
	name string
	jobs list.List // of *entry, those that it has held for longest first
	at   *list.Element
}

// held is an entry's place among its holder's jobs. Its fields are nil and empty while no run holds the job.
type held struct {
	by   *holder
	at   *list.Element
	run  string
	lane string
}

func newHoldings() holdings {
	return holdings{holders: map[string]*holder{}, lanes: map[string]int64{}}
}

// begin takes the jobs that runs hold in the store.
func (h *holdings) begin(running []*entry) {
	running = slices.DeleteFunc(running, func(e *entry) bool { return !isHeld(e) })
	slices.SortFunc(running, func(a, b *entry) int { return since(a).Compare(since(b)) })
	for _, e := range running {
		if e.job.Doc.Progress != nil {
			e.progressed = e.job.RenewedAt // at the latest
		}
		h.changed(e)
	}
}

func isHeld(e *entry) bool { return e.job != nil && e.job.Doc.State == job.Processing }

// changed takes a job that may have another run, or none.
func (h *holdings) changed(e *entry) {
	run := ""
	if isHeld(e) {
		run = e.job.Run
	}
	if e.held.run == run && (run == "" || e.held.by.name == e.job.Worker) {
		return
	}
	h.release(e)
	if run == "" {
		e.progressed = time.Time{}
		return
	}
	by := h.holders[e.job.Worker]
	if by == nil {
		by = &holder{name: e.job.Worker}
		by.at = h.order.PushBack(by)
		h.holders[by.name] = by
	}
	e.held = held{by: by, at: by.jobs.PushBack(e), run: run, lane: e.job.Lane}
	h.lanes[e.held.lane]++
}

func (h *holdings) release(e *entry) {
	was := e.held
	if was.by == nil {
		return
	}
	e.held, e.progressed = held{}, time.Time{}
	was.by.jobs.Remove(was.at)
	if was.by.jobs.Len() == 0 {
		h.order.Remove(was.by.at)
		delete(h.holders, was.by.name)
	}
	h.lanes[was.lane]--
	if h.lanes[was.lane] == 0 {
		delete(h.lanes, was.lane)
	}
}

// since returns when the run that holds a job has claimed it.
func since(e *entry) time.Time {
	if runs := e.job.Doc.Attempts; len(runs) > 0 && runs[len(runs)-1].EndedAt == nil {
		return runs[len(runs)-1].StartedAt
	}
	return e.job.RenewedAt
}

// Hold is a job that a worker holds.
type Hold struct {
	JobID, Tenant, Type, Lane string
	Attempt                   int
	Since                     time.Time // when the worker claimed it
	LastSign                  time.Time // when the run was last heard of
	Progressed                time.Time // when it last told progress; zero if it has not
	Percent                   float64   // of that progress
	Stage                     string
}

// Holding is what one worker holds of a shard's jobs.
type Holding struct {
	Worker string
	Jobs   int    // how many
	Oldest []Hold // MaxHolds at most
}

// Holdings is what all workers hold of a shard's jobs.
type Holdings struct {
	Workers []Holding
	Lanes   map[string]int64 // jobs that are processing
	AsOf    time.Time
	More    bool // there are more workers or lanes
}

// Holdings returns what each worker holds. It asks for it in small parts, so that others need not wait: a job that
// moves on meanwhile may be told twice, or not at all.
func (s *Shard) Holdings(ctx context.Context) (all Holdings, err error) {
	summed := make(chan answer[holdingsSum], 1)
	sum, err := await(ctx, s, summed, func() {
		if !s.catching.ready.Load() {
			summed <- answer[holdingsSum]{err: ErrNotReady}
			return
		}
		sum := s.holdings.sum()
		sum.AsOf = s.clock.fresh.asOf
		summed <- answer[holdingsSum]{value: sum}
	})
	if err != nil {
		return Holdings{}, err
	}
	all = sum.Holdings
	for some := range slices.Chunk(sum.names, holdersAtOnce) {
		reply := make(chan answer[[]Holding], 1)
		part, err := await(ctx, s, reply, func() { reply <- answer[[]Holding]{value: s.holdings.of(some)} })
		if err != nil {
			return Holdings{}, err
		}
		all.Workers = append(all.Workers, part...)
	}
	return all, nil
}

// holdingsSum is what is told first: what is said of all, and which workers there are.
type holdingsSum struct {
	Holdings
	names []string
}

func (h *holdings) sum() holdingsSum {
	told := holdingsSum{Holdings: Holdings{Lanes: map[string]int64{},
		More: h.order.Len() > MaxHolders || len(h.lanes) > maxLaneRow}}
	for e := h.order.Front(); e != nil && len(told.names) < MaxHolders; e = e.Next() {
		told.names = append(told.names, e.Value.(*holder).name)
	}
	for lane, n := range h.lanes {
		if len(told.Lanes) == maxLaneRow {
			break
		}
		told.Lanes[lane] = n
	}
	return told
}

// of returns what workers hold now; one that holds nothing any more is left out.
func (h *holdings) of(names []string) (all []Holding) {
	for _, name := range names {
		by := h.holders[name]
		if by == nil {
			continue
		}
		w := Holding{Worker: name, Jobs: by.jobs.Len()}
		for at := by.jobs.Front(); at != nil && len(w.Oldest) < MaxHolds; at = at.Next() {
			w.Oldest = append(w.Oldest, holdOf(at.Value.(*entry)))
		}
		all = append(all, w)
	}
	return all
}

func holdOf(e *entry) Hold {
	j := e.job
	hold := Hold{JobID: e.id, Tenant: j.Tenant, Type: j.Doc.Type, Lane: j.Lane, Attempt: j.Doc.Attempt,
		Since: since(e), LastSign: j.RenewedAt, Progressed: e.progressed}
	if p := j.Doc.Progress; p != nil {
		hold.Percent, hold.Stage = p.Percent, p.Stage
	}
	return hold
}

// Merge returns what two shards tell of one worker.
func (w Holding) Merge(other Holding) Holding {
	w.Jobs += other.Jobs
	w.Oldest = append(slices.Clip(w.Oldest), other.Oldest...)
	slices.SortFunc(w.Oldest, func(a, b Hold) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.JobID, b.JobID))
	})
	w.Oldest = w.Oldest[:min(len(w.Oldest), MaxHolds)]
	return w
}
