package history

import (
	"slices"
	"sync"
	"time"

	"github.com/ackwire/ackwire/tracker/fold"
)

// state is what is known of the job at a place of the log.
type state int

const (
	waiting state = iota // its first record was not met yet
	folding              // it is folded from its first record
	lost                 // records of it were removed: nothing is known any more
)

// mark is how far a job's history was read.
type mark struct {
	next     int64 // the next offset
	state    state
	job      *fold.Job // while folding; nil also if it was removed
	earliest time.Time // of the first record that was read
}

// lose gives up to fold the job.
func (m *mark) lose() { m.state, m.job = lost, nil }

// maxMarks bounds the marks that are kept. Each has a job, whose document is bounded.
const maxMarks = 64

// marks are the marks of the last readings. Without one, a history is read again from its beginning.
type marks struct {
	mu   sync.Mutex // guards all below
	last []kept     // the one that was used last is the last
}

type kept struct {
	jobID, life string
	mark
}

// find returns the job's mark that is the nearest before an offset.
func (m *marks) find(jobID, life string, before int64) (mark, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	best := -1
	for i, k := range m.last {
		if k.jobID == jobID && k.life == life && k.next <= before && (best < 0 || k.next > m.last[best].next) {
			best = i
		}
	}
	if best < 0 {
		return mark{}, false
	}
	found := m.last[best]
	m.last = append(slices.Delete(m.last, best, best+1), found)
	return found.mark, true
}

// put keeps a mark.
func (m *marks) put(jobID, life string, at mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = slices.DeleteFunc(m.last, func(k kept) bool {
		return k.jobID == jobID && k.life == life && k.next == at.next
	})
	m.last = append(m.last, kept{jobID, life, at})
	m.last = m.last[max(0, len(m.last)-maxMarks):]
}
