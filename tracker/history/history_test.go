package history

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fetch"
	"github.com/ackwire/ackwire/tracker/fold"
)

var began = time.UnixMilli(1_770_000_000_000).UTC()

// memoryLog is a partition in memory.
type memoryLog struct {
	records []*kgo.Record // by offset
	start   int64
	spans   int
	per     int64 // records of a span
	err     error // of each span
}

func newReader() *Reader {
	return NewReader(NewMetrics(meter.New(prometheus.NewRegistry(), "tracker")))
}

func (l *memoryLog) Span(_ context.Context, offset int64, _ int32) (fetch.Span, error) {
	l.spans++
	switch {
	case l.err != nil:
		return fetch.Span{}, l.err
	case offset < l.start:
		return fetch.Span{}, fetch.ErrRemoved
	}
	end := min(offset+max(l.per, 1), int64(len(l.records)))
	bytes := 0
	for _, rec := range l.records[offset:end] {
		bytes += len(rec.Value)
	}
	return fetch.Span{Records: l.records[offset:end], Next: end, Bytes: bytes}, nil
}

func (l *memoryLog) After(_ context.Context, t time.Time) (int64, error) {
	for i, rec := range l.records[l.start:] {
		if !rec.Timestamp.Before(t) {
			return l.start + int64(i), nil
		}
	}
	return int64(len(l.records)), nil
}

func (l *memoryLog) Start(context.Context) (int64, error) { return l.start, nil }

// add appends a record, a millisecond after the last one.
func (l *memoryLog) add(tb testing.TB, e *event.Event) {
	tb.Helper()
	value, err := event.Encode(e)
	if err != nil {
		tb.Fatal(err)
	}
	offset := int64(len(l.records))
	l.records = append(l.records, &kgo.Record{Key: []byte(e.JobID), Value: value, Offset: offset,
		Timestamp: began.Add(time.Duration(offset) * time.Millisecond)})
}

func accepted(id string) *event.Event {
	p := job.Policy{Attempts: 3, Lease: job.Seconds(time.Minute), Grace: job.Seconds(time.Second),
		Retention: job.Seconds(time.Hour),
		Backoff:   job.Backoff{Initial: job.Seconds(time.Second), Factor: 2, Cap: job.Seconds(time.Second)}}
	return &event.Event{Type: event.Accepted, JobID: id, Life: "l" + id, Job: "demo.echo", Tenant: "acme", Lane: "default",
		PayloadHash: "sha256:1", Policy: &p, Request: &event.Position{Topic: "r", Offset: 1}}
}

// logOf is a log with a job that reports progress, between others of another job.
func logOf(tb testing.TB, reports, others int) *memoryLog {
	tb.Helper()
	l := &memoryLog{per: 1000}
	l.add(tb, accepted("other"))
	l.add(tb, accepted("one"))
	claim := accepted("one")
	claim.Type, claim.Dispatch = event.Claimed, 1
	claim.Run, claim.Worker = "r1", "w"
	l.add(tb, claim)
	for i := range reports {
		for range others {
			l.add(tb, &event.Event{Type: event.CancelRequested, JobID: "other"})
		}
		l.add(tb, &event.Event{Type: event.Progress, JobID: "one", Dispatch: 1, Run: "r1", Worker: "w",
			Progress: &job.Progress{Percent: float64(i * 100 / reports), Message: "step " + strconv.Itoa(i)}})
	}
	return l
}

// query asks for the whole history of a job, which must be in the log.
func query(l *memoryLog, id string) Query {
	var j *fold.Job
	for _, rec := range l.records {
		if string(rec.Key) == id {
			e, _ := event.Decode(rec.Value)
			j = fold.Fold(j, &e, fold.Meta{Offset: rec.Offset, Time: rec.Timestamp}).Job
		}
	}
	return Query{JobID: id, Life: j.Life, Created: j.Doc.CreatedAt, Updated: j.Doc.UpdatedAt, Ended: j.Ended(),
		Version: j.Version, Folded: int64(len(l.records)), Limit: MaxEvents,
		ByWriter: func(*kgo.Record) bool { return false }}
}

// readAll reads all pages.
func readAll(t *testing.T, r *Reader, l *memoryLog, q Query) (all []Event, pages int) {
	t.Helper()
	for {
		page, err := r.Read(t.Context(), l, q)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Events...)
		pages++
		if page.Next == 0 {
			return all, pages
		}
		if page.Next < q.From || pages > 1000 {
			t.Fatalf("page %d does not go on: %d after %d", pages, page.Next, q.From)
		}
		q.From, q.FromLife = page.Next, q.Life
	}
}

// TestPagesAreOnePass: pages of any size tell the same, and a long history is read about once, and not once per page.
func TestPagesAreOnePass(t *testing.T) {
	l := logOf(t, 3000, 1)
	q := query(l, "one")
	whole, _ := readAll(t, newReader(), l, q)
	if len(whole) != 3002 {
		t.Fatalf("%d events", len(whole))
	}
	for _, limit := range []int{7, 200, 999} {
		q.Limit, l.spans = limit, 0
		got, pages := readAll(t, newReader(), l, q)
		if fmt.Sprint(got) != fmt.Sprint(whole) {
			t.Errorf("pages of %d tell something else", limit)
		}
		if most := pages + len(l.records)/1000 + 1; l.spans > most {
			t.Errorf("%d spans are read for %d pages of %d", l.spans, pages, limit)
		}
	}
	for i, e := range whole {
		if e.Verdict != Applied {
			t.Fatalf("event %d: %+v", i, e)
		}
	}
}

