package ackwire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// MaxBatch is how many jobs one SubmitBatch takes.
const MaxBatch = frame.MaxBatch

// BatchItem is one job of a batch: the arguments of a Submit.
type BatchItem struct {
	Type    string         // the job's type
	Payload any            // as in Submit
	Options []SubmitOption // as in Submit
}

// BatchResult is what Submit would return for one item: the job, or an error. Outcome says in a word which.
type BatchResult struct {
	Job *Job  // nil if Err is not
	Err error // an *Error for a job that was refused; it matches ErrIndeterminate if the outcome is not known
}

// Outcome returns the result's outcome: acked, refused (nothing was written) or unknown.
func (r BatchResult) Outcome() frame.Outcome {
	switch {
	case r.Err == nil:
		return frame.Acked
	case errors.Is(r.Err, ErrIndeterminate):
		return frame.Unknown
	}
	return frame.Refused
}

// SubmitBatch hands up to MaxBatch jobs to Ackwire with one frame, and returns when the outcome of each is known, in
// the order of items. It takes less time than as many calls of Submit. Each item has an outcome of its own, with the
// same meaning as that of Submit: one that is refused stops no other. Items with the same job type and key are taken in
// their order.
//
// An item whose outcome is not known is sent again with its key, also on another connection, until its outcome is known
// or ctx ends: give ctx a deadline. Items have random keys unless they say otherwise; an item with NoKey is not sent
// again, and its error matches ErrIndeterminate.
//
// The error is not nil if the batch as a whole was refused, or nothing of it was sent; there are no results then. That
// is so for no items, for more than MaxBatch, for a payload that cannot be marshalled, and if the frame is larger than
// the server takes (payload_too_large): SubmitBatch does not split a batch. HTTPClient.SubmitBatch takes larger ones.
func (c *Client) SubmitBatch(ctx context.Context, items []BatchItem) ([]BatchResult, error) {
	b, err := newBatch(ctx, items, false)
	if err != nil {
		return nil, err
	}
	return c.api.batchUntilKnown(ctx, c.ctx, b, func(pending []int) ([]itemAnswer, bool, error) {
		k := &call{kind: frame.SubmitBatch, body: append(b.body([]byte(`,`), pending), '}'), resend: true}
		for _, i := range pending {
			it := b.items[i]
			k.items = append(k.items, itemAsked{watch: !it.cfg.noWatch, streams: it.cfg.streams})
			k.resend = k.resend && it.cfg.key != ""
		}
		err := c.do(ctx, k)
		// A lost connection may have taken a frame with it that was then refused on the next one.
		return k.acks, k.sends > 1 || errors.Is(err, ErrIndeterminate), err
	}, c)
}

// SubmitBatch hands up to MaxBatch jobs to Ackwire with one request (POST /v1/jobs:batch); see Client.SubmitBatch.
// NoWatch and WithStreams change nothing here.
func (c *HTTPClient) SubmitBatch(ctx context.Context, items []BatchItem) ([]BatchResult, error) {
	b, err := newBatch(ctx, items, true)
	if err != nil {
		return nil, err
	}
	return c.api.batchUntilKnown(ctx, context.Background(), b, func(pending []int) ([]itemAnswer, bool, error) {
		return c.api.postBatch(ctx, append(b.body([]byte(`{`), pending), '}'), len(pending))
	}, c)
}

// batch is a batch that is being submitted.
type batch struct {
	items   []batchItem
	results []BatchResult
}

type batchItem struct {
	cfg  submitConfig
	body []byte // `{"job":…}`
	// doubt is the last answer, if any, that left open whether the job exists.
	doubt *IndeterminateError
}

// itemAsked is what the answer to one item needs to know.
type itemAsked struct {
	watch   bool
	streams []string
}

// itemAnswer is the answer to one item: an ack or an error, and what the ack has opened.
type itemAnswer struct {
	frame.BatchResult
	sub   *sub
	tails []*tail
}

