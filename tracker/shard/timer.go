package shard

import (
	"container/heap"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/fetch"
	"github.com/ackwire/ackwire/tracker/fold"
)

// What a job owes follows from its document alone (fold.NextDebt), so there is no outbox
// to keep: a debt that was paid is armed again until its event is folded.

const (
	rearm          = time.Second            // after an event was appended and is not folded yet
	handOutRearm   = 5 * time.Second        // after a requeued was appended and is not folded yet
	handOutBackoff = 100 * time.Millisecond // after a hand-out that failed; doubles
	handOutMax     = 30 * time.Second
	handOutTimeout = 10 * time.Second
	aheadWindow    = time.Minute
)

// aheadClock estimates how far the local clock is ahead of the log's: the least distance
// seen lately. The log's times are the broker's; timers run on the local clock.
type aheadClock struct {
	by    time.Duration
	since time.Time
}

func (a *aheadClock) observe(now, logTime time.Time) {
	if d := now.Sub(logTime); a.since.IsZero() || d < a.by || now.Sub(a.since) > aheadWindow {
		a.by, a.since = d, now
	}
}

// schedule arms the entry's timer for what its job owes next. The expiry of ended jobs is
// found in the store instead.
func (s *Shard) schedule(e *entry) {
	if e.job == nil || e.job.Ended() || e.paying {
		s.disarm(e)
		return
	}
	e.owed = fold.NextDebt(e.job, e.seen.Add(-s.ahead.by))
	if e.owed.Kind == fold.None {
		s.disarm(e)
		return
	}
	e.due = e.owed.At.Add(s.ahead.by)
	if e.due.Before(e.notBefore) {
		e.due = e.notBefore
	}
	if e.index < 0 {
		heap.Push(&s.due, e)
	} else {
		heap.Fix(&s.due, e.index)
	}
}

func (s *Shard) disarm(e *entry) {
	if e.index >= 0 {
		heap.Remove(&s.due, e.index)
	}
}

// arm sets the loop's one timer to the first due entry.
func (s *Shard) arm(timer *time.Timer) {
	if len(s.due) == 0 {
		timer.Reset(time.Hour)
		return
	}
	timer.Reset(time.Until(s.due[0].due))
}

// payDebts pays what is due.
func (s *Shard) payDebts(ctx context.Context) {
	now := time.Now()
	for len(s.due) > 0 && !s.due[0].due.After(now) {
		e := s.due[0]
		if e.owed.Kind == fold.HandOut {
			s.handOut(ctx, e)
			continue
		}
		e.notBefore = now.Add(rearm)
		s.schedule(e)
		s.append(debtEvent(e.job, e.owed.Kind))
	}
}

// debtEvent is the event that pays a debt.
func debtEvent(j *fold.Job, k fold.Kind) *event.Event {
	e := &event.Event{JobID: j.Doc.JobID}
	switch k {
	case fold.Lease:
		e.Type, e.Dispatch, e.Run, e.Worker, e.Renewal = event.LeaseExpired, j.Dispatch, j.Run, j.Worker, &j.Renewal
	case fold.Timeout:
		e.Type, e.Dispatch, e.Run, e.Worker = event.AttemptTimedOut, j.Dispatch, j.Run, j.Worker
	case fold.Force:
		e.Type, e.Dispatch = event.CancelForced, j.Dispatch
	case fold.Deadline:
		e.Type, e.Round = event.DeadlineExceeded, j.Round
	case fold.Expiry:
		e.Type, e.Round = event.Expired, j.Round
	}
	return e
}

// append writes an event of a timer. Whether it lands is seen when it is folded.
func (s *Shard) append(e *event.Event) {
	rec, err := s.statusRecord(e)
	if err != nil {
		s.log.Error("encode event", "job", e.JobID, "type", e.Type, "err", err)
		return
	}
	s.metrics.appended.WithLabelValues(string(e.Type)).Inc()
	s.kafka.Produce(rec, func(err error) {
		if err != nil {
			s.log.Warn("timer's event not appended, will be tried again", "job", e.JobID, "type", e.Type, "err", err)
		}
	})
}

