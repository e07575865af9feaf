package processor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
)

// newRunID makes a run's ID, which is a fencing token of 130 random bits.
func newRunID() string { return rand.Text() }

// encode adds the run's identity to an event and encodes it.
func (r *run) encode(e event.Event) []byte {
	e.JobID = r.jobID
	e.Dispatch = r.dispatch
	e.Run = r.id
	e.Worker = r.p.worker
	value, err := event.Encode(&e)
	if err != nil {
		// This cannot happen: all fields were checked before. Results are valid JSON, codes are
		// set, percents are in range.
		panic(fmt.Sprintf("processor: encode %s of job %s: %v", e.Type, r.jobID, err))
	}
	return value
}

// sendClaim sends the claim; for the first time it may be one that asks for no grant.
func (r *run) sendClaim(now time.Time) {
	claim := r.claim
	if r.firstClaim != nil {
		claim, r.firstClaim = r.firstClaim, nil
	}
	r.append(event.Claimed, claim, r.spans.ctx, now)
}

func (r *run) sendProgress(now time.Time) {
	latest := r.stance.latest
	r.append(event.Progress, r.encode(event.Event{Type: event.Progress, Progress: &latest}), r.progressTrace(), now)
}

func (r *run) sendReport(now time.Time) { r.append(r.reportOf, r.report, r.spans.ctx, now) }

// append hands an event to the Kafka client. It is called with mu held; the answer comes on another goroutine. An event
// with a trace context, within, becomes part of that trace; beats, and claims that only ask for a grant, have none.
func (r *run) append(kind event.Type, value []byte, within context.Context, now time.Time) {
	rec := &kgo.Record{Topic: r.p.names.Status(), Key: []byte(r.jobID), Value: value, Context: within}
	kafka.Produce(r.p.produceCtx, r.p.client, rec, func(_ *kgo.Record, err error) {
		r.answered(kind, now, err)
	})
}

// answered handles Kafka's answer to an event that was sent at sentAt. err is nil if the event is durable.
func (r *run) answered(kind event.Type, sentAt time.Time, err error) {
	r.p.noteProduce(string(kind), err)
	in := input{kind: answerTo(kind, err), sentAt: sentAt}
	if in.kind == onClaimDurable {
		in.redelivered = r.lane.mayBeRedelivery(r.part, r.offset)
	}
	r.take(in)
}

// answerTo returns the input for Kafka's answer to an event.
func answerTo(kind event.Type, err error) inputKind {
	switch kind {
	case event.Claimed:
		switch {
		case err == nil:
			return onClaimDurable
		case errors.Is(err, kafka.ErrRefused):
			return onClaimFailed
		}
		return onClaimInDoubt
	case event.Beat, event.Progress:
		switch {
		case err == nil:
			return onRenewed
		case kind == event.Progress:
			return onProgressFailed
		}
		return onBeatFailed
	}
	switch {
	case err == nil:
		return onReported
	case kind == event.Completed && errors.Is(err, kerr.MessageTooLarge):
		return onResultTooLarge
	}
	return onReportFailed
}
