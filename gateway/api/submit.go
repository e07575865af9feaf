package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/conns"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// A submit over HTTP passes the cheap checks first: the token, the headers, and the tenant's limits. Only then is its
// body read: first its beginning, which names the job type, and then the rest, up to the type's limit.

// Bytes of the bodies of submits.
const (
	BodyOverhead = 16 << 10 // a body holds a payload at its limit and the fields around it
	BodyHead     = 16 << 10 // bytes that are read before the type is looked up
)

// submits are the route that makes jobs.
type submits struct{ *reads }

// announced returns how many bytes a request's body may have: what it announces, or the limit if it does not. It
// answers a body above the limit with an error, and reports false.
func (sub *submits) announced(w http.ResponseWriter, r *http.Request, limit int64) (int64, bool) {
	switch {
	case r.ContentLength < 0:
		return limit, true
	case r.ContentLength > limit:
		sub.problem(w, tooLarge(w, r, limit))
		return 0, false
	}
	return r.ContentLength, true
}

// postJob handles POST /v1/jobs. A submit that asks for a grant is always answered with its ack, which has the grant.
func (sub *submits) postJob(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	id, ok := sub.identify(w, r, auth.Submit)
	if !ok {
		return
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		sub.problem(w, frame.NewProblem(code.UnsupportedMediaType, "the body must be application/json"))
		return
	}
	wait, err := preferWait(r)
	if err != nil {
		sub.problem(w, err)
		return
	}
	strict, err := strictParam(r)
	if err != nil {
		sub.problem(w, err)
		return
	}
	limit := sub.cfg.LargestBody
	length, ok := sub.announced(w, r, limit)
	if !ok {
		return
	}
	// Not the request's context: a submit goes on when its client leaves.
	ctx := traceable(w, r)
	held, err := sub.cfg.Submits.Hold(ctx, id, length)
	if err != nil {
		sub.problem(w, err)
		return
	}
	request, err := sub.readSubmit(w, r, limit)
	if err != nil {
		held.End(false)
		sub.problem(w, err)
		return
	}
	request.Strict = request.Strict || strict
	ack, version, err := sub.cfg.Submits.SubmitHeld(ctx, id, request, held, began)
	if err != nil {
		sub.problem(w, err)
		return
	}
	h := w.Header()
	h.Set("Location", ack.StatusURL)
	if ack.Warning != "" {
		h.Set(frame.WarningHeader, ack.Warning) // also where the answer is the job's document
	}
	if wait > 0 && ack.Grant == nil && id.May(auth.Read) && sub.waitFor(w, r, id, ack.JobID, version, wait) {
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("Retry-After", "1")
	w.WriteHeader(http.StatusAccepted)
	_ = plainjson.Write(w, ack)
}

// waitFor answers with the document of a job that was just submitted, if it ends in time. The wait counts as a session
// of its user. If that is one too many the preference is not applied, since the job exists already.
func (sub *submits) waitFor(
	w http.ResponseWriter, r *http.Request, id auth.Identity, jobID string, version int64, wait time.Duration,
) bool {
	if sub.cfg.Limits.OpenSession(id.Tenant, id.Account()) != nil {
		return false
	}
	defer sub.cfg.Limits.CloseSession(id.Tenant, id.Account())
	w.Header().Set(preferenceApplied, waitApplied(wait))
	ctx, cancel := sub.cfg.untilDrain(r.Context(), wait)
	defer cancel()
	request := id.Scope(auth.Read).GetRequest(jobID)
	request.MinVersion, request.UntilTerminal = version, true
	got, err := sub.cfg.Trackers.Get(ctx, request)
	if err != nil || !got.Job.Terminal {
		return false
	}
	sub.pushJob(w, got.Job)
	return true
}

// readSubmit reads a body: up to the limit of its type or, if its beginning does not name the type, up to the limit of
// any type.
func (sub *submits) readSubmit(w http.ResponseWriter, r *http.Request, limit int64) (frame.SubmitRequest, error) {
	var none frame.SubmitRequest
	var body bytes.Buffer
	_, err := io.CopyN(&body, r.Body, BodyHead)
	if err == nil {
		if name, found := wire.Job(body.Bytes()); found {
			t, known := sub.cfg.Types[name]
			if !known {
				return none, problem.UnknownType(name)
			}
			limit = int64(t.MaxPayload + BodyOverhead)
		}
		_, err = io.CopyN(&body, r.Body, limit+1-BodyHead)
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		sub.cfg.Metrics.TooSlowToSend()
		return none, frame.NewProblem(code.InvalidFrame, fmt.Sprintf("the body did not come within %s", conns.BodyTimeout))
	case err != nil && !errors.Is(err, io.EOF):
		return none, frame.NewProblem(code.InvalidFrame, "the body could not be read")
	case int64(body.Len()) > limit:
		return none, tooLarge(w, r, limit)
	}
	// Clear the deadline for the body, which would end a wait for the job.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	request, err := wire.DecodeSubmit(body.Bytes())
	if err != nil {
		return none, err
	}
	key, err := frame.ParseKey(r.Header.Values(frame.KeyHeader))
	switch {
	case err != nil:
		return none, frame.NewProblem(code.InvalidFrame, err.Error())
	case key != "" && request.Key != "" && request.Key != key:
		return none, frame.NewProblem(code.InvalidFrame, "key and Idempotency-Key differ")
	case key != "":
		request.Key = key
	}
	if parent := r.Header.Get(frame.TraceparentHeader); tracing.Parse(parent, "").IsValid() {
		request.Traceparent, request.Tracestate = parent, r.Header.Get(frame.TracestateHeader)
	}
	return request, nil
}
