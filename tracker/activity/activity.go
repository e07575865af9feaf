// Package activity counts what happened to jobs in each of the last minutes, so that people see since when something
// is different. The counts live in memory only: a tracker that takes a partition over begins anew, and says since when
// it knows.
package activity

import (
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Minutes is how many minutes are kept: the current one and those before it.
const Minutes = 60

// MaxEntries bounds what the counts of all of a tracker's partitions take, some 200 bytes each: one entry is a tenant
// with a lane in a minute. What happens to others is not counted then.
const MaxEntries = 100_000

// What is a thing that happens to a job.
type What int

// What is counted.
const (
	Accepted What = iota
	Completed
	Failed
	Cancelled
	Kinds // how many there are
)

// Counts holds how often each thing has happened.
type Counts [Kinds]uint32

// Budget is the entries that the logs of a tracker have together. Its zero value has none in use.
type Budget struct{ used atomic.Int64 }

// Used returns the number of entries in use.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) take() bool {
	if b.used.Add(1) <= MaxEntries {
		return true
	}
	b.used.Add(-1)
	return false
}

type key struct{ tenant, lane string }

// minute is what happened in one minute.
type minute struct {
	number int64 // since the Unix epoch
	counts map[key]*Counts
	short  bool // entries were left out
}

// Log counts what happens to the jobs of one partition. It is not safe for concurrent use.
type Log struct {
	budget  *Budget
	minutes [Minutes]minute
	since   time.Time
}

// NewLog returns a log that knows all that happens from a time on.
func NewLog(b *Budget, since time.Time) *Log { return &Log{budget: b, since: since} }

// From says that the log is told of everything from this time on, if that is earlier than was known.
func (l *Log) From(at time.Time) {
	if at.Before(l.since) {
		l.since = at
	}
}

// Count counts what happened to a job of a tenant in a lane at a time. What happened more than an hour before the
// latest minute is not counted.
func (l *Log) Count(at time.Time, tenant, lane string, what What) {
	number := numberOf(at)
	m := &l.minutes[index(number)]
	switch {
	case m.counts != nil && number < m.number:
		return
	case m.counts == nil || number > m.number:
		l.clear(m)
		*m = minute{number: number, counts: map[key]*Counts{}}
	}
	k := key{tenant, lane}
	c := m.counts[k]
	if c == nil {
		if !l.budget.take() {
			m.short = true
			return
		}
		c = new(Counts)
		m.counts[key{strings.Clone(tenant), strings.Clone(lane)}] = c
	}
	c[what]++
}

func numberOf(at time.Time) int64 { return at.Unix() / 60 }

func index(number int64) int { return int(((number % Minutes) + Minutes) % Minutes) }

func (l *Log) clear(m *minute) {
	l.budget.used.Add(-int64(len(m.counts)))
	*m = minute{}
}

// Close gives the log's entries back to the budget.
func (l *Log) Close() {
	for i := range l.minutes {
		l.clear(&l.minutes[i])
	}
}

// Recent is what happened to a tenant's jobs in the last minutes.
type Recent struct {
	// Since is when the counts begin to be whole: of earlier minutes only a part is known.
	Since time.Time
	// Short is true if something was not counted, because too many tenants had jobs at the same time.
	Short bool
	Lanes map[string]*[Minutes]Counts // the oldest minute first; the last is the current one
}

// Recent returns what happened to a tenant's jobs until now.
func (l *Log) Recent(now time.Time, tenant string) Recent {
	r := Recent{Since: l.since, Lanes: map[string]*[Minutes]Counts{}}
	for i, m := range l.upTo(numberOf(now)) {
		r.Short = r.Short || m.short
		for k, c := range m.counts {
			if k.tenant != tenant {
				continue
			}
			if r.Lanes[k.lane] == nil {
				r.Lanes[k.lane] = new([Minutes]Counts)
			}
			r.Lanes[k.lane][i] = *c
		}
	}
	return r
}

// upTo returns the minutes that are known of the hour that ends with a minute, by their places in it.
func (l *Log) upTo(last int64) iter.Seq2[int, *minute] {
	return func(yield func(int, *minute) bool) {
		for i := range l.minutes {
			m := &l.minutes[i]
			if place := m.number - (last - Minutes + 1); m.counts != nil && place >= 0 && place < Minutes {
				if !yield(int(place), m) {
					return
				}
			}
		}
	}
}

// Merge returns what several partitions have together.
func Merge(all ...Recent) Recent {
	sum := Recent{Lanes: map[string]*[Minutes]Counts{}}
	for _, r := range all {
		if r.Since.After(sum.Since) {
			sum.Since = r.Since
		}
		sum.Short = sum.Short || r.Short
		for lane, minutes := range r.Lanes {
			if sum.Lanes[lane] == nil {
				sum.Lanes[lane] = new([Minutes]Counts)
			}
			for i := range minutes {
				for what, n := range minutes[i] {
					sum.Lanes[lane][i][what] += n
				}
			}
		}
	}
	return sum
}

// Names returns the lanes in order.
func (r Recent) Names() []string {
	names := make([]string, 0, len(r.Lanes))
	for name := range r.Lanes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
