package history

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/tracker/fetch"
)

// Bounds of readings.
const (
	MaxEvents = 1000 // of a page

	maxBytes  = 64 << 20 // of the log, of one reading
	maxTime   = 5 * time.Second
	spanBytes = 1 << 20 // of the log, of one answer of a broker
	pageBytes = 1 << 20 // of a page's events, about; with more it is short
	// margin is what is left of a caller's time when a reading stops by itself, so that the caller gets a page.
	margin = 500 * time.Millisecond
	// tail is how long after the end of a job its events are still looked for. They changed nothing.
	tail = 10 * time.Minute
)

// ErrOtherLife is returned for a place in the history of another life of the job's ID.
var ErrOtherLife = errors.New("the place is of another life of the job's ID")

// Log is the partition of status that has the job's records.
type Log interface {
	// Span reads what is at and after an offset, about maxBytes of it. The error is a fetch.ErrRemoved when the log begins
	// behind the offset.
	Span(ctx context.Context, offset int64, maxBytes int32) (fetch.Span, error)
	// After returns the first offset whose record's time is t or later, or the log's end.
	After(ctx context.Context, t time.Time) (int64, error)
	// Start returns the offset at which the log begins.
	Start(ctx context.Context) (int64, error)
}

// Query asks for a part of a job's history. All but the last three fields are the job's, as the shard knows them.
type Query struct {
	JobID            string
	Life             string // the present one
	Created, Updated time.Time
	Ended            bool
	Version          int64 // 1 + the offset of the last record that changed the job
	Folded           int64 // the offset up to which the shard has folded the log
	ByWriter         func(*kgo.Record) bool

	From     int64  // 0, or an answer's Next
	FromLife string // of that answer
	Limit    int
}

// Page is a part of a job's history, the oldest event first.
type Page struct {
	Events []Event
	Next   int64 // where to go on; 0 if these were the last events
	// Truncated says that the log does not hold the job's first records any more. Then nothing is known of what became of
	// the events that are left.
	Truncated bool
	Earliest  time.Time // if truncated: the time of the first record that there is
}

// Metrics are those of all readings of a process.
type Metrics struct{ bytes prometheus.Counter }

// NewMetrics registers the metrics.
func NewMetrics(m meter.Meter) *Metrics {
	return &Metrics{m.Counter("history_read_bytes_total",
		"Bytes of the topic status that were read to tell histories of jobs.")}
}

// Reader reads histories.
type Reader struct {
	marks   marks
	metrics *Metrics
}

// NewReader returns a reader.
func NewReader(m *Metrics) *Reader { return &Reader{metrics: m} }

// Read answers q from log.
func (r *Reader) Read(ctx context.Context, log Log, q Query) (Page, error) {
	if q.From != 0 && q.FromLife != q.Life {
		return Page{}, ErrOtherLife
	}
	until := q.Folded
	if q.Ended {
		last, err := log.After(ctx, q.Updated.Add(tail))
		if err != nil {
			return Page{}, err
		}
		until = min(until, max(last, q.Version))
	}
	s := &scan{q: q, log: log, until: until}
	if at, ok := r.marks.find(q.JobID, q.Life, q.From); ok {
		s.mark = at
	} else if err := s.begin(ctx); err != nil {
		return Page{}, err
	}
	err := s.run(ctx)
	r.metrics.bytes.Add(float64(s.bytes))
	s.settle()
	if err == nil || s.progressed {
		r.marks.put(q.JobID, q.Life, s.mark)
	}
	if err != nil {
		return Page{}, err
	}
	return s.page(), nil
}