func newBatch(ctx context.Context, items []BatchItem, overHTTP bool) (*batch, error) {
	switch {
	case len(items) == 0:
		return nil, newError(code.InvalidFrame, "a batch has at least one job")
	case len(items) > MaxBatch:
		return nil, newError(code.LimitExceeded, fmt.Sprintf("a batch may have %d jobs, this one has %d", MaxBatch,
			len(items)))
	}
	b := &batch{items: make([]batchItem, len(items)), results: make([]BatchResult, len(items))}
	for i, item := range items {
		it := &b.items[i]
		it.cfg = chosenForSubmit(ctx, item.Options)
		if overHTTP {
			it.cfg.noWatch, it.cfg.streams = false, nil // they have no meaning there
		}
		body, err := it.cfg.appendBody(item.Type, item.Payload, false)
		if err != nil {
			return nil, fmt.Errorf("ackwire: submit %s, item %d of a batch: %w", item.Type, i, err)
		}
		body[0] = '{' // in place of the comma that follows a frame's id
		it.body = body
	}
	return b, nil
}

// body appends the member "jobs" of a request, with the items at the indexes in pending, and returns the result.
func (b *batch) body(to []byte, pending []int) []byte {
	n := len(to) + len(`"jobs":[]}`)
	for _, i := range pending {
		n += len(b.items[i].body) + 1
	}
	body := append(append(make([]byte, 0, n), to...), `"jobs":[`...)
	for at, i := range pending {
		if at > 0 {
			body = append(body, ',')
		}
		body = append(body, b.items[i].body...)
	}
	return append(body, ']')
}

// batchUntilKnown sends a batch, and then again its items whose outcome is not known, as submitUntilKnown does with one
// submit. try sends the items at the indexes in pending, and returns an answer for each, or an error; its result
// unknown reports that the server may have taken the items although the answer or error does not say so.
func (r *rest) batchUntilKnown(
	ctx, life context.Context, b *batch, try func(pending []int) (answers []itemAnswer, unknown bool, err error),
	via transport,
) ([]BatchResult, error) {
	pending := make([]int, len(b.items))
	for i := range pending {
		pending[i] = i
	}
	for tries := 0; ; tries++ {
		answers, unknown, err := try(pending)
		if err != nil && tries == 0 && !unknown {
			return nil, err
		}
		over := ctx.Err() != nil || r.ended() != nil
		var again []int
		var atLeast time.Duration
		for at, i := range pending {
			cause := err
			if err == nil {
				if answers[at].Ack != nil {
					b.results[i] = BatchResult{Job: answers[at].job(via)}
					continue
				}
				cause = &Error{Problem: *answers[at].Error}
			}
			known, wait := b.failed(i, cause, unknown, err == nil && answers[at].Outcome == frame.Unknown)
			if !known && !over {
				again = append(again, i)
				atLeast = max(atLeast, wait)
			}
		}
		if len(again) == 0 {
			return b.results, nil
		}
		pending = again
		t := time.NewTimer(r.cfg.backoff.wait(tries, atLeast))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return b.ended(pending, ctx.Err()), nil
		case <-life.Done():
			t.Stop()
			return b.ended(pending, ErrClosed), nil
		}
	}
}

// failed notes that an item was not acked because of err. It reports whether that is the item's last word, or else how
// long to wait at least before it is sent again. unknown says that an earlier send of this try may have been taken, and
// doubtful that this answer says so itself.
func (b *batch) failed(i int, err error, unknown, doubtful bool) (known bool, wait time.Duration) {
	it := &b.items[i]
	if lost, ok := errors.AsType[*IndeterminateError](err); ok {
		err = lost.Err // the item's own error says the rest
	}
	e, answered := errors.AsType[*Error](err)
	if answered && !e.Retryable && !doubtful && !(unknown && e.foreign) {
		b.results[i].Err = err
		return true, 0
	}
	if answered {
		wait = e.RetryDelay()
	}
	if doubtful || unknown {
		it.doubt = &IndeterminateError{Key: it.cfg.key, Err: err}
		if answered {
			it.doubt.JobID = e.JobID
		}
		b.results[i].Err = it.doubt
		return it.cfg.key == "", wait
	}
	b.results[i].Err = it.doubt.because(err)
	return it.doubt == nil, wait
}

