package shard

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/fold"
)

// foldAll folds a batch, then serves those who waited for it.
func (s *Shard) foldAll(records []decoded) {
	now := time.Now()
	for i := range records {
		rec := &records[i]
		if rec.Offset < s.pos.next {
			continue
		}
		if rec.Offset > s.pos.next {
			s.metrics.gaps.Inc()
			s.log.Error("status has lost records that were not folded", "from", s.pos.next, "to", rec.Offset)
		}
		at := s.clock.appendedAt(rec.Record, now)
		if !rec.Attrs.IsControl() {
			if err := s.fold(rec, at, now); err != nil {
				s.fail(fmt.Errorf("fold offset %d: %w", rec.Offset, err))
				break
			}
		}
		s.pos.next = rec.Offset + 1
		s.clock.passed(at)
	}
	s.pos.show()
	s.saving.unwritten.changed(now)
	s.clock.fresh.reached(s.pos.next)
	s.census.reached(&s.clock.fresh, s.pos.next)
	s.caughtUp()
	s.questions.unpark()
}

// newsAge is how old an event may be that a shard meets while it catches up, and still count
// for its lane: what happened while no tracker was there does, years of rebuilt history do not.
const newsAge = 10 * time.Minute

// fold applies one record, which was appended at a time. What cannot be decoded, or cannot
// become a document, goes to the dead letters and changes nothing. It fails when the store cannot
// be read: going on would fold onto nothing.
func (s *Shard) fold(d *decoded, at appended, now time.Time) error {
	rec, e := d.Record, &d.event
	if isMark(rec, topic.MarkClosed) {
		s.close(rec.Offset)
		return nil
	}
	if d.err != nil {
		s.sender.bury(rec, d.reason, d.err)
		return nil
	}
	s.metrics.events[e.Type].Inc()
	entry, err := s.jobs.lookup(e.JobID)
	if err != nil {
		return err
	}
	s.observe(rec, at, now)
	r := fold.Fold(entry.folded(), e, fold.Meta{
		Offset: rec.Offset, Time: stamp(rec), ByWriter: at.byWriter, Clock: at.clock, ClosedAt: s.pos.closedAt,
	})
	s.join(entry, rec, e, r, now)
	if r.Changed {
		s.tell(entry, e, r, at, now)
	} else {
		s.refused(rec, e, r.Reason)
	}
	if e.Type == event.Accepted || e.Type == event.Claimed {
		s.questions.known(entry)
	}
	for _, order := range r.Orders {
		s.order(order)
	}
	return nil
}

// observe has the clock look at a record that was just read.
func (s *Shard) observe(rec *kgo.Record, at appended, now time.Time) {
	s.clock.observe(now, rec)
	s.census.activity.log.From(at.believed)
	if s.catching.ready.Load() {
		s.debts.rearm()
		s.metrics.logToFold.Observe(max(now.Sub(at.believed), 0).Seconds())
	}
}

// tell says who hears of a change that an event has made, and in which order: those who keep the job, those who count
// it, those who pay what it owes, and then those who watch it or wait for it, who may ask for it at once.
func (s *Shard) tell(e *entry, by *event.Event, r fold.Result, at appended, now time.Time) {
	was := s.changed(e, r.Job, now)
	if s.told != nil && otherWriter(was, e.job) {
		s.told(e.id)
	}
	s.census.changed(e, was)
	s.census.activity.changed(e.job, was, at.believed)
	if by.Type == event.Progress && e.held.by != nil {
		e.progressed = e.job.RenewedAt
	}
	if s.catching.ready.Load() || now.Sub(at.believed) < newsAge {
		s.census.measure(e, was, by)
	}
	s.debts.changed(e)
	s.webhooks.changed(e)
	if !r.Quiet {
		s.audience.changed(e)
		s.audience.listed(e, was)
		s.questions.changed(e)
	}
}

// changed has an entry's job be another one, nil if it was removed, and returns what it was.
func (s *Shard) changed(e *entry, j *fold.Job, now time.Time) (was *fold.Job) {
	was = e.become(j, now)
	s.jobs.keep(e)
	s.saving.changed(e)
	s.holdings.changed(e)
	return was
}

// refused counts an event that changed nothing. What shows that records are lost is logged.
func (s *Shard) refused(rec *kgo.Record, e *event.Event, why fold.Reason) {
	s.metrics.refused[why].Inc()
	switch why {
	case fold.NoDocument:
		s.sender.bury(rec, deadNoDocument, errors.New("the job could not be written as a document afterwards"))
	case fold.FutureDispatch:
		s.log.Error("event of a dispatch that was never handed out: the log has lost records",
			"job", e.JobID, "type", e.Type, "dispatch", e.Dispatch, "offset", rec.Offset)
	}
}

// maxYear is the last that a record's time may have: from then on its distance from the local
// clock is no duration.
const maxYear = 2200

// stamp is the record's time as documents have it. What has none, or one before 1970, is of 1970.
func stamp(rec *kgo.Record) time.Time {
	if epoch := time.UnixMilli(0); rec.Timestamp.Before(epoch) {
		return epoch
	}
	return rec.Timestamp
}

// order sends an order; while catching up only the last grant of each job is remembered.
func (s *Shard) order(o event.Order) {
	if s.catching.ready.Load() {
		s.sender.order(o)
		return
	}
	s.catching.hold(o)
}