// TestAMarkThatIsGone: a page that another reader goes on from tells the same.
func TestAMarkThatIsGone(t *testing.T) {
	l := logOf(t, 500, 0)
	q := query(l, "one")
	q.Limit = 100
	first, err := newReader().Read(t.Context(), l, q)
	if err != nil {
		t.Fatal(err)
	}
	q.From, q.FromLife = first.Next, q.Life
	got, err := newReader().Read(t.Context(), l, q)
	if err != nil || len(got.Events) != 100 || got.Events[0].Offset != first.Next ||
		got.Events[0].State != job.Processing {
		t.Errorf("%+v, %v", got.Events[0], err)
	}
	q.FromLife = "another"
	if _, err = newReader().Read(t.Context(), l, q); !errors.Is(err, ErrOtherLife) {
		t.Errorf("a place of another life: %v", err)
	}
}

// TestReadingIsBounded: a reading stops after so many bytes with a page that may be empty, and the next goes on.
func TestReadingIsBounded(t *testing.T) {
	l := &memoryLog{per: 1000}
	l.add(t, accepted("one"))
	big := make([]byte, 1<<20)
	for i := range 3 * (maxBytes >> 20) {
		l.records = append(l.records, &kgo.Record{Key: []byte("other"), Value: big, Offset: int64(1 + i),
			Timestamp: began.Add(time.Second)})
	}
	l.add(t, &event.Event{Type: event.CancelRequested, JobID: "one"})
	q := query(l, "one")
	l.spans = 0
	l.per = 1
	r := newReader()
	got, pages := readAll(t, r, l, q)
	if read := testutil.ToFloat64(r.metrics.bytes); read < 3*maxBytes {
		t.Errorf("%v bytes are counted as read", read)
	}
	if len(got) != 2 || got[1].State != job.Cancelled || pages < 3 {
		t.Errorf("%d events in %d pages: %+v", len(got), pages, got)
	}
}

// TestMarksAreBounded: only so many are kept, and the one that was used last is kept longest.
func TestMarksAreBounded(t *testing.T) {
	var m marks
	m.put("first", "l", mark{next: 1})
	for i := range maxMarks - 1 {
		m.put(strconv.Itoa(i), "l", mark{next: 1})
	}
	if _, ok := m.find("first", "l", 1); !ok {
		t.Fatal("the first is gone")
	}
	m.put("last", "l", mark{next: 1})
	_, kept := m.find("first", "l", 1)
	_, dropped := m.find("0", "l", 1)
	if !kept || dropped || len(m.last) != maxMarks {
		t.Errorf("kept %t, dropped %t, %d marks", kept, dropped, len(m.last))
	}
	m.put("last", "l", mark{next: 9})
	if at, ok := m.find("last", "l", 8); !ok || at.next != 1 {
		t.Errorf("before 8: %+v, %t", at, ok)
	}
	if _, ok := m.find("last", "other", 9); ok {
		t.Error("a mark of another life")
	}
}

// TestALogThatDoesNotAnswer: its error is returned, and what was read before is not lost.
func TestALogThatDoesNotAnswer(t *testing.T) {
	l := logOf(t, 10, 0)
	l.err = errors.New("away")
	if _, err := newReader().Read(t.Context(), l, query(l, "one")); !errors.Is(err, l.err) {
		t.Errorf("got %v", err)
	}
}

// TestRemovedWhileItIsRead: what the log has lost between two pages is not guessed.
func TestRemovedWhileItIsRead(t *testing.T) {
	l := logOf(t, 100, 0)
	q := query(l, "one")
	q.Limit = 10
	r := newReader()
	page, err := r.Read(t.Context(), l, q)
	if err != nil || page.Truncated {
		t.Fatalf("%+v, %v", page, err)
	}
	l.start = 50
	q.From, q.FromLife = page.Next, q.Life
	page, err = r.Read(t.Context(), l, q)
	if err != nil || !page.Truncated || page.Events[0].Verdict != Unknown || page.Events[0].Offset != 50 ||
		!page.Earliest.Equal(l.records[50].Timestamp) {
		t.Errorf("%+v, %v", page, err)
	}
}

// BenchmarkOpen10k opens the history of a job with 10,000 reports, among as many records of others: the first page, and
// all pages.
func BenchmarkOpen10k(b *testing.B) {
	l := logOf(b, 10_000, 1)
	q := query(l, "one")
	b.Run("page", func(b *testing.B) {
		q := q
		q.Limit = 200
		for b.Loop() {
			if page, err := newReader().Read(b.Context(), l, q); err != nil || len(page.Events) != 200 {
				b.Fatal(len(page.Events), err)
			}
		}
	})
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			r, q, n := newReader(), q, 0
			for {
				page, err := r.Read(b.Context(), l, q)
				if err != nil {
					b.Fatal(err)
				}
				n += len(page.Events)
				if page.Next == 0 {
					break
				}
				q.From, q.FromLife = page.Next, q.Life
			}
			if n != 10_002 {
				b.Fatal(n)
			}
		}
	})
}
