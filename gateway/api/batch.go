package api

import (
	"net/http"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/bulk"
	"github.com/ackwire/ackwire/gateway/requestid"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// BatchBytes bounds the body of a batch, unless the largest single submit is larger.
const BatchBytes = 4 << 20

// postBatch handles POST /v1/jobs:batch. Each of the jobs is submitted as by POST /v1/jobs, apart from what stands in
// headers there: keys stand in the jobs, and no job is waited for.
func (sub *submits) postBatch(w http.ResponseWriter, r *http.Request) {
	id, ok := sub.identify(w, r, auth.Submit)
	if !ok {
		return
	}
	if len(r.Header.Values(frame.KeyHeader)) > 0 {
		sub.problem(w, frame.NewProblem(code.InvalidFrame, "Idempotency-Key: each job of a batch has a key of its own"))
		return
	}
	strict, err := strictParam(r)
	if err != nil {
		sub.problem(w, err)
		return
	}
	limit := sub.cfg.BatchBytes
	length, ok := sub.announced(w, r, limit)
	if !ok {
		return
	}
	end, err := sub.cfg.Submits.HoldBatch(id, length)
	if err != nil {
		sub.problem(w, err)
		return
	}
	defer end()
	body, err := sub.readJSON(w, r, limit)
	if err != nil {
		sub.problem(w, err)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // it was for the body
	items, err := wire.DecodeBatch(body)
	if err != nil {
		sub.problem(w, err)
		return
	}
	prepare(items, r, strict)
	// A batch ends with its request, unlike a single submit: items that have not begun by then are not submitted.
	ctx, cancel := sub.cfg.untilDrain(requestid.With(r.Context(), w.Header().Get(requestid.Header)), job.MaxSubmit)
	defer cancel()
	results := sub.cfg.Submits.SubmitBatch(ctx, id, items, nil)
	told := bulk.Answer(results, func(err error) {
		sub.cfg.Log.Error("submit of a batch failed", "request", w.Header().Get(requestid.Header), "err", err)
	})
	for _, result := range told {
		if result.Error != nil {
			sub.cfg.Metrics.Error(result.Error.Code)
		}
	}
	sub.answer(w, frame.AcksFrame{Results: told})
}

// prepare applies the parameters of the request to all items: the strict parameter, and the request's trace for items
// without a trace of their own.
func prepare(items []bulk.Item, r *http.Request, strict bool) {
	parent := r.Header.Get(frame.TraceparentHeader)
	traced := tracing.Parse(parent, "").IsValid()
	for i := range items {
		q := &items[i].Request
		q.Strict = q.Strict || strict
		if traced && q.Traceparent == "" {
			q.Traceparent, q.Tracestate = parent, r.Header.Get(frame.TracestateHeader)
		}
	}
}
