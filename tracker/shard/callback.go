package shard

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/webhook"
	"github.com/ackwire/ackwire/tracker/fold"
)

// maxCallbacks is how many webhooks are queued at a time.
const maxCallbacks = 64

// webhookPolicy is that of a webhook's job: about five hours of tries, ten at most. Its
// retention is that of the job that it tells of.
func webhookPolicy(retention job.Seconds) job.Policy {
	seconds := func(d time.Duration) job.Seconds { return job.Seconds(d) }
	return job.Policy{
		Attempts:  12,
		Backoff:   job.Backoff{Initial: seconds(5 * time.Second), Factor: 3, Cap: seconds(2 * time.Hour)},
		Lease:     seconds(30 * time.Second),
		Timeout:   seconds(25 * time.Second),
		Grace:     seconds(5 * time.Second),
		Retention: retention,
	}
}

// webhooks queue the webhook of a state that began: a job of its own, whose ID follows from
// the first one's and the version. It is durable before callbackQueued is said; a crash between
// the two makes the same job again, which the fold refuses as a duplicate.
type webhooks struct {
	turnstile
	jobs   *memory
	sender *sender
	limit  time.Duration // of one try
	live   bool          // the shard has caught up
}

// open sets what webhooks need.
func (w *webhooks) open(jobs *memory, out *sender, limit time.Duration, aside aside) {
	w.jobs, w.sender, w.limit = jobs, out, limit
	w.turnstile = turnstile{most: maxCallbacks, aside: aside, begin: w.beginTurn}
}

// begin queues what all jobs in memory owe: from now on changes do, too.
func (w *webhooks) begin() {
	w.live = true
	for _, e := range w.jobs.all {
		w.changed(e)
	}
}

// changed queues the webhook that the entry's job owes, unless the shard is catching up.
func (w *webhooks) changed(e *entry) {
	if w.live && e.job != nil && e.job.CallbackDue != 0 {
		w.add(e)
	}
}

// add queues the webhook that the entry's job owes, when its turn comes.
func (w *webhooks) add(e *entry) {
	if !e.calling {
		e.calling = true
		w.join(e)
	}
}

// beginTurn returns the queueing of the webhook that the job owes now. A try that failed keeps its turn for a while.
func (w *webhooks) beginTurn(e *entry) (work func(context.Context) error, over func(error)) {
	j, within := e.job, e.traced
	if j == nil || j.CallbackDue == 0 {
		e.calling = false
		w.jobs.release(e)
		return nil, nil
	}
	wait := min(handOutBackoff<<min(e.callTries, 10), handOutMax)
	return func(ctx context.Context) error {
		err := w.queue(ctx, j, within)
		if err != nil && ctx.Err() == nil {
			within.log(w.sender.log).Warn("webhook not queued, will be tried again", "job", e.id, "in", wait, "err", err)
			pause.For(ctx, wait)
		}
		return err
	}, func(err error) { w.queued(e, j, err) }
}

// queued ends the queueing of a webhook for the job as it was then.
func (w *webhooks) queued(e *entry, j *fold.Job, err error) {
	e.calling = false
	if err == nil {
		w.sender.metrics.webhooks.WithLabelValues("durable").Inc()
		e.callTries = 0
	} else {
		w.sender.metrics.webhooks.WithLabelValues("error").Inc()
		e.callTries++
	}
	// What is durable is folded soon; another state may have begun since.
	if e.job != nil && e.job.CallbackDue != 0 && (err != nil || e.job.CallbackDue != j.CallbackDue) {
		w.add(e)
		return
	}
	w.jobs.release(e)
}

// queue makes the webhook's job durable, then says so. It belongs to the trace of the
// job that it tells of.
func (w *webhooks) queue(ctx context.Context, j *fold.Job, within *traced) error {
	ctx, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	id := webhookID(j.Doc.JobID, j.CallbackDue)
	payload, err := webhookPayload(j)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(payload)
	r := topic.Request{
		JobID: id, Job: topic.WebhookType, Lane: topic.WebhookLane, Dispatch: 1, Attempt: 1,
		Tenant: j.Tenant, Subject: j.Doc.Subject, PayloadHash: "sha256:" + hex.EncodeToString(sum[:]),
		Policy: webhookPolicy(j.Policy.Retention), Time: j.Doc.UpdatedAt,
	}
	if within != nil {
		r.Traceparent, r.Tracestate = tracing.Format(within.within)
	}
	headers, err := r.Headers()
	if err != nil {
		return fmt.Errorf("request headers of webhook %s: %w", id, err)
	}
	request := &kgo.Record{
		Topic: w.sender.names.Requests(r.Lane), Key: []byte(id), Value: payload, Context: within.context(),
	}
	for _, h := range headers {
		request.Headers = append(request.Headers, kgo.RecordHeader(h))
	}
	if err := w.sender.produce(ctx, request); err != nil {
		return fmt.Errorf("produce webhook's request: %w", err)
	}
	for _, e := range []*event.Event{
		{
			Type: event.Accepted, JobID: id, Job: r.Job, Tenant: r.Tenant, Subject: r.Subject, Lane: r.Lane,
			PayloadHash: r.PayloadHash, Policy: &r.Policy,
			Request: &event.Position{Topic: request.Topic, Partition: request.Partition, Offset: request.Offset},
		},
		{
			Type: event.CallbackQueued, JobID: j.Doc.JobID, Life: j.Life,
			Delivery: &event.Delivery{JobID: id, State: j.CallbackState, Version: j.CallbackDue},
		},
	} {
		rec, err := w.sender.event(e, within.context())
		if err != nil {
			return err
		}
		if err := w.sender.produce(ctx, rec); err != nil {
			return fmt.Errorf("append %s: %w", e.Type, err)
		}
	}
	return nil
}

func webhookPayload(j *fold.Job) ([]byte, error) {
	body, err := plainjson.Marshal(webhook.Message{
		Type: webhook.EventType(j.CallbackState), Timestamp: j.Doc.UpdatedAt,
		Data: webhook.Data{Version: j.Version, Job: j.Document()},
	})
	if err != nil {
		return nil, fmt.Errorf("encode webhook of job %s: %w", j.Doc.JobID, err)
	}
	return plainjson.Marshal(webhook.Request{URL: j.CallbackURL, Body: body})
}

// webhookSpace separates the IDs of webhooks from all others.
var webhookSpace = uuid.MustParse("0e0f6a43-8f8e-4c57-b8f1-0f6c1c2c4f0d")

// webhookID is a UUIDv8 (RFC 9562) of the job and the version at which the state began.
func webhookID(jobID string, version int64) string {
	return uuid.NewHash(sha256.New(), webhookSpace, binary.AppendVarint([]byte(jobID), version), 8).String()
}
