package shard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/fetch"
	"github.com/ackwire/ackwire/tracker/fold"
)

const (
	maxHandOuts    = 64                     // at a time
	handOutRearm   = 5 * time.Second        // after a requeued was appended and is not folded yet
	handOutBackoff = 100 * time.Millisecond // after a hand-out that failed; doubles
	handOutMax     = 30 * time.Second

	// goneFor is how long a payload must have been away before the job fails for it, unless it is
	// sure that it was removed.
	goneFor = 15 * time.Minute
)

// handOuts produce the request of a job's dispatch, then append requeued: never the
// fact first, for a crash between the two would leave a pending job that nobody carries.
// A crash the other way round makes a second request, whose claim is refused.
type handOuts struct {
	turnstile
	jobs     *memory
	sender   *sender
	tracer   trace.Tracer  // nil: no spans are made
	limit    time.Duration // of one hand-out
	schedule func(*entry)  // arms the timer of what a job owes next
}

// open sets what hand-outs need.
func (h *handOuts) open(
	jobs *memory, out *sender, tracer trace.Tracer, limit time.Duration, schedule func(*entry), aside aside,
) {
	h.jobs, h.sender, h.tracer = jobs, out, tracer
	h.limit, h.schedule = limit, schedule
	h.turnstile = turnstile{most: maxHandOuts, aside: aside, begin: h.beginTurn}
}

// add hands the entry's job out when its turn comes. Until that is over the entry has no timer.
func (h *handOuts) add(e *entry) {
	e.paying = true
	h.join(e)
}

// beginTurn returns the hand-out of the job as it is now.
func (h *handOuts) beginTurn(e *entry) (work func(context.Context) error, over func(error)) {
	j, within := e.job, e.traced
	if j == nil || fold.NextDebt(j, time.Now()).Kind != fold.HandOut {
		// It changed while it waited for its turn.
		e.paying = false
		h.schedule(e)
		h.jobs.release(e)
		return nil, nil
	}
	return func(ctx context.Context) error { return h.produceAgain(ctx, j, within) },
		func(err error) { h.handedOut(e, j, err) }
}

// produceAgain writes the job's request with the payload of the first one, then requeued.
func (h *handOuts) produceAgain(ctx context.Context, j *fold.Job, within *traced) (err error) {
	ctx, cancel := context.WithTimeout(ctx, h.limit)
	defer cancel()
	source, err := h.sender.kafka.Record(ctx, j.Source)
	if err != nil {
		return err
	}
	if string(source.Key) != j.Doc.JobID {
		// The topic was made anew. Another job's payload must never go out under this ID.
		return fmt.Errorf("%w: another job's lies at its offset", fetch.ErrGone)
	}
	inTrace, span := h.beginSpan(source, within, j)
	defer func() { endSpan(span, err) }()
	request := &kgo.Record{
		Context: elsewhere(inTrace, j),
		Topic:   h.sender.names.Requests(j.Doc.Lane),
		Key:     source.Key,
		Value:   source.Value,
		Headers: nextHeaders(source.Headers, j),
	}
	if err := h.sender.produce(ctx, request); err != nil {
		return fmt.Errorf("produce request: %w", err)
	}
	requeued, err := h.sender.event(&event.Event{
		Type: event.Requeued, JobID: j.Doc.JobID, Life: j.Life, Dispatch: j.Dispatch,
		Request: &event.Position{Topic: request.Topic, Partition: request.Partition, Offset: request.Offset},
	}, inTrace)
	if err != nil {
		return err
	}
	if err := h.sender.produce(ctx, requeued); err != nil {
		return fmt.Errorf("append requeued: %w", err)
	}
	return nil
}

// elsewhere has the request of a job whose last workers could not run it written to another
// partition of its lane than its key's: the worker that reads that one is likely to be another. Every
// other time the key's own may be chosen, too.
func elsewhere(ctx context.Context, j *fold.Job) context.Context {
	if j.Unserved == nil {
		return ctx
	}
	if ctx == nil {
		ctx = context.Background()
	}
	avoid := int32(-1)
	if j.Unserved.Count%2 == 1 {
		avoid = j.Source.Partition
	}
	return kafka.Place(ctx, j.Spread(), avoid)
}

// nextHeaders are the first request's with this dispatch and attempt. When the job starts
// is no longer said: that belongs to the topic deferred.
func nextHeaders(headers []kgo.RecordHeader, j *fold.Job) []kgo.RecordHeader {
	next := slices.DeleteFunc(slices.Clone(headers), func(h kgo.RecordHeader) bool {
		return h.Key == topic.HeaderDispatch || h.Key == topic.HeaderAttempt || h.Key == topic.HeaderRunAt
	})
	return append(next,
		kgo.RecordHeader{Key: topic.HeaderDispatch, Value: strconv.AppendInt(nil, int64(j.Dispatch), 10)},
		kgo.RecordHeader{Key: topic.HeaderAttempt, Value: strconv.AppendInt(nil, int64(j.Doc.Attempt), 10)})
}

// goneTooLong reports whether the entry's job must fail because the log does not hold its payload.
func (e *entry) goneTooLong(err error) bool {
	if e.goneSince.IsZero() {
		e.goneSince = time.Now()
	}
	return errors.Is(err, fetch.ErrRemoved) || time.Since(e.goneSince) >= goneFor
}

// handedOut ends the hand-out of the job as it was then. If the job has changed since,
// what it owes now has nothing to do with the outcome.
func (h *handOuts) handedOut(e *entry, j *fold.Job, err error) {
	e.paying = false
	var wait time.Duration
	if err == nil {
		h.sender.metrics.handOuts.WithLabelValues("durable").Inc()
		wait = handOutRearm
	} else {
		h.sender.metrics.handOuts.WithLabelValues("error").Inc()
		wait = min(handOutBackoff<<min(e.tries, 10), handOutMax)
		if errors.Is(err, fetch.ErrGone) {
			h.sender.metrics.payloadGone.Inc()
			wait = handOutMax
			if e.job == j && e.goneTooLong(err) {
				h.sender.append(fold.LostPayload(j), e.traced.context())
			}
		} else {
			e.goneSince = time.Time{}
		}
		e.traced.log(h.sender.log).Warn("next attempt not handed out, will be tried again", "job", e.id, "in", wait,
			"err", err)
	}
	if e.job == j {
		e.tries++
		e.notBefore = time.Now().Add(wait)
	}
	h.schedule(e)
	h.jobs.release(e)
}
