package queue

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// MaxAge is how old a report may be that counts. Trackers send one every three seconds at least.
const MaxAge = 5 * time.Second

// maxPartitions bounds the partitions that reports may speak of, as a gateway's own setting does.
const maxPartitions = 10_000

// Board is what the trackers of one system report. Its methods may be called from any goroutine. A nil Board knows
// nothing.
type Board struct {
	// acked has a counter for each lane of the gateway's job types: jobs acked since it runs. Set by NewBoard, then only
	// read.
	acked map[string]*atomic.Int64

	state atomic.Pointer[state] // nil: nothing is known

	mu      sync.Mutex // guards reports
	reports map[uint64]*report
}

// report is a tracker's newest.
type report struct {
	*trackerpb.Queues
	at    time.Time
	acked map[string]int64 // Board.acked when it came
}

// state is what all reports say together. It is not changed once it is made.
type state struct {
	at    time.Time // of the oldest report
	lanes map[string]*summary
}

// summary is what all reports say of one lane.
type summary struct {
	lane
	acked float64 // the counter when the reports came, each by its share of the partitions
}

// NewBoard returns a board for lanes.
func NewBoard(lanes []string) *Board {
	b := &Board{acked: map[string]*atomic.Int64{}, reports: map[uint64]*report{}}
	for _, name := range lanes {
		b.acked[name] = &atomic.Int64{}
	}
	return b
}

// Note takes the newest report of a stream.
func (b *Board) Note(stream uint64, q *trackerpb.Queues, now time.Time) {
	r := &report{Queues: q, at: now, acked: make(map[string]int64, len(b.acked))}
	for name, n := range b.acked {
		r.acked[name] = n.Load()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reports[stream] = r
	b.state.Store(b.sum())
}

// Forget drops the report of a stream that has ended.
func (b *Board) Forget(stream uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reports[stream] != nil {
		delete(b.reports, stream)
		b.state.Store(b.sum())
	}
}

// Acked counts a job that is acked now, and returns its place in its lane. It asks nobody and waits for nothing.
func (b *Board) Acked(name string, now time.Time) Place {
	if b == nil || b.acked[name] == nil {
		return Place{}
	}
	total := b.acked[name].Add(1)
	s := b.state.Load()
	if s == nil || now.Sub(s.at) > MaxAge {
		return Place{}
	}
	k := s.lanes[name]
	if k == nil {
		return Place{}
	}
	return k.place(max(0, int64(float64(total-1)-k.acked+0.5)), now.Sub(s.at))
}

// sum adds the reports up. It returns nil unless each partition is in exactly one of them. b.mu is held.
func (b *Board) sum() *state {
	var of int32
	seen := map[int32]bool{}
	s := &state{lanes: map[string]*summary{}}
	for _, r := range b.reports {
		if len(r.Partitions) == 0 {
			continue // of a tracker without partitions, or that knows nothing now
		}
		if of == 0 {
			of, s.at = r.Total, r.at
		}
		if r.Total != of || of > maxPartitions || len(seen)+len(r.Partitions) > int(of) {
			return nil
		}
		for _, p := range r.Partitions {
			if seen[p] || p < 0 || p >= of {
				return nil
			}
			seen[p] = true
		}
		if r.at.Before(s.at) {
			s.at = r.at
		}
	}
	if of == 0 || len(seen) != int(of) {
		return nil
	}
	for name := range b.acked {
		if k := b.sumLane(name, of); k != nil {
			s.lanes[name] = k
		}
	}
	return s
}

// sumLane adds up what the reports say of a lane; nil if one of them does not say.
func (b *Board) sumLane(name string, of int32) *summary {
	k := &summary{}
	paced := 0 // partitions of the trackers that know a pace
	for _, r := range b.reports {
		if len(r.Partitions) == 0 {
			continue
		}
		share := float64(len(r.Partitions)) / float64(of)
		k.acked += share * float64(r.acked[name])
		q := find(r.Lanes, name)
		switch {
		case q != nil:
			k.waiting += max(q.Waiting, 0)
			k.started += max(q.Started, 0)
			k.served = k.served || q.Served
			if q.Pace > 0 {
				k.pace += q.Pace
				paced += len(r.Partitions)
			}
		case r.Others:
			return nil
		}
	}
	if paced > 0 { // jobs are spread evenly over partitions, so the others' pace is as theirs
		k.pace *= float64(of) / float64(paced)
	}
	return k
}

func find(lanes []*trackerpb.Queue, name string) *trackerpb.Queue {
	for _, q := range lanes {
		if q.Lane == name {
			return q
		}
	}
	return nil
}
