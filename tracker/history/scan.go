package history

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/tracker/fetch"
	"github.com/ackwire/ackwire/tracker/fold"
)

// scan is one reading.
type scan struct {
	q     Query
	log   Log
	until int64 // offset at which the history ends

	mark       // how far it has come
	progressed bool
	bytes      int // of the log, that were read
	events     []Event
	size       int // of events, in bytes
}

// begin sets where the history of a job begins to be read. That is not behind the job's first record, whatever the
// clocks were: a job was created at the time of that record, so the first record of that time or later is it or one
// before it. Where the life was named after the offset of the first record, the offset is known.
func (s *scan) begin(ctx context.Context) error {
	at, err := s.log.After(ctx, s.q.Created)
	if err != nil {
		return err
	}
	if text, ok := strings.CutPrefix(s.q.Life, "o"); ok && !event.NamedByGateway(s.q.Life) {
		if born, err := strconv.ParseInt(text, 10, 64); err == nil {
			at = min(at, born)
		}
	}
	s.next = max(0, min(at, s.q.Version-1))
	return nil
}

// run reads until the page is full, the history ends, or a bound is met.
func (s *scan) run(ctx context.Context) error {
	stop := time.Now().Add(maxTime)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(-margin).Before(stop) {
		stop = deadline.Add(-margin)
	}
	for s.next < s.until && !s.full() {
		if s.bytes >= maxBytes || s.progressed && !time.Now().Before(stop) {
			return nil
		}
		got, err := s.log.Span(ctx, s.next, spanBytes)
		if errors.Is(err, fetch.ErrRemoved) {
			err = s.skipRemoved(ctx)
			if err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		size := 0
		for _, rec := range got.Records {
			if rec.Offset >= s.until || s.full() {
				break
			}
			size += len(rec.Key) + len(rec.Value)
			if s.earliest.IsZero() {
				s.earliest = rec.Timestamp
			}
			if !rec.Attrs.IsControl() && string(rec.Key) == s.q.JobID {
				s.take(rec)
			}
			s.next = rec.Offset + 1
		}
		if !s.full() {
			s.next = max(s.next, min(got.Next, s.until))
		}
		s.bytes += max(size, got.Bytes)
		s.progressed = true
	}
	return nil
}

// full reports whether the page has room for no other event.
func (s *scan) full() bool { return len(s.events) >= s.q.Limit || s.size >= pageBytes }

// skipRemoved goes on where the log begins: what was before it is not known.
func (s *scan) skipRemoved(ctx context.Context) error {
	start, err := s.log.Start(ctx)
	if err != nil {
		return err
	}
	if start <= s.next {
		return fetch.ErrGone // the answers do not fit together: another try will tell
	}
	s.lose()
	s.next, s.earliest = start, time.Time{}
	return nil
}

// take folds one record of the job, and adds it to the page if it belongs there.
func (s *scan) take(rec *kgo.Record) {
	e, err := event.Decode(rec.Value)
	if err == nil && e.JobID != s.q.JobID {
		err = errKey
	}
	if err == nil && s.state == waiting && s.born(rec, &e) {
		s.state, s.events, s.size = folding, nil, 0 // what came before it is of no job, or of an expired one
	}
	if err == nil && s.state != folding && e.Life != "" && s.q.Life != "" && e.Life != s.q.Life {
		return
	}
	made := eventOf(rec, &e, err)
	if s.state == folding && err == nil {
		r := fold.Fold(s.job, &e, s.meta(rec))
		s.job = r.Job
		made.judge(r)
	}
	if rec.Offset >= s.q.From {
		s.events = append(s.events, made)
		s.size += made.size()
	}
}

// born reports whether the event made the job.
func (s *scan) born(rec *kgo.Record, e *event.Event) bool {
	r := fold.Fold(nil, e, s.meta(rec))
	return r.Changed && r.Job != nil && r.Job.Doc.CreatedAt.Equal(s.q.Created) &&
		(r.Job.Life == s.q.Life || s.q.Life == "")
}

func (s *scan) meta(rec *kgo.Record) fold.Meta {
	return fold.Meta{Offset: rec.Offset, Time: timeOf(rec), ByWriter: s.q.ByWriter(rec)}
}

// settle notes that the job's first record is not there, if there was another one, or all were to be met by now.
func (s *scan) settle() {
	if s.state == waiting && (len(s.events) > 0 || s.next >= s.q.Version) {
		s.lose()
	}
}

// page returns what was read.
func (s *scan) page() Page {
	p := Page{Events: s.events}
	if s.next < s.until {
		p.Next = max(s.next, s.q.From)
	}
	if s.state == lost {
		p.Truncated, p.Earliest = true, s.earliest
	}
	return p
}