func (s *Shard) statusRecord(e *event.Event) (*kgo.Record, error) {
	value, err := event.Encode(e)
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: s.names.Status(), Key: []byte(e.JobID), Value: value}, nil
}

// handOut produces the request of the job's dispatch, then appends requeued: never the
// fact first, for a crash between the two would leave a pending job that nobody carries.
// A crash the other way round makes a second request, whose claim is refused.
func (s *Shard) handOut(ctx context.Context, e *entry) {
	e.paying = true
	s.disarm(e)
	j := e.job
	s.wg.Go(func() {
		err := s.produceAgain(ctx, j)
		_ = s.call(ctx, func() { s.handedOut(e, j, err) })
	})
}

func (s *Shard) produceAgain(ctx context.Context, j *fold.Job) error {
	ctx, cancel := context.WithTimeout(ctx, handOutTimeout)
	defer cancel()
	source, err := s.kafka.Record(ctx, j.Source)
	if err != nil {
		return err
	}
	request := &kgo.Record{
		Topic:   s.names.Requests(j.Lane),
		Key:     source.Key,
		Value:   source.Value,
		Headers: nextHeaders(source.Headers, j),
	}
	if err := s.produceSync(ctx, request); err != nil {
		return err
	}
	requeued, err := s.statusRecord(&event.Event{
		Type: event.Requeued, JobID: j.Doc.JobID, Dispatch: j.Dispatch,
		Request: &event.Position{Topic: request.Topic, Partition: request.Partition, Offset: request.Offset},
	})
	if err != nil {
		return err
	}
	s.metrics.appended.WithLabelValues(string(event.Requeued)).Inc()
	return s.produceSync(ctx, requeued)
}

func (s *Shard) produceSync(ctx context.Context, rec *kgo.Record) error {
	result := make(chan error, 1)
	s.kafka.Produce(rec, func(err error) { result <- err })
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func nextHeaders(headers []kgo.RecordHeader, j *fold.Job) []kgo.RecordHeader {
	next := make([]kgo.RecordHeader, len(headers))
	copy(next, headers)
	for i, h := range next {
		switch h.Key {
		case topic.HeaderDispatch:
			next[i].Value = strconv.AppendInt(nil, int64(j.Dispatch), 10)
		case topic.HeaderAttempt:
			next[i].Value = strconv.AppendInt(nil, int64(j.Doc.Attempt), 10)
		}
	}
	return next
}

// handedOut ends the hand-out of the job as it was then. If the job has changed since,
// what it owes now has nothing to do with the outcome.
func (s *Shard) handedOut(e *entry, j *fold.Job, err error) {
	e.paying = false
	var wait time.Duration
	if err == nil {
		s.metrics.handOuts.WithLabelValues("durable").Inc()
		wait = handOutRearm
	} else {
		s.metrics.handOuts.WithLabelValues("error").Inc()
		wait = min(handOutBackoff<<min(e.tries, 10), handOutMax)
		if errors.Is(err, fetch.ErrGone) {
			s.metrics.payloadGone.Inc()
			wait = handOutMax
		}
		s.log.Warn("next attempt not handed out, will be tried again", "job", e.id, "in", wait, "err", err)
	}
	if e.job == j {
		e.tries++
		e.notBefore = time.Now().Add(wait)
	}
	s.schedule(e)
	s.release(e)
}

// expire appends expired for jobs whose retention is over.
func (s *Shard) expire() {
	if !s.ready.Load() {
		return
	}
	now := time.Now()
	for id, at := range s.expiring {
		if now.Sub(at) > handOutMax {
			delete(s.expiring, id)
		}
	}
	if len(s.expiring) >= expiryBatch {
		return
	}
	jobs, err := s.store.Expired(now.Add(-s.ahead.by), expiryBatch)
	if err != nil {
		s.log.Error("look for expired jobs", "err", err)
		return
	}
	for _, j := range jobs {
		if _, asked := s.expiring[j.Doc.JobID]; asked {
			continue
		}
		s.expiring[j.Doc.JobID] = now
		s.append(debtEvent(j, fold.Expiry))
	}
}

// dueHeap orders entries by when they are due.
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	e.index = -1
	return e
}
