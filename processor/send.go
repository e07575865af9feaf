package processor

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

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

// send hands a claim, beat or progress to the Kafka client. At most one of these is in flight. It
// is called with mu held; the answer comes on another goroutine. An event with a trace context becomes
// part of that trace; beats, and claims that are only repeated, have none.
func (r *run) send(kind event.Type, value []byte, within context.Context) {
	r.sentAt = r.append(kind, value, within)
	r.inFlight = true
}

func (r *run) sendProgress() {
	latest := r.latest
	r.unsent = false
	r.send(event.Progress, r.encode(event.Event{Type: event.Progress, Progress: &latest}), r.progressTrace())
	r.progressAt = r.sentAt
}

// sendReport hands the terminal event to the Kafka client. It does not wait for a renewal that is
// in flight: the client keeps the order of a partition's records.
func (r *run) sendReport() {
	r.append(r.reportOf, r.report, r.spans.ctx)
	r.reportInFlight = true
}

// append hands an event to the Kafka client and returns the time. within carries the event's trace; nil for none.
func (r *run) append(kind event.Type, value []byte, within context.Context) (sentAt time.Time) {
	sentAt = time.Now()
	rec := &kgo.Record{Topic: r.p.names.Status(), Key: []byte(r.jobID), Value: value, Context: within}
	kafka.Produce(r.p.produceCtx, r.p.client, rec, func(_ *kgo.Record, err error) {
		r.answered(kind, sentAt, err)
	})
	return sentAt
}
