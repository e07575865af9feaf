package workers

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/fleet"
)

// Bounds of a table. A worker that has no place is not known; those that have one keep it.
const (
	MaxWorkers = 1024
	MaxBytes   = 4 << 20 // of all announcements
)

// outcome says what became of an announcement.
type outcome string

const (
	taken       outcome = "taken"
	undecodable outcome = "undecodable" // it is none, or breaks a bound
	old         outcome = "old"         // it was written too long ago, or before one that is known
	crowded     outcome = "crowded"     // the table is full
)

var outcomes = []outcome{taken, undecodable, old, crowded}

// Metrics are those of all tables of a process.
type Metrics struct {
	known         prometheus.Gauge
	announcements map[outcome]prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(m meter.Meter) *Metrics {
	all := &Metrics{
		known: m.Gauge("workers", "Workers that have announced themselves in the last two minutes and have not ended, "+
			"over all owned partitions. Workers that are no processors of this library do not announce themselves."),
		announcements: map[outcome]prometheus.Counter{},
	}
	counted := m.Counters("worker_announcements_total",
		"Announcements of workers, by what became of them: crowded are those of workers beyond the bound of what is kept.",
		"outcome", meter.Words(outcomes)...)
	for _, o := range outcomes {
		all.announcements[o] = counted.WithLabelValues(string(o))
	}
	return all
}

// Table has the workers whose names belong to one partition. It may be used from any goroutine.
type Table struct {
	metrics *Metrics

	mu     sync.Mutex // guards the fields below
	known  map[string]*row
	bytes  int
	closed bool
}

// row is the last announcement of a worker.
type row struct {
	value  []byte
	seen   time.Time
	offset int64
}

// Known is a worker that has announced itself.
type Known struct {
	Name      string
	Announced []byte // its announcement, which must not be changed
	Seen      time.Time
}

// NewTable returns an empty table.
func NewTable(m *Metrics) *Table { return &Table{metrics: m, known: map[string]*row{}} }

// IsAnnouncement reports whether a record of the topic streams is an announcement.
func IsAnnouncement(rec *kgo.Record) bool {
	for _, h := range rec.Headers {
		if h.Key == fleet.Header {
			return true
		}
	}
	return false
}

// Take takes a record that is an announcement. now is the time by the local clock.
func (t *Table) Take(rec *kgo.Record, now time.Time) {
	o := t.take(rec, now)
	t.metrics.announcements[o].Inc()
}

func (t *Table) take(rec *kgo.Record, now time.Time) outcome {
	if now.Sub(rec.Timestamp) >= fleet.GoneAfter {
		return old // it is not even read: there may be many after a time without a tracker
	}
	for _, h := range rec.Headers {
		if h.Key == fleet.Header && string(h.Value) != strconv.Itoa(fleet.Version) {
			return undecodable
		}
	}
	a, err := fleet.Decode(rec.Value)
	if err != nil || a.Worker != string(rec.Key) {
		return undecodable
	}
	seen := rec.Timestamp
	if seen.After(now) {
		seen = now // where producers set the times
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.known[a.Worker]
	switch {
	case t.closed, was != nil && rec.Offset <= was.offset:
		return old
	case a.Gone:
		t.forget(a.Worker)
		return taken
	}
	grown := len(rec.Value)
	if was != nil {
		grown -= len(was.value)
	}
	if was == nil && len(t.known) >= MaxWorkers || t.bytes+grown > MaxBytes {
		t.sweep(now)
		if t.known[a.Worker] == nil {
			grown = len(rec.Value) // it may have been swept itself
		}
		if t.known[a.Worker] == nil && len(t.known) >= MaxWorkers || t.bytes+grown > MaxBytes {
			return crowded
		}
	}
	t.forget(a.Worker)
	t.known[a.Worker] = &row{append([]byte(nil), rec.Value...), seen, rec.Offset}
	t.bytes += len(rec.Value)
	t.metrics.known.Inc()
	return taken
}

// forget removes a worker, if it is known. t.mu is held.
func (t *Table) forget(name string) {
	if r := t.known[name]; r != nil {
		t.bytes -= len(r.value)
		delete(t.known, name)
		t.metrics.known.Dec()
	}
}

// Sweep forgets workers that have not announced themselves for fleet.GoneAfter.
func (t *Table) Sweep(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(now)
}

func (t *Table) sweep(now time.Time) {
	for name, r := range t.known {
		if now.Sub(r.seen) >= fleet.GoneAfter {
			t.forget(name)
		}
	}
}

// Known returns the workers, in no order.
func (t *Table) Known(now time.Time) []Known {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(now)
	all := make([]Known, 0, len(t.known))
	for name, r := range t.known {
		all = append(all, Known{Name: name, Announced: r.value, Seen: r.seen})
	}
	return all
}

// Close empties the table for good: another tracker owns the partition.
func (t *Table) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for name := range t.known {
		t.forget(name)
	}
}