// ended gives items their results that are not sent again because of err.
func (b *batch) ended(pending []int, err error) []BatchResult {
	for _, i := range pending {
		b.results[i].Err = b.items[i].doubt.because(err)
	}
	return b.results
}

// job makes the handle of a job that was acked.
func (a itemAnswer) job(via transport) *Job {
	j := &Job{
		ID: a.Ack.JobID,
		Ack: Ack{
			State: job.State(a.Ack.State), StatusURL: a.Ack.StatusURL, Duplicate: a.Ack.Duplicate, Grant: grantOf(a.Ack.Grant),
			Warning: a.Ack.Warning,
		},
		via: via, sub: a.sub, held: a.sub != nil, tails: a.tails,
	}
	j.setPlace(a.Ack.Ahead, a.Ack.Estimate)
	return j
}

// readAcks reads the answer to a batch of n items.
func readAcks(b []byte, n int) ([]itemAnswer, error) {
	var read frame.AcksFrame
	if json.Unmarshal(b, &read) != nil || len(read.Results) != n {
		return nil, errBadAnswer
	}
	answers := make([]itemAnswer, n)
	for i, r := range read.Results {
		acked := r.Outcome == frame.Acked && r.Ack != nil && r.Ack.JobID != ""
		failed := (r.Outcome == frame.Refused || r.Outcome == frame.Unknown) && r.Error != nil && r.Error.Code != ""
		switch {
		case acked:
			r.Error = nil
		case failed:
			r.Ack = nil
		default:
			return nil, errBadAnswer
		}
		answers[i].BatchResult = r
	}
	return answers, nil
}

// onAcksLocked gives a batch its answer. The subscriptions that it has opened begin here and not in SubmitBatch: the
// next frame may already be the first status of one of its jobs.
func (c *Client) onAcksLocked(cn *conn, h head, b []byte) bool {
	k := cn.calls[string(h.id)]
	if k == nil {
		return true
	}
	answers, err := readAcks(b, len(k.items))
	if err != nil {
		c.answerLocked(cn, k, k.outcome(err))
		return false
	}
	for i := range answers {
		a, asked := &answers[i], k.items[i]
		switch {
		case a.Ack == nil || !asked.watch:
		case k.abandoned:
			c.unwantedLocked(cn, a.Ack.JobID)
		default:
			a.sub, a.tails = c.ackedLocked(cn, a.Ack.JobID, asked.streams)
		}
	}
	if !k.abandoned {
		k.acks = answers
	}
	c.answerLocked(cn, k, nil)
	return true
}

// postBatch sends a batch of n items over HTTP. unknown reports that it may have taken effect though there was no
// answer.
func (r *rest) postBatch(ctx context.Context, body []byte, n int) (answers []itemAnswer, unknown bool, err error) {
	q := request{what: "submit a batch", method: http.MethodPost, path: "/v1/jobs:batch", body: body}
	var sent atomic.Bool // a request that was not sent has no effect
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	resp, err := r.do(ctx, q)
	if err != nil {
		return nil, sent.Load(), err
	}
	if resp.StatusCode != http.StatusOK {
		e := refusal(resp)
		return nil, e.foreign && e.Status >= 500, e
	}
	answer, err := readBody(resp, r.cfg.readLimit)
	if err == nil {
		answers, err = readAcks(answer, n)
	}
	if err != nil {
		return nil, true, fmt.Errorf("ackwire: %s: %w", q.what, err)
	}
	return answers, false, nil
}
