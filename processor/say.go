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

// newRunID makes a fencing token: 130 random bits.
func newRunID() string { return rand.Text() }

// encode completes an event with the run's address and gives its bytes.
func (r *run) encode(e event.Event) []byte {
	e.JobID = r.jobID
	e.Dispatch = r.dispatch
	e.Run = r.id
	e.Worker = r.p.worker
	value, err := event.Encode(&e)
	if err != nil {
		// Every field comes from this package, checked: results are valid JSON, codes are
		// set, percents are in range.
		panic(fmt.Sprintf("processor: encode %s of job %s: %v", e.Type, r.jobID, err))
	}
	return value
}

// say hands a claim, beat or progress to the client. At most one of them is on its way. It
// is called with mu held; the client's answer comes on another goroutine. What is said within
// a trace becomes a part of it: never a beat, nor a claim that only waits.
func (r *run) say(kind event.Type, value []byte, within context.Context) {
	r.saidAt, r.inFlight = r.append(kind, value, within), true
}

func (r *run) sayProgress() {
	latest := r.latest
	r.unsent = false
	r.say(event.Progress, r.encode(event.Event{Type: event.Progress, Progress: &latest}), r.progressTrace())
	r.progressAt = r.saidAt
}

// sayReport hands the terminal event to the client. It does not wait for a renewal that is
// on its way: the client keeps the order of records of one partition.
func (r *run) sayReport() {
	r.append(r.reportOf, r.report, r.spans.ctx)
	r.reportInFlight = true
}

// append hands an event to the client, within a trace unless that is nil, and returns when.
func (r *run) append(kind event.Type, value []byte, within context.Context) (saidAt time.Time) {
	saidAt = time.Now()
	rec := &kgo.Record{Topic: r.p.names.Status(), Key: []byte(r.jobID), Value: value, Context: within}
	kafka.Produce(r.p.produceCtx, r.p.client, rec, func(_ *kgo.Record, err error) {
		r.answered(kind, saidAt, err)
	})
	return saidAt
}
